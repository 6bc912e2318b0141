package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestIptablesAreChosen(t *testing.T) {
	for _, c := range []struct {
		text  string
		kind  kind
		want  iptables
		wrong string
	}{
		{"", uml, iptables{Backend: legacy}, ""},
		{"", qemu, iptables{}, ""},
		{"", own, iptables{}, ""},
		{"nft", qemu, iptables{Backend: nft}, ""},
		{"legacy/sid", uml, iptables{Backend: legacy, Suite: "sid"}, ""},
		{"nft/trixie", qemu, iptables{Backend: nft, Suite: "trixie"}, ""},
		{"nft/trixy", qemu, iptables{}, "trixie"},
		{"nft/", qemu, iptables{}, "trixie"},
		{"nftables", qemu, iptables{}, "nft and legacy"},
		{"nft", uml, iptables{}, "User-Mode Linux"},
		{"legacy", own, iptables{}, "own"},
	} {
		t.Setenv("LAB_IPTABLES", c.text)
		got, err := chosenIptables(c.kind)
		if got != c.want || (err == nil) != (c.wrong == "") || (err != nil && !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%q on %s: want %+v and %q, got %+v, %v", c.text, c.kind, c.want, c.wrong, got, err)
		}
	}
}

func TestTheOldTablesAreNotLoadedBesideNfTables(t *testing.T) {
	for backend, want := range map[string]bool{"": false, nft: false, legacy: true} {
		modules := iptables{Backend: backend}.modules()
		if got := slices.Contains(modules, "iptable_nat"); got != want || slices.Contains(modules, "nf_tables") == want {
			t.Errorf("%q: %q", backend, modules)
		}
	}
}

// A program of another release runs with that release's own loader and libraries. The program is sh here, with the
// machine's own.
func TestAProgramOfAnotherReleaseHasItsOwnLibraries(t *testing.T) {
	const triplet = "usr/lib/x86_64-linux-gnu"
	root := filepath.Join(t.TempDir(), "root")
	loader, err := filepath.EvalSymlinks("/lib64/ld-linux-x86-64.so.2")
	if err != nil {
		t.Skip("no such loader on this machine: ", err)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := filepath.Glob("/lib/x86_64-linux-gnu/libc.so.6")
	if err != nil || len(libraries) == 0 {
		t.Skip("no libc where Debian has it")
	}
	for from, to := range map[string]string{
		loader: triplet + "/ld-linux-x86-64.so.2", sh: "usr/sbin/xtables-nft-multi", libraries[0]: triplet + "/libc.so.6",
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, to)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{triplet + "/xtables", "usr/lib64"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(
		"../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", filepath.Join(root, "usr/lib64/ld-linux-x86-64.so.2"),
	); err != nil {
		t.Fatal(err)
	}
	// The name by which the program is called is a script here, which says what it was given.
	called := filepath.Join(root, "iptables")
	if err := os.WriteFile(
		called, []byte(`echo "$XTABLES_LIBDIR $1"; tr '\0' '\n' </proc/$$/maps | grep -o "[^ ]*libc.so.6" | sort -u`), 0o700,
	); err != nil {
		t.Fatal(err)
	}
	script, err := iptables{Backend: nft, Root: root}.wrapper("xtables-nft-multi", called)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", script, "sh", "--version").CombinedOutput()
	if want := filepath.Join(root, triplet, "xtables") + " --version\n" + filepath.Join(root, triplet, "libc.so.6") +
		"\n"; err != nil || string(out) != want {
		t.Errorf("want %q, got %q, %v", want, out, err)
	}
	if _, err := (iptables{Backend: legacy, Root: root}).wrapper("xtables-legacy-multi", "iptables"); err == nil {
		t.Error("want an error for a program that is not there")
	}
}
