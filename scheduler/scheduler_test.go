package scheduler_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

func TestLookup(t *testing.T) {
	for word, want := range map[string]string{
		"rr": "rr", "RR": "rr", "round-robin": "rr", "Least-Connection": "lc", "leastconn": "lc", "sh": "sh",
		"source-hash": "sh", "source-hashing": "sh",
		"": "", "wrr2": "", "round robin": "",
	} {
		s, known := scheduler.Lookup(word)
		if s.Name != want || known != (want != "") {
			t.Errorf("Lookup(%q) = %q, %v; want %q", word, s.Name, known, want)
		}
	}
}

// TestRegistry: every scheduler can be found by each of its words, and says what it is for.
func TestRegistry(t *testing.T) {
	names := scheduler.Names()
	if !slices.IsSorted(names) || len(names) < 3 {
		t.Errorf("names %v, want them sorted", names)
	}
	if _, known := scheduler.Lookup(scheduler.Default); !known {
		t.Errorf("the default %q is no scheduler", scheduler.Default)
	}
	for _, name := range names {
		s, known := scheduler.Lookup(name)
		if !known || s.Name != name || s.Kernel == "" || len(s.Kernel) > 15 || !strings.HasSuffix(s.Summary, ".") {
			t.Errorf("%q: %+v", name, s)
		}
		if s.Default&^s.Supported != 0 {
			t.Errorf("%s has flags %s by default and supports %s", name, s.Default, s.Supported)
		}
		for _, alias := range s.Aliases {
			if other, known := scheduler.Lookup(alias); !known || other.Name != name ||
				!slices.Contains(scheduler.Words(), alias) {
				t.Errorf("%q is %q, want %q", alias, other.Name, name)
			}
		}
	}
}
