package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFailuresAreTheBadLines(t *testing.T) {
	got := failures(good + "dummy link\n" + bad + "ip_vs with the scheduler mh: no such file\n" + good + "FAIL inside\n")
	if want := []string{"ip_vs with the scheduler mh: no such file"}; !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
}

func TestFindingsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range findings() {
		if f.name == "" || seen[f.name] {
			t.Errorf("the name %q is empty or used twice", f.name)
		}
		seen[f.name] = true
	}
}

// The packages that can be built with the C library would make lab a dynamic program, which cannot be a guest's init.
func TestLabIsStaticHoweverItIsBuilt(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, banned := range []string{"net", "os/user", "runtime/cgo"} {
		if slices.Contains(strings.Fields(string(out)), banned) {
			t.Errorf("lab depends on the package %s", banned)
		}
	}
}

func TestIsStatic(t *testing.T) {
	for path, want := range map[string]bool{"/bin/sh": false, buildStatic(t): true} {
		program, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := isStatic(program); got != want {
			t.Errorf("%s: want %t, got %t", path, want, got)
		}
	}
	if isStatic([]byte("#!/bin/sh\n")) {
		t.Error("a script is no static program")
	}
}

func buildStatic(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lab")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build lab: %v: %s", err, out)
	}
	return path
}
