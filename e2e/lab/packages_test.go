package main

import (
	"slices"
	"testing"
)

func TestOnlyProgramsThatAreNotThereAreInstalled(t *testing.T) {
	names := []string{"sh", "no-such-program", "ls:coreutils", "no-other:of-a-package"}
	if got, want := missingPrograms(names, packageOf), []string{"no-such-program", "of-a-package"}; !slices.Equal(got, want) {
		t.Errorf("packages to install: %q, want %q", got, want)
	}
	if got, want := missingPrograms(names, programOf), []string{"no-such-program", "no-other"}; !slices.Equal(got, want) {
		t.Errorf("programs that are missing: %q, want %q", got, want)
	}
}
