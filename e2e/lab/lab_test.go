package main

import (
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	all := func(string) bool { return true }
	none := func(string) bool { return false }
	for _, c := range []struct {
		name, wanted string
		facts        facts
		kind, err    string
	}{
		{"the machine's own kernel comes first", "auto", facts{root: true, has: all}, "own", ""},
		{"without IPVS, User-Mode Linux is booted", "auto", facts{root: true, ownErr: "no ip_vs", has: all}, "uml", ""},
		{"missing packages are fine where they can be installed", "auto", facts{root: true, ownErr: "no ip_vs", has: none, apt: true}, "uml", ""},
		{"missing packages without apt-get end in a sentence", "auto", facts{root: true, ownErr: "no ip_vs", has: none}, "", "user-mode-linux"},
		{"nobody but root boots a kernel", "auto", facts{ownErr: "not root", has: all}, "", "sudo"},
		{"the own kernel is not taken without IPVS even when asked for", "own", facts{root: true, ownErr: "no ip_vs", has: all}, "", "no ip_vs"},
		{"User-Mode Linux can be asked for", "uml", facts{root: true, has: all}, "uml", ""},
		{"an unknown kernel names the known ones", "xen", facts{root: true, has: all}, "", "allowed are auto, own, uml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := choose(c.wanted, c.facts)
			if got.kind != c.kind {
				t.Errorf("want kind %q, got %q", c.kind, got.kind)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("want an error with %q, got %v", c.err, err)
			}
		})
	}
}

func TestScriptQuotesEverything(t *testing.T) {
	t.Setenv("IPVSP_X", "it's")
	got := script(job{dir: "/a b", command: []string{"echo", "$HOME", "it's"}})
	for _, want := range []string{"cd '/a b' ||", `export IPVSP_X='it'\''s'`, `exec 'echo' '$HOME' 'it'\''s'`} {
		if !strings.Contains(got, want) {
			t.Errorf("want %s in\n%s", want, got)
		}
	}
}

func TestConsolePassesOnlyTheCommandsLines(t *testing.T) {
	var out strings.Builder
	c := &console{out: &out}
	for _, piece := range []string{"booting\r\nlab: rea", "dy\r", "\nhello\r\nwor", "ld", "lab: over\r\nHalting.\r\n"} {
		c.Write([]byte(piece))
	}
	if want := "hello\nworld\n"; out.String() != want {
		t.Errorf("want %q, got %q", want, out.String())
	}
	if held := c.held.String(); held != "booting\n" {
		t.Errorf("want the boot held back, got %q", held)
	}
}
