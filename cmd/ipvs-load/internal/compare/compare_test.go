package compare

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

// round is a run whose latencies are around a median, with noise of a few percent as real ones have it.
func round(random *rand.Rand, median float64) *report.Report {
	noisy := func(center, noise float64) float64 { return center * (1 + noise*random.NormFloat64()) }
	r := &report.Report{Settings: report.Settings{Mode: "crr", Loop: "open", Rate: 1000}}
	r.Requests.Answered = 10_000
	r.Rate = report.Rate{Window: 10, Offered: 1000, Achieved: noisy(1000, 0.001)}
	level := noisy(median, 0.006) // of this round
	r.Latency = report.Percentiles{P50: level, P99: noisy(5*level, 0.05)}
	r.SelfCheck.WakeLate = report.Percentiles{P50: 20, P99: 200}
	r.Series = report.Series{Width: 0.1}
	for range 100 {
		r.Series.P50 = append(r.Series.P50, noisy(level, 0.02))
		r.Series.P99 = append(r.Series.P99, noisy(5*level, 0.3))
		r.Series.Answered = append(r.Series.Answered, 100)
	}
	return r
}

func side(random *rand.Rand, name string, rounds int, median float64) Side {
	s := Side{Name: name}
	for range rounds {
		s.Rounds = append(s.Rounds, round(random, median))
	}
	return s
}

func verdict(t *testing.T, a, b Side) *Versus {
	t.Helper()
	c, err := Compare([]Side{a, b}, DefaultThreshold)
	if err != nil {
		t.Fatal(err)
	}
	return &c.Others[0]
}

// Twice the same is no difference, 5 percent more is slower and 5 percent less is faster: by rounds, and by blocks of a
// single run. The seeds are fixed, so the counts are; they are the rates of error that the thresholds give.
func TestTheSameIsTheSameAndFivePercentIsSlower(t *testing.T) {
	const tries = 60
	for _, rounds := range []int{1, 5, 10} {
		random := rand.New(rand.NewPCG(uint64(rounds), 7))
		got := map[string]map[string]int{}
		for name, median := range map[string]float64{"the same": 20_000, "5 % slower": 21_000, "5 % faster": 19_000} {
			got[name] = map[string]int{}
			for range tries {
				v := verdict(t, side(random, "a", rounds, 20_000), side(random, "b", rounds, median))
				got[name][v.Metrics[0].Verdict]++
				if v.ByBlocks != (rounds < minRounds) {
					t.Fatalf("%d rounds, by blocks %v", rounds, v.ByBlocks)
				}
			}
		}
		if n := got["the same"][NoDifference]; n < tries-2 {
			t.Errorf("%d rounds: the same is judged %v", rounds, got["the same"])
		}
		if n := got["5 % slower"][Slower]; n < tries-3 {
			t.Errorf("%d rounds: 5 %% slower is judged %v", rounds, got["5 % slower"])
		}
		if n := got["5 % faster"][Faster]; n < tries-3 {
			t.Errorf("%d rounds: 5 %% faster is judged %v", rounds, got["5 % faster"])
		}
	}
}

func TestWhatDoesNotCount(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	shifted := func(rounds int, median float64, change func(*report.Report)) Side {
		s := side(random, "b", rounds, median)
		for _, r := range s.Rounds {
			change(r)
		}
		return s
	}
	none := func(*report.Report) {}
	for name, tc := range map[string]struct {
		other Side
		why   string
	}{
		"2 % slower": {shifted(10, 20_400, none), "less than 3 %"},
		"the client was late itself": {shifted(10, 21_000,
			func(r *report.Report) { r.SelfCheck.WakeLate.P50 = 1500 }), "no more than the client's own lateness"},
		"a run that drifts": {shifted(1, 21_000, func(r *report.Report) {
			for i := range r.Series.P50 {
				r.Series.P50[i] *= 0.9 + 0.2*float64(i)/100
			}
		}), "no"},
	} {
		m := verdict(t, side(random, "a", len(tc.other.Rounds), 20_000), tc.other).Metrics[0]
		if m.Verdict != NoDifference || !strings.Contains(m.Why, tc.why) {
			t.Errorf("%s: %s, %q; want no difference, %q", name, m.Verdict, m.Why, tc.why)
		}
	}
}

func TestMoreErrorsAreWorse(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	for failed, want := range map[int64]string{0: NoDifference, 5: NoDifference, 100: Slower} {
		a, b := side(random, "a", 5, 20_000), side(random, "b", 5, 20_000)
		b.Rounds[0].Requests.Errors = failed
		if v := verdict(t, a, b); v.Errors.Verdict != want || v.Verdict != want {
			t.Errorf("%d errors of 50,000: %+v, over all %s; want %s", failed, v.Errors, v.Verdict, want)
		}
		if v := verdict(t, b, a); failed == 100 && v.Errors.Verdict != Faster {
			t.Errorf("fewer errors are judged %s", v.Errors.Verdict)
		}
	}
}

func TestAnotherLoadIsWarnedOf(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	a, b := side(random, "a", 5, 20_000), side(random, "b", 5, 20_000)
	b.Rounds[0].Settings.Rate = 500
	b.Rounds[1].Verdict = report.Verdict{ExitStatus: report.ExitClientLimit, Text: "the client could not keep the rate"}
	v := verdict(t, a, b)
	if len(v.Warnings) != 2 || !strings.Contains(v.Warnings[0], "the rate is 1000 in a and 500 in b") ||
		!strings.Contains(v.Warnings[1], "round 2 of b") {
		t.Errorf("warnings %q", v.Warnings)
	}
}

func TestWhatCannotBeComparedIsSaid(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	a := side(random, "a", 1, 20_000)
	if _, err := Compare([]Side{a}, 0.03); err == nil {
		t.Error("one side is compared with nothing")
	}
	for _, threshold := range []float64{-0.1, 1.1} {
		if _, err := Compare([]Side{a, a}, threshold); err == nil {
			t.Errorf("threshold %v is taken", threshold)
		}
	}
	// Runs that answered nothing have no latency to compare, and must not divide by it.
	silent := Side{Name: "silent", Rounds: []*report.Report{{}}}
	c, err := Compare([]Side{a, silent, silent}, 0.03)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.WriteJSON(&b); err != nil {
		t.Errorf("%v", err)
	}
	b.Reset()
	if err := c.WriteText(&b); err != nil || !strings.Contains(b.String(), "silent against a") {
		t.Errorf("%v %s", err, &b)
	}
}

func TestClientsThatMovedThoughTheirEndpointStayed(t *testing.T) {
	run := func(homes map[string]map[string]int64) Side {
		r := &report.Report{}
		for id, clients := range homes {
			e := report.Endpoint{ID: id, Answered: 1}
			for address, n := range clients {
				e.Clients = append(e.Clients, report.Client{Address: address, Answered: n})
			}
			r.Endpoints = append(r.Endpoints, e)
		}
		return Side{Rounds: []*report.Report{r}}
	}
	before := run(map[string]map[string]int64{"a": {"1": 9, "2": 9, "3": 5}, "b": {"3": 4, "4": 9}, "gone": {"5": 9}})
	after := run(map[string]map[string]int64{"a": {"1": 9, "4": 5}, "b": {"2": 9, "3": 9, "4": 6, "5": 9}})
	// 1 stays, 2 and 3 move from a to b, 4 belongs to b still; 5 had to move.
	if got := moved(before, after); got.Both != 4 || got.Moved != 2 || got.Share != 0.5 {
		t.Errorf("%+v", got)
	}
	if got := moved(Side{}, after); got != (Clients{}) {
		t.Errorf("%+v", got)
	}
}
