//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/benchmark"
)

// TestBuilds measures this build of ipvs-proxier and those of other revisions, in turns, in one guest: each on nodes of
// its own, with the same objects. It asserts nothing but that the runs could be made. make bench-builds runs it, builds
// the revisions that IPVSP_BENCH_BASE names as bin/ipvs-proxier-REVISION, and names in IPVSP_BENCH_BUILDS the directory
// for the results.
func TestBuilds(t *testing.T) {
	out := os.Getenv("IPVSP_BENCH_BUILDS")
	if out == "" {
		t.Skip("run by make bench-builds")
	}
	file := os.Getenv("IPVSP_BENCH_FILE")
	b := &bench{cluster: newCluster(t), out: out, file: file}
	sizes, rounds := b.plan()
	manifests := os.Getenv("IPVSP_SOURCE") == "manifests"
	if !manifests {
		b.startAPI()
	}
	b.begin()
	subjects := b.builds(strings.Fields(os.Getenv("IPVSP_BENCH_BASE")), manifests)
	for _, s := range subjects {
		b.tryOut(s)
	}
	changes, err := strconv.Atoi(os.Getenv("IPVSP_BENCH_CHANGES"))
	b.must(err)
	settle, err := time.ParseDuration(os.Getenv("IPVSP_BENCH_SETTLE"))
	b.must(err)
	for _, services := range sizes {
		for round := range rounds {
			for i := range subjects {
				// The order differs from round to round.
				s := subjects[(i+round)%len(subjects)]
				run := b.run(s, services, options{changes: changes, idle: settle, restart: true})
				run.Round = round
				b.add(run)
			}
		}
	}
	b.verdict()
}

// builds are ours of each revision, and of this one.
func (b *bench) builds(revisions []string, manifests bool) (all []subject) {
	this := benchSubjects(b.kubeconfig, benchNode)[0]
	if manifests {
		this = this.fromManifests()
	}
	for _, revision := range revisions {
		s := this
		s.build = revision
		s.command = append([]string{programs.Path(fmt.Sprint(benchmark.Ours, "-", revision))}, this.command[1:]...)
		all = append(all, s)
	}
	return append(all, this)
}
