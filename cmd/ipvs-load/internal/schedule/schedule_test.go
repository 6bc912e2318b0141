package schedule

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func starts(p Plan) []time.Duration {
	var all []time.Duration
	for w := range p.Workers {
		for c := p.Cursor(w); !c.Done(); c.Next() {
			all = append(all, c.At())
		}
	}
	slices.Sort(all)
	return all
}

func TestConstantStarts(t *testing.T) {
	ms := func(n ...int) (all []time.Duration) {
		for _, n := range n {
			all = append(all, time.Duration(n)*time.Millisecond)
		}
		return all
	}
	for name, tc := range map[string]struct {
		plan   Plan
		want   []time.Duration
		window time.Duration
	}{
		"a duration excludes its end":               {Plan{Rate: 10, Duration: 300 * time.Millisecond}, ms(0, 100, 200), 300 * time.Millisecond},
		"a duration that is no multiple of the gap": {Plan{Rate: 10, Duration: 301 * time.Millisecond}, ms(0, 100, 200, 300), 301 * time.Millisecond},
		"a count":                                    {Plan{Rate: 10, Count: 3}, ms(0, 100, 200), 300 * time.Millisecond},
		"the warm-up comes before the count":         {Plan{Rate: 10, Count: 2, Warmup: 200 * time.Millisecond}, ms(0, 100, 200, 300), 200 * time.Millisecond},
		"a warm-up between two starts":               {Plan{Rate: 10, Count: 2, Warmup: 150 * time.Millisecond}, ms(0, 100, 200, 300), 200 * time.Millisecond},
		"the warm-up comes before the duration":      {Plan{Rate: 10, Duration: 200 * time.Millisecond, Warmup: 100 * time.Millisecond}, ms(0, 100, 200), 200 * time.Millisecond},
		"slower than one a second":                   {Plan{Rate: 0.5, Count: 2}, ms(0, 2000), 4 * time.Second},
		"a count smaller than the number of workers": {Plan{Rate: 10, Count: 1}, ms(0), 100 * time.Millisecond},
	} {
		for _, workers := range []int{1, 2, 3} {
			tc.plan.Workers = workers
			t.Run(name, func(t *testing.T) {
				if err := tc.plan.Validate(); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(tc.want, starts(tc.plan)); d != "" {
					t.Errorf("%d workers: %s", workers, d)
				}
				if got := tc.plan.Window(); got != tc.window {
					t.Errorf("window %v, want %v", got, tc.window)
				}
			})
		}
	}
}

func TestAConstantScheduleDoesNotDrift(t *testing.T) {
	p := Plan{Rate: 3, Duration: MaxLength, Workers: 1}
	c := p.Cursor(0)
	for range 3 * 3600 * 20 {
		c.Next()
	}
	if c.At() != 20*time.Hour {
		t.Errorf("start 216000 at 3/s is at %v, want exactly 20h", c.At())
	}
}

func TestNumbersAreUniqueOverWorkers(t *testing.T) {
	for _, arrivals := range []Arrivals{Constant, Poisson} {
		p := Plan{Arrivals: arrivals, Rate: 1000, Count: 1000, Workers: 3, Seed: 1}
		seen := map[int64]bool{}
		for w := range p.Workers {
			for c := p.Cursor(w); !c.Done(); c.Next() {
				if seen[c.Number()] {
					t.Fatalf("%v: number %d twice", arrivals, c.Number())
				}
				seen[c.Number()] = true
			}
		}
		if len(seen) != 1000 {
			t.Errorf("%v: %d starts, want 1000", arrivals, len(seen))
		}
	}
}

// The number of Poisson starts in a window has mean and variance rate*window, and the gaps have the standard deviation
// of their mean. The seeds are fixed, so the test says the same every time; five standard deviations are its bounds.
func TestPoissonStartsAreExponential(t *testing.T) {
	for seed := range uint64(5) {
		p := Plan{Arrivals: Poisson, Rate: 1000, Duration: 100 * time.Second, Workers: 4, Seed: seed}
		all := starts(p)
		n := float64(len(all))
		if math.Abs(n-100_000) > 5*math.Sqrt(100_000) {
			t.Errorf("seed %d: %v starts, want 100000 ± 1581", seed, n)
		}
		var sum, squares float64
		for i := 1; i < len(all); i++ {
			gap := (all[i] - all[i-1]).Seconds()
			sum += gap
			squares += gap * gap
		}
		mean := sum / (n - 1)
		deviation := math.Sqrt(squares/(n-1) - mean*mean)
		// The coefficient of variation of n exponential gaps is 1 with a standard error of 1/sqrt(n).
		if math.Abs(deviation/mean-1) > 5/math.Sqrt(n) {
			t.Errorf("seed %d: deviation/mean of the gaps is %v, want 1 ± %v", seed, deviation/mean, 5/math.Sqrt(n))
		}
	}
}

func TestAPoissonScheduleRepeatsWithItsSeed(t *testing.T) {
	p := Plan{Arrivals: Poisson, Rate: 1000, Count: 100, Workers: 2, Seed: 7, Warmup: 20 * time.Millisecond}
	if d := cmp.Diff(starts(p), starts(p)); d != "" {
		t.Error(d)
	}
	q := p
	q.Seed = 8
	if cmp.Equal(starts(p), starts(q)) {
		t.Error("another seed gives the same starts")
	}
	measured := 0
	for _, at := range starts(p) {
		if at >= p.Warmup {
			measured++
		}
		if at >= p.Warmup+p.Window() {
			t.Errorf("start at %v lies outside the window of %v", at, p.Window())
		}
	}
	if measured != 100 {
		t.Errorf("%d measured starts, want the count of 100", measured)
	}
}

func TestACopiedCursorWalksOnItsOwn(t *testing.T) {
	c := Plan{Arrivals: Poisson, Rate: 10, Count: 10, Workers: 1}.Cursor(0)
	d := c
	d.Next()
	if c.Number() != 0 || d.Number() != 1 {
		t.Fatal("the copy moved the original")
	}
	c.Next()
	if c.At() != d.At() {
		t.Errorf("the same start is at %v and at %v", c.At(), d.At())
	}
}

func TestImpossiblePlansAreNamed(t *testing.T) {
	good := Plan{Rate: 10, Duration: time.Second, Workers: 1}
	for part, change := range map[string]func(*Plan){
		"rate 0 is out of range":    func(p *Plan) { p.Rate = 0 },
		"rate -1 is out of range":   func(p *Plan) { p.Rate = -1 },
		"rate NaN is out of range":  func(p *Plan) { p.Rate = math.NaN() },
		"rate +Inf is out of range": func(p *Plan) { p.Rate = math.Inf(1) },
		"both given":                func(p *Plan) { p.Count = 1 },
		"neither a duration nor":    func(p *Plan) { p.Duration = 0 },
		"duration -1s is out":       func(p *Plan) { p.Duration = -time.Second },
		"duration 25h0m0s is out":   func(p *Plan) { p.Duration = 25 * time.Hour },
		"count -5 is out of range":  func(p *Plan) { p.Duration, p.Count = 0, -5 },
		"takes longer than 24h0m0s": func(p *Plan) { p.Duration, p.Count = 0, MaxCount },
		"warm-up -1s is out":        func(p *Plan) { p.Warmup = -time.Second },
		"0 workers cannot work":     func(p *Plan) { p.Workers = 0 },
	} {
		p := good
		change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Validate says %v; want a sentence with %q", err, part)
		}
	}
}
