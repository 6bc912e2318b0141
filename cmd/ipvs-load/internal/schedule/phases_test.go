package schedule

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPhasesAreReadAsTheyAreWritten(t *testing.T) {
	for _, s := range []string{"100:10s", "100:10s,100..1000:1m0s,1000:10s", "0..50:1s", "50..0:1s", "0.5:1h0m0s"} {
		all, err := ParsePhases(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		text := ""
		for i, p := range all {
			if i > 0 {
				text += ","
			}
			text += p.String()
		}
		if text != s {
			t.Errorf("%s comes back as %s", s, text)
		}
	}
	for _, s := range []string{
		"", "100", "100:", ":10s", "100:10s,", "100..:1s", "0:1s", "0..0:1s", "-1:1s", "1:0s", "1:-1s", "NaN:1s",
		"20000000:1s", "1:25h", "1..2..3:1s",
	} {
		if all, err := ParsePhases(s); err == nil {
			t.Errorf("%q is taken for %v", s, all)
		}
	}
}

// Every plan keeps to its rate: up to any moment, as many starts are due as the rate's integral says (constant
// arrivals), or as many as chance allows (Poisson).
func TestPhasesKeepToTheirRate(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		p := Plan{Workers: 1 + random.IntN(4), Seed: random.Uint64()}
		if random.IntN(2) == 0 {
			p.Warmup = time.Duration(random.IntN(int(time.Second)))
		}
		for range 1 + random.IntN(4) {
			x := Phase{
				From: float64(random.IntN(3)) * 1000 * random.Float64(), To: 1 + 3000*random.Float64(),
				Length: time.Duration(1 + random.IntN(int(2*time.Second))),
			}
			switch random.IntN(3) {
			case 0:
				x.From = x.To
			case 1:
				x.From, x.To = x.To, x.From
			}
			p.Phases = append(p.Phases, x)
		}
		if random.IntN(2) == 0 {
			p.Arrivals = Poisson
		}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		end := p.Warmup + p.Window()
		moments := []time.Duration{p.Warmup, end, p.Warmup + time.Duration(random.Int64N(int64(p.Window())))}
		due := make([]float64, len(moments))
		for w := range p.Workers {
			last := time.Duration(-1)
			for c := p.Cursor(w); !c.Done(); c.Next() {
				if c.At() < last || c.At() >= end {
					t.Fatalf("%+v: a start at %v after one at %v, the end is %v", p, c.At(), last, end)
				}
				last = c.At()
				for i, m := range moments {
					if c.At() < m {
						due[i]++
					}
				}
			}
		}
		for i, m := range moments {
			want := expected(p, m)
			slack := 1.5 // the last start may be on either side, by rounding
			if p.Arrivals == Poisson {
				slack = 6*math.Sqrt(want) + 6
			}
			if math.Abs(due[i]-want) > slack {
				t.Errorf("%+v: %v starts before %v, want %.1f", p, due[i], m, want)
			}
		}
	}
}

// expected is the integral of a plan's rate up to a moment, by its definition.
func expected(p Plan, until time.Duration) float64 {
	sum := p.Phases[0].From * min(until, p.Warmup).Seconds()
	at := p.Warmup
	for _, x := range p.Phases {
		t := min(max(until-at, 0), x.Length).Seconds()
		sum += x.From*t + (x.To-x.From)/x.Length.Seconds()*t*t/2
		at += x.Length
	}
	return sum
}

func TestAPlanHasOneWayToSayHowLong(t *testing.T) {
	phases := []Phase{{From: 1, To: 1, Length: time.Second}}
	for name, p := range map[string]Plan{
		"phases and a rate":           {Phases: phases, Rate: 1, Workers: 1},
		"phases and a duration":       {Phases: phases, Duration: 1, Workers: 1},
		"phases and a count":          {Phases: phases, Count: 1, Workers: 1},
		"a closed loop with a rate":   {Closed: true, Rate: 1, Duration: 1, Workers: 1},
		"a closed loop by chance":     {Closed: true, Arrivals: Poisson, Duration: 1, Workers: 1},
		"a closed loop without end":   {Closed: true, Workers: 1},
		"no worker, though no rate":   {Closed: true, Duration: 1},
		"more phases than are useful": {Phases: make([]Phase, MaxPhases+1), Workers: 1},
	} {
		if p.Validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := (Plan{Closed: true, Duration: time.Second, Workers: 1}).Validate(); err != nil {
		t.Error(err)
	}
}

// FuzzParsePhases: what is taken is within the limits, and is read again as it is written.
func FuzzParsePhases(f *testing.F) {
	for _, s := range []string{
		"100:10s,100..1000:1m", "", "1e6:1ns", "NaN:1s", "Inf:1s", "-0:1s", "0..0.1:24h", "1..:1s", "0x1p-3:1s",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParsePhases(s)
		if err != nil {
			return
		}
		var texts []string
		for _, p := range got {
			if !(p.From >= 0 && p.To >= 0 && p.From <= MaxRate && p.To <= MaxRate && p.From+p.To > 0) || p.Length <= 0 ||
				p.Length > MaxLength {
				t.Errorf("%q lets %+v pass", s, p)
			}
			texts = append(texts, p.String())
		}
		if again, err := ParsePhases(strings.Join(texts, ",")); err != nil || !slices.Equal(again, got) {
			t.Errorf("%q became %q, which became %v, %v", s, texts, again, err)
		}
	})
}
