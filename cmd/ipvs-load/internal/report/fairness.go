package report

import (
	"cmp"
	"math"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/stats"
)

// Fairness compares the shares of a target's endpoints with the expected ones: equal shares, or the weights that were
// given.
type Fairness struct {
	Expected    string  `json:"expected"` // "equal" or "weights"
	Jain        float64 `json:"jain"`
	MaxOverMean float64 `json:"max_over_mean"`

	// ChiSquare is Pearson's statistic; P the probability of one at least so large when every answer is drawn
	// independently by the expected shares. P near 0: not such a draw. P near 1: more even than chance.
	ChiSquare  float64 `json:"chi_square"`
	Degrees    int     `json:"degrees_of_freedom"`
	P          float64 `json:"p_value"`
	Unexpected int64   `json:"answered_by_unexpected"` // answers of endpoints that should have got none; they make P 0
}

// expect gives every endpoint its expected share, adds those that should have answered and did not, and says how fair
// it was.
func (t *Target) expect(weights map[string]float64) {
	f := Fairness{Expected: "equal"}
	if len(weights) > 0 {
		f.Expected = "weights"
		for id := range weights {
			if !slices.ContainsFunc(t.Endpoints, func(e EndpointShare) bool { return e.ID == id }) {
				t.Endpoints = append(t.Endpoints, EndpointShare{ID: id})
			}
		}
	}
	slices.SortFunc(t.Endpoints, func(a, b EndpointShare) int { return cmp.Compare(a.ID, b.ID) })
	got, expected, sum := make([]float64, len(t.Endpoints)), make([]float64, len(t.Endpoints)), 0.0
	for i, e := range t.Endpoints {
		got[i], expected[i] = float64(e.Answered), 1
		if len(weights) > 0 {
			expected[i] = weights[e.ID]
		}
		if expected[i] == 0 {
			f.Unexpected += e.Answered
		}
		sum += expected[i]
	}
	if t.Answered == 0 || len(t.Endpoints) == 0 || sum == 0 {
		return
	}
	for i := range t.Endpoints {
		t.Endpoints[i].Expected = expected[i] / sum
	}
	f.Jain, f.MaxOverMean = stats.Jain(got, expected), stats.MaxOverMean(got, expected)
	f.ChiSquare, f.Degrees, f.P = stats.ChiSquare(got, expected)
	if math.IsInf(f.ChiSquare, 1) {
		f.ChiSquare = -1 // JSON has no infinity; answered_by_unexpected says why
	}
	t.Fairness = &f
}

// Stickiness is whether clients, by the address that the servers saw, stayed with one endpoint of a target.
type Stickiness struct {
	Clients int     `json:"clients"` // pairs of a client and a target
	Sticky  int     `json:"sticky"`  // of them, those that only one endpoint answered
	Share   float64 `json:"share"`
}

func stickiness(t *account.Tally) Stickiness {
	var s Stickiness
	for i := range t.Targets {
		seen := map[string]int{}
		for _, e := range t.Targets[i].Endpoints {
			for client := range e.Clients {
				seen[client]++
			}
		}
		for _, endpoints := range seen {
			s.Clients++
			if endpoints == 1 {
				s.Sticky++
			}
		}
	}
	s.Share = ratio(int64(s.Sticky), int64(s.Clients))
	return s
}

// Connections are those of modes rr and idle, from before the window until its end.
type Connections struct {
	Held   int   `json:"held"`   // asked for
	Opened int64 `json:"opened"` // connected, the first time and again
	Failed int64 `json:"failed"` // attempts that did not connect
	Lost   int64 `json:"lost"`   // ended by the other side, or given up after an error
}
