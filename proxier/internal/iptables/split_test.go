package iptables

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSplit reads words as libxtables writes them.
func TestSplit(t *testing.T) {
	got := Split(`-m comment --comment "a \"b\" c" -m comment --comment "" -j X`)
	want := []string{"-m", "comment", "--comment", `a "b" c`, "-m", "comment", "--comment", "", "-j", "X"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
