package compare

import (
	"errors"
	"fmt"
	"math"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/stats"
)

// Schema names the JSON form of a Comparison.
const Schema = "ipvs-load.compare/v1"

// Significance is the probability of a difference by chance below which it counts.
const Significance = 0.01

// DefaultThreshold is the relative difference from which on a significant one counts.
const DefaultThreshold = 0.03

// Verdicts.
const (
	Slower       = "slower"
	Faster       = "faster"
	NoDifference = "no difference"
)

// Side is a set of runs of the same thing.
type Side struct {
	Name   string
	Rounds []*report.Report
}

// Comparison of several sides with the first.
type Comparison struct {
	Schema    string   `json:"schema"`
	Base      string   `json:"base"`
	Threshold float64  `json:"threshold"`
	Others    []Versus `json:"others"`
}

// Versus is one side against the base.
type Versus struct {
	Name     string   `json:"name"`
	Rounds   [2]int   `json:"rounds"`    // of the base and of this side
	ByBlocks bool     `json:"by_blocks"` // too few rounds: blocks of time within the runs were compared
	Metrics  []Metric `json:"metrics"`
	Errors   Errors   `json:"errors"`
	Clients  Clients  `json:"clients"`
	Verdict  string   `json:"verdict"`
	Warnings []string `json:"warnings"`
}

// Metric is how one side stands to the base in one respect. Values are medians over the rounds; the interval of the
// ratio is of 95 percent confidence.
type Metric struct {
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Base    float64 `json:"base"`
	Value   float64 `json:"value"`
	Ratio   float64 `json:"ratio"`
	Low     float64 `json:"ratio_low"`
	High    float64 `json:"ratio_high"`
	P       float64 `json:"p_value"`
	Verdict string  `json:"verdict"`
	Why     string  `json:"why"` // what speaks against a difference; empty when there is one
}

// Errors compares the shares of errors.
type Errors struct {
	Base    float64 `json:"base"`
	Value   float64 `json:"value"`
	P       float64 `json:"p_value"`
	Verdict string  `json:"verdict"`
}

// Compare compares every other side with the first.
func Compare(sides []Side, threshold float64) (*Comparison, error) {
	if len(sides) < 2 {
		return nil, errors.New("there is only one set of runs; comparing needs a base and at least one other")
	}
	if !(threshold >= 0) || threshold > 1 {
		return nil, fmt.Errorf("threshold %v is out of range; allowed is 0 to 1", threshold)
	}
	c := &Comparison{Schema: Schema, Base: sides[0].Name, Threshold: threshold, Others: []Versus{}}
	for _, s := range sides[1:] {
		c.Others = append(c.Others, versus(sides[0], s, threshold))
	}
	return c, nil
}

// Worse says whether a side is slower than the base, or has more errors.
func (c *Comparison) Worse() bool {
	for _, v := range c.Others {
		if v.Verdict == Slower {
			return true
		}
	}
	return false
}

func versus(base, other Side, threshold float64) Versus {
	v := Versus{
		Name: other.Name, Rounds: [2]int{len(base.Rounds), len(other.Rounds)},
		ByBlocks: min(len(base.Rounds), len(other.Rounds)) < minRounds, Warnings: warnings(base, other),
		Verdict: NoDifference,
	}
	for i := range metrics {
		if m, ok := metrics[i].compare(base, other, v.ByBlocks, threshold); ok {
			v.Metrics = append(v.Metrics, m)
		}
	}
	v.Errors, v.Clients = compareErrors(base, other), moved(base, other)
	// The worst counts: a lower median does not make up for a longer tail.
	verdicts := map[string]bool{v.Errors.Verdict: true}
	for _, m := range v.Metrics {
		verdicts[m.Verdict] = true
	}
	switch {
	case verdicts[Slower]:
		v.Verdict = Slower
	case verdicts[Faster]:
		v.Verdict = Faster
	}
	return v
}

func (m *metric) compare(base, other Side, byBlocks bool, threshold float64) (Metric, bool) {
	a, b := m.sample(base.Rounds, byBlocks), m.sample(other.Rounds, byBlocks)
	whole, wholeOther := m.sample(base.Rounds, false), m.sample(other.Rounds, false)
	r := Metric{
		Name: m.name, Unit: m.unit, Base: stats.Median(whole.values), Value: stats.Median(wholeOther.values),
		Verdict: NoDifference, P: 1,
	}
	if math.IsNaN(r.Base) || math.IsNaN(r.Value) || r.Base == 0 {
		return r, false
	}
	r.Ratio, r.Low, r.High = r.Value/r.Base, 0, 0
	if len(a.values) == 0 || len(b.values) == 0 || stats.Median(a.values) == 0 {
		r.Ratio, r.Low, r.High, r.Why = r.Value/r.Base, r.Value/r.Base, r.Value/r.Base, "the runs are too short to tell"
		return r, true
	}
	ratio := stats.RatioOfMedians(a.values, b.values)
	r.Ratio, r.Low, r.High = ratio.Estimate, ratio.Low, ratio.High
	r.P = stats.MannWhitney(a.values, b.values)
	difference := math.Abs(stats.Median(a.values) - stats.Median(b.values))
	switch late := m.lateness(base, other); {
	case r.P >= Significance:
		r.Why = "within the noise"
	case math.Abs(r.Ratio-1) < threshold*m.tail:
		r.Why = fmt.Sprintf("less than %.3g %%", 100*threshold*m.tail)
	case difference <= late:
		r.Why = "no more than the client's own lateness"
	case difference <= max(a.drift, b.drift):
		r.Why = "no more than the drift within one run"
	case (r.Ratio > 1) == m.more:
		r.Verdict = Faster
	default:
		r.Verdict = Slower
	}
	return r, true
}

// lateness is how much the client itself adds, by the worse side.
func (m *metric) lateness(base, other Side) float64 {
	if m.late == nil {
		return 0
	}
	worst := 0.0
	for _, s := range []Side{base, other} {
		var all []float64
		for _, r := range s.Rounds {
			all = append(all, m.late(r))
		}
		worst = max(worst, stats.Median(all))
	}
	return worst
}

// compareErrors is Pearson's test of the two counts of errors and answers.
func compareErrors(base, other Side) Errors {
	count := func(s Side) (answered, failed float64) {
		for _, r := range s.Rounds {
			answered, failed = answered+float64(r.Requests.Answered), failed+float64(r.Requests.Errors)
		}
		return answered, failed
	}
	a0, f0 := count(base)
	a1, f1 := count(other)
	e := Errors{Base: share(f0, a0), Value: share(f1, a1), P: 1, Verdict: NoDifference}
	if f0+f1 == 0 || a0+f0 == 0 || a1+f1 == 0 {
		return e
	}
	n0, n1 := a0+f0, a1+f1
	_, _, e.P = stats.ChiSquare([]float64{f0, f1}, []float64{n0, n1})
	switch {
	case e.P >= Significance:
	case e.Value > e.Base:
		e.Verdict = Slower
	default:
		e.Verdict = Faster
	}
	return e
}

func share(part, rest float64) float64 {
	if part+rest == 0 {
		return 0
	}
	return part / (part + rest)
}

// warnings returns a sentence for each thing in which the sides did not run the same load, or were disturbed.
func warnings(base, other Side) []string {
	all := []string{}
	a, b := base.Rounds[0].Settings, other.Rounds[0].Settings
	differ := func(what string, x, y any) {
		if fmt.Sprint(x) != fmt.Sprint(y) {
			all = append(all, fmt.Sprintf("not the same load: %s is %v in %s and %v in %s", what, x, base.Name, y, other.Name))
		}
	}
	differ("the mode", a.Mode, b.Mode)
	differ("the loop", a.Loop, b.Loop)
	differ("the rate", a.Rate, b.Rate)
	differ("the phases", a.Phases, b.Phases)
	differ("the arrivals", a.Arrivals, b.Arrivals)
	differ("the number of connections", a.Connections, b.Connections)
	differ("the timeout", a.Timeout, b.Timeout)
	for _, s := range []Side{base, other} {
		for i, r := range s.Rounds {
			if r.Verdict.ExitStatus == report.ExitClientLimit {
				all = append(all, fmt.Sprintf("round %d of %s: %s", i+1, s.Name, r.Verdict.Text))
			}
		}
	}
	return all
}
