package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// everywhere is a machine on which each kind can be had.
func everywhere(change func(*facts)) facts {
	f := facts{root: true, again: "sudo again", arch: "amd64", release: "6.1", apt: true,
		has: func(string) bool { return true }, offers: func(string) bool { return true }}
	change(&f)
	return f
}

func lackingPrograms(names ...string) func(string) bool {
	return func(name string) bool { return !slices.Contains(names, name) }
}

func TestChoose(t *testing.T) {
	nothing := func(string) bool { return false }
	for _, c := range []struct {
		name, wanted string
		change       func(*facts)
		kind         kind
		packages     string // to be installed
		err          string
	}{
		{"the machine's own kernel comes first", "auto", func(f *facts) {}, own, "", ""},
		{"without IPVS, User-Mode Linux is booted", "auto", func(f *facts) { f.ownLacks = "no ip_vs" }, uml, "", ""},
		{"a fresh machine gets all packages", "auto", func(f *facts) { f.has = nothing }, own,
			"iproute2 iptables ipset ipvsadm conntrack kmod", ""},
		{"a fresh machine without IPVS gets all packages and User-Mode Linux", "auto",
			func(f *facts) { f.has = nothing; f.ownLacks = "no ip_vs" }, uml,
			"iproute2 iptables ipset ipvsadm conntrack kmod user-mode-linux", ""},
		{"only what is missing is installed", "uml", func(f *facts) { f.has = lackingPrograms("ipset", "modprobe") }, uml, "ipset kmod", ""},
		{"where the archive has no User-Mode Linux, QEMU is used", "auto", func(f *facts) {
			f.ownLacks = "no ip_vs"
			f.has = lackingPrograms("linux.uml")
			f.offers = lackingPrograms("user-mode-linux")
		}, qemu, "", ""},
		{"before the first apt-get update nothing is ruled out", "auto", func(f *facts) {
			f.ownLacks, f.listsEmpty = "no ip_vs", true
			f.has, f.offers = lackingPrograms("linux.uml"), nothing
		}, uml, "user-mode-linux", ""},
		{"missing packages without apt-get are named", "auto",
			func(f *facts) { f.ownLacks, f.has, f.apt = "no ip_vs", nothing, false }, "", "",
			"user-mode-linux"},
		{"nothing is booted on another architecture", "auto", func(f *facts) { f.ownLacks, f.arch = "no ip_vs", "arm64" }, "", "", "arm64"},
		{"the own kernel serves on another architecture", "auto", func(f *facts) { f.arch = "arm64" }, own, "", ""},
		{"only root runs anything", "auto", func(f *facts) { f.root = false }, "", "", "type: sudo again"},
		{"the own kernel is not taken without IPVS even when asked for", "own", func(f *facts) { f.ownLacks = "no ip_vs" }, "", "", "no ip_vs"},
		{"User-Mode Linux can be asked for", "uml", func(f *facts) {}, uml, "", ""},
		{"QEMU can be asked for", "qemu", func(f *facts) { f.has = lackingPrograms("qemu-system-x86_64") }, qemu, "qemu-system-x86", ""},
		{"an unknown kernel names the known ones", "xen", func(f *facts) {}, "", "", "allowed are auto, own, uml, qemu"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := choose(c.wanted, everywhere(c.change))
			if got.kind != c.kind {
				t.Errorf("want kind %q, got %q", c.kind, got.kind)
			}
			if packages := strings.Join(got.packages, " "); packages != c.packages {
				t.Errorf("want the packages %q, got %q", c.packages, packages)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("want an error with %q, got %v", c.err, err)
			}
		})
	}
}

func TestOnlyWhatTheUserCanLiftIsATodo(t *testing.T) {
	var todo errTodo
	if _, err := choose("auto", everywhere(func(f *facts) { f.root = false })); !errors.As(err, &todo) {
		t.Errorf("not being root: want a command to type, got %v", err)
	}
	if _, err := choose("xen", everywhere(func(*facts) {})); err == nil || errors.As(err, &todo) {
		t.Errorf("an unknown kernel: want a plain error, got %v", err)
	}
}

func TestChoiceSaysWhyNotTheBetterOnes(t *testing.T) {
	c, err := choose("auto", everywhere(func(f *facts) {
		f.ownLacks = "no ip_vs"
		f.has, f.offers = lackingPrograms("linux.uml"), lackingPrograms("user-mode-linux")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if want := "own: no ip_vs; uml: apt-get has no package user-mode-linux"; c.why != want {
		t.Errorf("want %q, got %q", want, c.why)
	}
}

func TestWaysInWords(t *testing.T) {
	f := everywhere(func(f *facts) { f.ownLacks, f.has = "no ip_vs", lackingPrograms("qemu-system-x86_64") })
	var got []string
	for _, w := range ways(f) {
		got = append(got, w.line(uml))
	}
	want := []string{"  own   no: no ip_vs", "  uml   taken", "  qemu  could be taken, after installing qemu-system-x86"}
	if !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
}

func TestParsePolicy(t *testing.T) {
	got := parsePolicy(`kmod:
  Installed: 30+20221128-1
  Candidate: 30+20221128-1
  Version table:
 *** 30+20221128-1 100
        100 /var/lib/dpkg/status
ipset:
  Installed: (none)
  Candidate: 7.17-1
  Version table:
     7.17-1 500
        500 http://archive.example bookworm/main amd64 Packages
user-mode-linux:
  Installed: (none)
  Candidate: (none)
  Version table:
`)
	if !got["ipset"] || got["kmod"] || got["user-mode-linux"] || len(got) != 1 {
		t.Errorf("want ipset alone, got %v", got)
	}
}

func TestASuiteMeansAnEmulatedMachine(t *testing.T) {
	for _, c := range []struct{ suite, wanted, want, wrong string }{
		{"", "uml", "uml", ""}, {"", "auto", "auto", ""}, {"sid", "qemu", "qemu", ""}, {"sid", "auto", "qemu", ""},
		{"sid", "uml", "", "LAB_SUITE=sid"}, {"side", "auto", "", "side"},
	} {
		t.Setenv("LAB_SUITE", c.suite)
		got, err := settle(c.wanted)
		if got != c.want || (err == nil) != (c.wrong == "") || (err != nil && !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}

func TestAptIsAskedOnlyWhereSomethingIsMissing(t *testing.T) {
	for missing, want := range map[string]bool{"": false, "ipset": true, "qemu-system-x86_64": true, "vim": false} {
		f := facts{has: func(program string) bool { return program != missing }}
		if got := f.lacksPrograms(); got != want {
			t.Errorf("without %q: want %t, got %t", missing, want, got)
		}
	}
}
