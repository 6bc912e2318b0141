package harness

import (
	"testing"
	"time"
)

func TestPatienceIsTheMachines(t *testing.T) {
	for factor, want := range map[string]time.Duration{
		"": time.Minute, "4": 4 * time.Minute, "0.5": time.Minute, "much": time.Minute,
	} {
		t.Setenv("LAB_PATIENCE", factor)
		if got := Patiently(time.Minute); got != want {
			t.Errorf("%q: want %s, got %s", factor, want, got)
		}
	}
}

func TestRatesAreTheMachines(t *testing.T) {
	for factor, want := range map[string]int{"": 20, "4": 5, "0.5": 20, "much": 20, "100": 2} {
		t.Setenv("LAB_PATIENCE", factor)
		if got := Unhurriedly(20, 2); got != want {
			t.Errorf("%q: want %d, got %d", factor, want, got)
		}
	}
}
