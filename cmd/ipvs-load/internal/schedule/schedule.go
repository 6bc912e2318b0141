// Package schedule says when each request of an open-loop run should start.
//
// It knows no clock: times are offsets from the beginning of the run, and depend on nothing but the Plan, so that a run
// can be repeated start for start. The starts are dealt out to workers; each worker walks its own Cursor, without
// asking the others.
package schedule

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Arrivals is the process that the intended starts follow.
type Arrivals uint8

const (
	// Constant spaces the starts evenly: start n is at n/rate.
	Constant Arrivals = iota
	// Poisson draws independent, exponentially distributed gaps of mean 1/rate, as many independent users make them.
	Poisson
)

func (a Arrivals) String() string {
	if a == Poisson {
		return "poisson"
	}
	return "constant"
}

// ParseArrivals reads what String writes.
func ParseArrivals(s string) (Arrivals, error) {
	switch s {
	case "constant":
		return Constant, nil
	case "poisson":
		return Poisson, nil
	}
	return 0, fmt.Errorf("arrivals %q are not known; allowed are constant and poisson", s)
}

// Limits of a plan. MaxRate keeps neighbouring starts of a constant schedule apart by more than the error of a float64
// (2^53 ns are 104 days); MaxLength keeps every latency inside a histogram's range.
const (
	MaxRate   = 10_000_000
	MaxLength = 24 * time.Hour
	MaxCount  = 1_000_000_000
)

// Plan is an open-loop schedule. Exactly one of Phases, Duration and Count is set; Rate goes with the latter two.
type Plan struct {
	Arrivals Arrivals
	Rate     float64       // starts per second, over all workers
	Phases   []Phase       // of the measured window, one after the other; the warm-up runs at the rate of their beginning
	Warmup   time.Duration // starts before this offset load the target, but are not measured
	Duration time.Duration // length of the measured window, which follows the warm-up
	Count    int64         // number of measured starts
	Workers  int           // at least 1
	Seed     uint64        // of the Poisson gaps

	// Closed makes it no schedule at all: whoever is free starts the next request at once, for Duration or Count. There
	// are no intended starts, so a slow target is asked less, and its latencies look better than an open loop's.
	Closed bool
}

// Validate says in one sentence what makes the plan impossible, or returns nil.
func (p Plan) Validate() error {
	if len(p.Phases) > 0 {
		if p.Rate != 0 || p.Duration != 0 || p.Count != 0 {
			return fmt.Errorf("phases of the rate are given beside a rate, a duration or a count; the phases say all of that")
		}
		if err := validatePhases(p.Phases); err != nil {
			return err
		}
		p.Rate, p.Duration = p.peak(), p.Window()
	}
	switch {
	case p.Closed && (p.Rate != 0 || p.Arrivals != Constant):
		return fmt.Errorf("a closed loop has neither a rate nor arrivals: the answers set the pace")
	case p.Closed: // the rate of the checks below
		p.Rate = MaxRate
	}
	switch {
	case !(p.Rate > 0) || p.Rate > MaxRate:
		return fmt.Errorf("rate %v is out of range; allowed is more than 0 and at most %d requests per second", p.Rate, MaxRate)
	case p.Duration != 0 && p.Count != 0:
		return fmt.Errorf("a duration (%v) and a count (%d) are both given; allowed is one of them", p.Duration, p.Count)
	case p.Duration == 0 && p.Count == 0:
		return fmt.Errorf("neither a duration nor a count is given; one of them is needed")
	case p.Duration < 0 || p.Duration > MaxLength:
		return fmt.Errorf("duration %v is out of range; allowed is more than 0 and at most %v", p.Duration, MaxLength)
	case p.Count < 0 || p.Count > MaxCount:
		return fmt.Errorf("count %d is out of range; allowed is 1 to %d", p.Count, MaxCount)
	case p.Count > 0 && float64(p.Count)/p.Rate > MaxLength.Seconds():
		return fmt.Errorf("count %d at rate %v takes longer than %v, which is the longest run", p.Count, p.Rate, MaxLength)
	case p.Warmup < 0 || p.Warmup > MaxLength:
		return fmt.Errorf("warm-up %v is out of range; allowed is 0 to %v", p.Warmup, MaxLength)
	case p.Workers < 1:
		return fmt.Errorf("%d workers cannot work; at least 1 is needed", p.Workers)
	}
	return nil
}

// Window is the length of the measured part: the given duration, or the time that the given count takes at the rate. A
// Poisson plan with a count ends with its last start, wherever chance put it.
func (p Plan) Window() time.Duration {
	if len(p.Phases) > 0 {
		return phasesLength(p.Phases)
	}
	if p.Duration > 0 {
		return p.Duration
	}
	if p.Closed {
		return MaxLength // the number of answers decides
	}
	window := offset(float64(p.Count), p.Rate)
	if p.Arrivals == Poisson {
		for w := range p.Workers {
			for c := p.Cursor(w); !c.Done(); c.Next() {
				window = max(window, c.At()-p.Warmup+1)
			}
		}
	}
	return window
}

// Cursor returns the walk over the starts of one worker, from 0 to Workers-1.
//
// Constant: worker w has the starts w, w+W, w+2W of the whole. Poisson: each worker draws a process of rate/W of its
// own. Independent Poisson processes laid over one another are one Poisson process of the summed rate. Where the rate
// changes, both are carried over by the time that the expected number of starts takes (phases.go).
func (p Plan) Cursor(worker int) Cursor {
	c := Cursor{
		arrivals: p.Arrivals,
		warmup:   p.Warmup,
		counted:  p.Count > 0,
		number:   int64(worker),
		stride:   int64(p.Workers),
		profile:  p.profile(),
	}
	if !c.counted {
		c.end = p.Warmup + p.Window()
	}
	switch {
	case p.Arrivals == Poisson:
		c.random = *rand.NewPCG(p.Seed, uint64(worker))
		c.left = p.Count / c.stride
		if c.number < p.Count%c.stride {
			c.left++
		}
		c.gap()
	case c.counted:
		// The measured starts are the Count ones behind the warm-up's: a start at exactly the warm-up's end is
		// measured.
		first := int64(math.Ceil(p.Rate * p.Warmup.Seconds()))
		for first > 0 && offset(float64(first-1), p.Rate) >= p.Warmup {
			first--
		}
		for offset(float64(first), p.Rate) < p.Warmup {
			first++
		}
		c.last = first + p.Count
	}
	c.settle()
	return c
}

// Cursor is one worker's place in the schedule. It is a value: a copy walks on its own.
type Cursor struct {
	arrivals Arrivals
	warmup   time.Duration
	end      time.Duration // of a plan with a duration
	cut      bool          // there is no start after cutAfter
	cutAfter time.Duration
	counted  bool
	last     int64 // constant with a count: the first number that is not started any more
	left     int64 // Poisson with a count: measured starts yet to come
	number   int64
	stride   int64
	profile  profile
	random   rand.PCG
	exact    float64 // Poisson: the number of starts expected before this one, over all workers
	at       time.Duration
	done     bool
}

// Done says that there is no further start; At and Number then mean nothing.
func (c *Cursor) Done() bool { return c.done }

// At is the intended start, as an offset from the beginning of the run.
func (c *Cursor) At() time.Duration { return c.at }

// Number is different for each start of all workers; for constant arrivals it is in the order of time.
func (c *Cursor) Number() int64 { return c.number }

// Next goes to the following start.
func (c *Cursor) Next() {
	if c.done {
		return
	}
	if c.arrivals == Poisson {
		if c.counted && c.at >= c.warmup {
			c.left--
		}
		c.gap()
	}
	c.number += c.stride
	c.settle()
}

// EndAfter leaves out the starts after that time.
func (c *Cursor) EndAfter(at time.Duration) {
	c.cut, c.cutAfter = true, at
	c.done = c.done || c.at > at
}

// settle computes At for the present number and finds out whether the schedule has ended.
func (c *Cursor) settle() {
	if c.arrivals == Poisson {
		c.at = c.profile.offset(c.exact)
		c.done = c.counted && c.left <= 0 || !c.counted && c.at >= c.end || c.cut && c.at > c.cutAfter
		return
	}
	c.at = c.profile.offset(float64(c.number))
	c.done = c.counted && c.number >= c.last || !c.counted && c.at >= c.end || c.cut && c.at > c.cutAfter
}

// gap draws the next exponential gap by inversion; u is never 0, so the logarithm is finite.
func (c *Cursor) gap() {
	u := (float64(c.random.Uint64()>>11) + 0.5) / (1 << 53)
	c.exact += -math.Log(u) * float64(c.stride)
}

// offset multiplies before it divides: summing rounded gaps would drift by up to half a nanosecond a start.
func offset(n, rate float64) time.Duration {
	return time.Duration(n * float64(time.Second) / rate)
}
