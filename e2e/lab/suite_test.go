package main

import (
	"strings"
	"testing"
)

func TestASuiteKeepsItsListsApart(t *testing.T) {
	t.Setenv("LAB_SUITE", "")
	s, err := chosenSuite("/cache")
	if err != nil || s.Options() != nil || s.Dir != "/cache" {
		t.Errorf("without LAB_SUITE: %v, %v, %v", s, s.Options(), err)
	}
	for _, name := range suites {
		t.Setenv("LAB_SUITE", name)
		s, err = chosenSuite("/cache")
		if text := strings.Join(s.Options(), " "); err != nil ||
			!strings.Contains(text, "Dir::State::Lists=/cache/"+name+"/lists") {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
}

func TestAnUnknownSuiteIsToldTheKnownOnes(t *testing.T) {
	for _, bad := range []string{"../x", "a b", "-o", "bookworm-backport"} {
		t.Setenv("LAB_SUITE", bad)
		_, err := chosenSuite("/cache")
		if err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), strings.Join(suites, ", ")) {
			t.Errorf("%q: want an error that names it and the known ones, got %v", bad, err)
		}
	}
}
