package main

import (
	"slices"
	"testing"
)

func TestOnlyProgramsThatAreNotThereAreInstalled(t *testing.T) {
	if got := missingPrograms([]string{"sh", "no-such-program", "ls"}); !slices.Equal(got, []string{"no-such-program"}) {
		t.Errorf("missing are %q", got)
	}
}
