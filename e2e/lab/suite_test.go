package main

import (
	"strings"
	"testing"
)

func TestASuiteKeepsItsListsApart(t *testing.T) {
	s, err := chosenSuite("/cache")
	if err != nil || s.options() != nil {
		t.Errorf("without LAB_SUITE: %v, %v", s.options(), err)
	}
	t.Setenv("LAB_SUITE", "bookworm-backports")
	s, err = chosenSuite("/cache")
	if text := strings.Join(s.options(), " "); err != nil || !strings.Contains(text, "Dir::State::Lists=/cache/bookworm-backports/lists") {
		t.Errorf("%s, %v", text, err)
	}
	for _, bad := range []string{"../x", "a b", "-o"} {
		t.Setenv("LAB_SUITE", bad)
		if _, err := chosenSuite("/cache"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
