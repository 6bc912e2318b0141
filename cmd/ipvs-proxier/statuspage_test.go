package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// pageStatus is what the daemon answers for the Service of package observe's test.
func pageStatus(t *testing.T) (s proxier.Status) {
	t.Helper()
	text, err := os.ReadFile("../../proxier/internal/observe/testdata/page.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStatusTexts: the page of a Service, and the tree of all, as they are, each within 80 columns.
func TestStatusTexts(t *testing.T) {
	now := time.Unix(1e9, 0).Add(90 * time.Second)
	for file, c := range map[string]struct {
		format string
		page   bool
	}{"page.txt": {"table", true}, "tree.txt": {"table", false}, "name.txt": {"name", false}} {
		var out bytes.Buffer
		if err := printStatus(plain(&out), pageStatus(t), c.format, c.page, now); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > plainWidth {
				t.Errorf("%s has a line of %d columns:\n%s", file, n, line)
			}
		}
		golden.Compare(t, "testdata/"+file, out.String())
	}
}

// TestStatusTree: what is wrong with a front end or a real server stands in its line, or right below it.
func TestStatusTree(t *testing.T) {
	now := time.Unix(1e9, 0)
	front := proxier.FrontEndStatus{
		Kind: "ClusterIP", Protocol: "tcp", Address: "10.96.0.1:80", Scheduler: "rr", Flags: "none", Programmed: true,
		State: "ok",
	}
	with := func(change func(*proxier.FrontEndStatus)) proxier.FrontEndStatus {
		f := front
		change(&f)
		return f
	}
	for want, f := range map[string]proxier.FrontEndStatus{
		"ok: no endpoint, so clients are refused": front,
		"NOT PROGRAMMED": with(func(f *proxier.FrontEndStatus) { f.Programmed = false }),
		"LOST: to shop/old": with(
			func(f *proxier.FrontEndStatus) { f.Programmed, f.LostTo = false, "shop/old" },
		),
		"MISSING\n": with(func(f *proxier.FrontEndStatus) { f.State = "missing" }),
		"DIFFERS: scheduler lc, want rr": with(
			func(f *proxier.FrontEndStatus) { f.State, f.Differs = "differs", "scheduler lc, want rr" },
		),
		"    10.0.0.1:80  ": with(func(f *proxier.FrontEndStatus) {
			f.RealServers = []proxier.RealServerStatus{{Address: "10.0.0.1:80", Wanted: true, State: "ok"}}
		}),
		"EXTRA\n": with(func(f *proxier.FrontEndStatus) {
			f.RealServers = []proxier.RealServerStatus{{Address: "10.0.0.1:80", State: "extra"}}
		}),
		"draining\n": with(func(f *proxier.FrontEndStatus) { // of an older daemon
			f.RealServers = []proxier.RealServerStatus{{Address: "10.0.0.1:80"}}
		}),
		"MISSING: want weight 7": with(func(f *proxier.FrontEndStatus) {
			f.RealServers = []proxier.RealServerStatus{
				{
					Address: "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535", Wanted: true, State: "missing",
					Differs: "want weight 7",
				},
			}
		}),
	} {
		var out bytes.Buffer
		s := proxier.Status{Node: "n1", Services: []proxier.ServiceStatus{
			{Namespace: "shop", Name: "web", Changed: now, FrontEnds: []proxier.FrontEndStatus{f}},
		}}
		statusTree(plain(&out), s, now)
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not show %q:\n%s", want, out.String())
		}
	}
}
