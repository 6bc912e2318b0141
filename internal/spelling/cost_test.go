package spelling

import (
	"strings"
	"testing"
)

// TestLongWordsAreNotCompared: what a word costs does not grow with it once it is longer than all that it could be.
func TestLongWordsAreNotCompared(t *testing.T) {
	known := []string{"rr", "lc", "round-robin", "least-connection"}
	longest := 0
	for n := range 2000 {
		s := speller{}
		s.nearest(strings.Repeat("x", n), known)
		longest = max(longest, s.compared)
		if n > 100 && s.compared > 0 {
			t.Fatalf("%d letters: %d comparisons", n, s.compared)
		}
	}
	if longest == 0 || longest > 1000 {
		t.Errorf("the dearest word takes %d comparisons", longest)
	}
}
