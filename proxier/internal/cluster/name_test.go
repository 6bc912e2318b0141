package cluster_test

import (
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// FuzzParseName: what is read is written as it was; an error can be printed.
func FuzzParseName(f *testing.F) {
	for _, text := range []string{"ns/web", "", "/", "ns/", "/web", "a/b/c", "\x1b/\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := cluster.ParseName(text)
		switch {
		case err == nil && name.String() != text:
			t.Errorf("%q is read as %q", text, name)
		case err != nil && (name != cluster.Name{} || budget.Printable(err.Error()) != err.Error()):
			t.Errorf("%q: %+v beside the error %q", text, name, err)
		}
	})
}
