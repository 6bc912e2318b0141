//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/sidebyside"
)

// TestDataPlane measures what a Service costs its clients, and a proxy the traffic that is no Service's: nodes side by
// side in one guest, one for each variant of sidebyside, in turns. It asserts nothing but that all could be measured.
// `make bench-data` runs it and names in IPVSP_BENCH_DATA the file for the figures, without .json, and for the page,
// without .md.
func TestDataPlane(t *testing.T) {
	out := os.Getenv("IPVSP_BENCH_DATA")
	if out == "" {
		t.Skip("run by make bench-data")
	}
	c := newCluster(t)
	result := &sidebyside.Result{
		Machine: machine(), Date: time.Now().UTC().Format("2006-01-02 15:04 UTC"), Command: os.Getenv("IPVSP_BENCH_COMMAND"),
		Services: benchNumber(t, "SERVICES", 100), Seconds: float64(benchNumber(t, "TURN", 1)), Without: map[string]string{},
	}
	kernel, err := c.Node1.Run("uname", "-sr")
	c.must(err)
	result.Kernel = strings.TrimSpace(kernel)
	d := c.dataPlane(result)
	if os.Getenv("IPVSP_BENCH_ADD") != "" {
		text, err := os.ReadFile(out + ".json")
		c.must(err)
		var before sidebyside.Result
		c.must(json.Unmarshal(text, &before))
		c.must(result.Add(&before))
	}

	began := time.Now()
	only, err := regexp.Compile(os.Getenv("IPVSP_BENCH_ONLY"))
	c.must(err)
	rounds := benchNumber(t, "ROUNDS", 7)
	for _, w := range d.workloads() {
		if !only.MatchString(w.Name) {
			continue
		}
		d.measure(w, rounds)
		result.Measured(w.Scenario)
		d.keep(out)
	}
	if stall := benchNumber(t, "STALL", 60); stall > 0 {
		for _, l := range d.longRuns() {
			if !only.MatchString(l.name) {
				continue
			}
			for round := range benchNumber(t, "LONGRUNS", 1) {
				for _, n := range d.inTurn(round) {
					if n.serves() && n.variant != sidebyside.BareFilter {
						result.Ran(l.name, l.what, n.variant, round == 0, d.stall(l, n, stall))
						d.keep(out)
					}
				}
			}
		}
	}
	t.Logf("measured for %.0f s", time.Since(began).Seconds())
}

// keep writes what there is so far.
func (d *dataPlane) keep(out string) {
	d.c.t.Helper()
	text, err := json.MarshalIndent(d.result, "", " ")
	d.c.must(err)
	d.c.must(os.WriteFile(out+".json", append(text, '\n'), 0o644))
	d.c.must(os.WriteFile(out+".md", []byte(sidebyside.Page(d.result)), 0o644))
}

// benchNumber is the value of IPVSP_BENCH_name.
func benchNumber(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv("IPVSP_BENCH_" + name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s: want a whole number, 0 or more", name, text)
	}
	return n
}

// machine names the processor and how many the guest has.
func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	model, count := "a processor without a name", 0
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "processor":
			count++
		}
	}
	return model + ", processors of the guest: " + strconv.Itoa(count)
}

// inTurn are the nodes in the order of a round, which alternates.
func (d *dataPlane) inTurn(round int) []*dataNode {
	order := slices.Clone(d.nodes)
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

// measure gives every variant its turn in each round.
func (d *dataPlane) measure(w *workload, rounds int) {
	w.Rates, w.Errors = map[string][]float64{}, map[string]int64{}
	for round := range rounds {
		for _, n := range d.inTurn(round) {
			if n.variant == sidebyside.BareRandom || !w.Bystander && !n.serves() {
				continue
			}
			rate, errors := w.run(n)
			w.Rates[n.variant] = append(w.Rates[n.variant], rate)
			w.Errors[n.variant] += errors
		}
	}
	d.c.t.Logf("%s: %v", w.Name, w.Rates)
}
