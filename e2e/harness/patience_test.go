package harness

import (
	"testing"
	"time"
)

func TestPatienceIsTheMachines(t *testing.T) {
	for factor, want := range map[string]time.Duration{"": time.Minute, "4": 4 * time.Minute, "0.5": time.Minute, "much": time.Minute} {
		t.Setenv("LAB_PATIENCE", factor)
		if got := Patiently(time.Minute); got != want {
			t.Errorf("%q: want %s, got %s", factor, want, got)
		}
	}
}
