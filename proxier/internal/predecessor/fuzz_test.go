package predecessor

import (
	"slices"
	"strings"
	"testing"
)

// FuzzSockets: anybody names sockets. What is found is the name, alone or with something behind a dot, each once.
func FuzzSockets(f *testing.F) {
	const head = "Num       RefCount Protocol Flags    Type St Inode Path\n0000000000000000: 00000002 00000000 00010000 0001 01 21613 "
	for _, path := range []string{
		"@ipvs-proxier", "@ipvs-proxier.ABC\n", "@ipvs-proxierx", "/run/a b @ipvs-proxier", "@ipvs-proxier\n@ipvs-proxier",
		"", "@",
	} {
		f.Add(head + path)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const name = "@ipvs-proxier"
		found := socketsIn(text, name)
		if !slices.IsSorted(found) || len(slices.Compact(slices.Clone(found))) != len(found) {
			t.Errorf("%q: not in order, or twice", found)
		}
		for _, one := range found {
			rest, is := strings.CutPrefix(one, name)
			if !is || rest != "" && rest[0] != '.' || strings.Contains(one, "\n") || !strings.Contains(text, " "+one) {
				t.Errorf("%q is not of the given kind", one)
			}
		}
	})
}
