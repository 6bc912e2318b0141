package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-4*math.Max(math.Abs(a), math.Abs(b))+1e-12 }

func TestJainAndMaxOverMean(t *testing.T) {
	for name, tc := range map[string]struct {
		got, expected     []float64
		jain, maxOverMean float64
	}{
		"even":                          {[]float64{5, 5, 5}, []float64{1, 1, 1}, 1, 1},
		"one has all of n":              {[]float64{9, 0, 0}, []float64{1, 1, 1}, 1. / 3, 3},
		"as weighted":                   {[]float64{6, 2}, []float64{3, 1}, 1, 1},
		"weighted, but even":            {[]float64{4, 4}, []float64{3, 1}, 0.8, 2},
		"nothing":                       {[]float64{0, 0}, []float64{1, 1}, 1, math.NaN()},
		"what should get none is aside": {[]float64{5, 5, 1}, []float64{1, 1, 0}, 1, 10. / 11},
	} {
		if j := Jain(tc.got, tc.expected); !near(j, tc.jain) {
			t.Errorf("%s: Jain's index %v, want %v", name, j, tc.jain)
		}
		if m := MaxOverMean(tc.got, tc.expected); !near(m, tc.maxOverMean) && !math.IsNaN(tc.maxOverMean) {
			t.Errorf("%s: max over mean %v, want %v", name, m, tc.maxOverMean)
		}
	}
}

// The survival function of the distribution is exp(-x/2) for 2 degrees of freedom and erfc(sqrt(x/2)) for 1.
func TestChiSquare(t *testing.T) {
	for _, tc := range []struct {
		got, expected []float64
		statistic     float64
		degrees       int
		p             float64
	}{
		{[]float64{10, 20, 30}, []float64{1, 1, 1}, 10, 2, 0.006737947},
		{[]float64{48, 52}, []float64{7, 7}, 0.16, 1, 0.6891565},
		{[]float64{30, 10}, []float64{0.5, 0.5}, 10, 1, 0.001565402},
		{[]float64{30}, []float64{1}, 0, 0, 1},
		{[]float64{30, 1}, []float64{1, 0}, math.Inf(1), 1, 0},
	} {
		s, d, p := ChiSquare(tc.got, tc.expected)
		if s != tc.statistic && !near(s, tc.statistic) || d != tc.degrees || !near(p, tc.p) {
			t.Errorf("%v against %v: %v, %d, %v; want %v, %d, %v", tc.got, tc.expected, s, d, p, tc.statistic, tc.degrees, tc.p)
		}
	}
}

// Without ties by counting the orders: 2 of 252, 2 of 20, and the table's 0.6905 for U = 10 of 5 and 5. With ties by
// hand: U = 2.5, mean 8, variance 16/12*(9-36/56), so z = 5/3.3381.
func TestMannWhitney(t *testing.T) {
	for _, tc := range []struct {
		a, b []float64
		p    float64
	}{
		{[]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 2. / 252},
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 0.1},
		{[]float64{1, 3, 5, 7, 9}, []float64{2, 4, 6, 8, 10}, 0.6904762},
		{[]float64{1, 1, 2, 3}, []float64{2, 3, 3, 4}, 0.1341692},
		{[]float64{1, 1, 1}, []float64{1, 1, 1}, 1},
		{nil, []float64{1}, 1},
	} {
		if p := MannWhitney(tc.a, tc.b); !near(p, tc.p) {
			t.Errorf("%v and %v: p %v, want %v", tc.a, tc.b, p, tc.p)
		}
		if there, back := MannWhitney(tc.a, tc.b), MannWhitney(tc.b, tc.a); there != back {
			t.Errorf("%v and %v: p is %v one way and %v the other", tc.a, tc.b, there, back)
		}
	}
}

func TestMedian(t *testing.T) {
	if Median([]float64{3, 1, 2}) != 2 || Median([]float64{4, 1, 2, 3}) != 2.5 || !math.IsNaN(Median(nil)) {
		t.Error("the middle is not in the middle")
	}
}

func TestPercentile(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	for p, want := range map[int]float64{0: 1, 1: 1, 25: 1, 26: 2, 50: 2, 99: 4, 100: 4} {
		if got := Percentile(values, p); got != want {
			t.Errorf("p%d is %v, want %v", p, got, want)
		}
	}
	if !math.IsNaN(Percentile(nil, 50)) {
		t.Error("nothing has a percentile")
	}
}

// The interval holds the true ratio in about 95 of 100 draws.
func TestTheIntervalOfARatioHoldsTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	draw := func(center float64) []float64 {
		var all []float64
		for range 15 {
			all = append(all, center+random.NormFloat64())
		}
		return all
	}
	held := 0
	for range 100 {
		r := RatioOfMedians(draw(100), draw(105))
		if r.Low > r.Estimate || r.High < r.Estimate {
			t.Fatalf("%+v", r)
		}
		if r.Low <= 1.05 && 1.05 <= r.High {
			held++
		}
	}
	if held < 85 {
		t.Errorf("%d of 100 intervals hold the ratio", held)
	}
}
