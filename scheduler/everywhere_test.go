package scheduler_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// ranked is a scheduler that exists in these tests only, with flags, slow start and a table.
const ranked = `package scheduler

func init() {
	Register(Scheduler{
		Name: "ranked", Aliases: []string{"by-rank"}, Kernel: "ranked", Summary: "Ranked: for a test.",
		Weighted: true, SlowStart: true, Supported: Port, Default: Port, Idle: IdleRenewed, CostlyTable: true,
	})
}
`

const rankedIsDocumented = `package annotation_test

import (
	"os"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
)

func TestRanked(t *testing.T) {
	page, err := os.ReadFile("../../../docs/annotations.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := annotation.Document(string(page))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(text)
	t.Log(annotation.Policy())
}
`

const rankedIsExplained = `package explain_test

import (
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/explain"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
)

func TestRanked(t *testing.T) {
	seen := kernel(t, config(), scheduled("by-rank"))
	edit(&seen, func(v *dataplane.VirtualServer) { v.RealServers[0].Weight = 0 })
	t.Log(text(explain.Explain(packet("10.244.1.7:40000 -> 10.96.0.1:80"), seen, iptables.Words{}, nil)))
}
`

const rankedManifest = `apiVersion: v1
kind: Service
metadata:
  name: web
  annotations: {ipvs-proxier.io/scheduler: "http=by-rank,*=rr", ipvs-proxier.io/scheduler-flags: none, ipvs-proxier.io/slow-start: 30s}
spec:
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata:
  name: other
  annotations: {ipvs-proxier.io/scheduler: "rr", ipvs-proxier.io/scheduler-flags: port, ipvs-proxier.io/slow-start: 30s}
spec:
  ports: [{name: http, port: 80}]
`

// TestNewSchedulerIsEverywhere: a file in this folder is all that a new scheduler takes. What the page of annotations,
// the admission policy, check and explain say of schedulers comes from the registry.
func TestNewSchedulerIsEverywhere(t *testing.T) {
	manifest := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(manifest, []byte(rankedManifest), 0o600); err != nil {
		t.Fatal(err)
	}
	run := overlaid(t, map[string]string{
		"scheduler/ranked.go":                        ranked,
		"proxier/internal/annotation/ranked_test.go": rankedIsDocumented,
		"proxier/internal/explain/ranked_test.go":    rankedIsExplained,
	})
	generated := run("test", "-run", "^TestRanked$", "-v", "./proxier/internal/annotation")
	explained := run("test", "-run", "^TestRanked$", "-v", "./proxier/internal/explain")
	checked := run("run", "./cmd/ipvs-proxier", "check", "--output=json", manifest)
	for _, c := range []struct{ where, text, want string }{
		{"the table of schedulers", generated, "| `ranked` | by-rank | yes, and slow start | port; by default port |"},
		{"the flags' defaults", generated, "`fallback` for mh and sh, `port` for ranked, else none"},
		{"whose flags they are", generated, "Flags of mh, ranked and sh."},
		{"what slow start needs", generated, "It needs nq, ranked, sed, wlc or wrr."},
		{"the policy's grammar", generated, "|ranked|round-robin|"},
		{"the message about flags", checked, "of the schedulers only mh and ranked and sh have flags"},
		{"the message about slow start", checked, "growing weights (nq, ranked, sed, wlc, wrr)"},
		{"explain's scheduler", explained, "scheduler ranked (port)"},
		{"explain's choice", explained, "ranked goes by a table of 2, of which 1 take new connections"},
	} {
		if !strings.Contains(c.text, c.want) {
			t.Errorf("%s: %q is not in\n%s", c.where, c.want, c.text)
		}
	}
}

// TestTableNamesNoScheduler: what the table of annotations says of schedulers, it reads here.
func TestTableNamesNoScheduler(t *testing.T) {
	const path = "../proxier/internal/annotation/table.go"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\b(` + strings.Join(scheduler.Words(), "|") + `)\b`)
	for i, line := range strings.Split(string(text), "\n") {
		if found := name.FindString(line); found != "" {
			t.Errorf("%s:%d names the scheduler %s", path, i+1, found)
		}
	}
}

// TestForAffinity: schedulers for session affinity are there, and every node maps a client alike.
func TestForAffinity(t *testing.T) {
	for _, name := range append(scheduler.ForAffinity, scheduler.Example, scheduler.Default) {
		s, known := scheduler.Lookup(name)
		hashes := s.Order == scheduler.Canonical && s.Supported&scheduler.Fallback != 0 && s.Places > 0
		if s.Name != name || !known || !hashes && name != scheduler.Example && name != scheduler.Default {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
