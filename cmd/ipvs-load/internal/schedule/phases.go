package schedule

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"
)

// MaxPhases bounds the phases of a plan.
const MaxPhases = 1000

// Phase is a part of the window in which the rate goes evenly from From to To, in starts per second over all workers.
// Equal rates make a step, different ones a ramp. One of the two may be 0.
type Phase struct {
	From, To float64
	Length   time.Duration
}

// String gives the form that ParsePhases reads.
func (p Phase) String() string {
	if p.From == p.To {
		return fmt.Sprintf("%v:%v", p.From, p.Length)
	}
	return fmt.Sprintf("%v..%v:%v", p.From, p.To, p.Length)
}

// ParsePhases reads phases separated by commas, each a rate or FROM..TO, a colon and its length:
// "100:10s,100..1000:1m,1000:10s".
func ParsePhases(s string) ([]Phase, error) {
	var all []Phase
	for text := range strings.SplitSeq(s, ",") {
		p, err := parsePhase(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("phase %q of the rate: %w", text, err)
		}
		all = append(all, p)
	}
	return all, validatePhases(all)
}

func parsePhase(s string) (Phase, error) {
	rate, length, found := strings.Cut(s, ":")
	if !found {
		return Phase{}, errors.New("it has no length; write RATE:LENGTH or FROM..TO:LENGTH, such as 100:10s or 100..1000:1m")
	}
	from, to, ramp := strings.Cut(rate, "..")
	if !ramp {
		to = from
	}
	var p Phase
	var err error
	if p.From, err = strconv.ParseFloat(from, 64); err == nil {
		p.To, err = strconv.ParseFloat(to, 64)
	}
	if err != nil {
		return Phase{}, fmt.Errorf("%q is not a rate; write a number of requests per second, or two with .. between them", rate)
	}
	if p.Length, err = time.ParseDuration(length); err != nil {
		return Phase{}, fmt.Errorf("%q is not a length of time, such as 10s or 1m", length)
	}
	return p, nil
}

func validatePhases(all []Phase) error {
	if len(all) > MaxPhases {
		return fmt.Errorf("%d phases of the rate are too many; allowed are %d", len(all), MaxPhases)
	}
	for _, p := range all {
		switch {
		case !(p.From >= 0) || !(p.To >= 0) || max(p.From, p.To) > MaxRate || p.From+p.To == 0:
			return fmt.Errorf("phase %s: its rates are out of range; allowed is 0 to %d requests per second, and not 0 at both ends", p, MaxRate)
		case p.Length <= 0 || p.Length > MaxLength:
			return fmt.Errorf("phase %s: its length is out of range; allowed is more than 0 and at most %v", p, MaxLength)
		}
	}
	return nil
}

func phasesLength(all []Phase) time.Duration {
	var sum time.Duration
	for _, p := range all {
		sum += p.Length
	}
	return sum
}

// peak is the highest rate of a plan.
func (p Plan) peak() float64 {
	peak := p.Rate
	for _, x := range p.Phases {
		peak = max(peak, x.From, x.To)
	}
	return peak
}

// Peak is the highest rate of the plan, in starts per second over all workers.
func (p Plan) Peak() float64 { return p.peak() }

// profile maps a number of starts to the time at which that many are expected: the inverse of the integral of the rate.
// For constant arrivals the number is the start's own. For random ones a Poisson process of rate 1 is mapped, and
// becomes a Poisson process of the changing rate (the time-change theorem).
type profile []piece

type piece struct {
	at       time.Duration // where it begins
	before   float64       // starts expected before it
	from, to float64       // starts per second
	length   float64       // seconds; the last piece goes on at its last rate for ever
}

func (p Plan) profile() profile {
	if len(p.Phases) == 0 {
		return profile{{from: p.Rate, to: p.Rate, length: math.Inf(1)}}
	}
	all := profile{}
	add := func(from, to float64, length time.Duration) {
		next := piece{from: from, to: to, length: length.Seconds()}
		if n := len(all); n > 0 {
			last := all[n-1]
			next.at = last.at + time.Duration(last.length*float64(time.Second))
			next.before = last.before + (last.from+last.to)/2*last.length
		}
		all = append(all, next)
	}
	if p.Warmup > 0 && p.Phases[0].From > 0 {
		add(p.Phases[0].From, p.Phases[0].From, p.Warmup)
	}
	for _, x := range p.Phases {
		add(x.From, x.To, x.Length)
	}
	if p.Warmup > 0 && p.Phases[0].From == 0 {
		// A ramp from 0 has no rate to warm up at: it only begins later.
		for i := range all {
			all[i].at += p.Warmup
		}
	}
	return all
}

// never is later than every plan.
const never = time.Duration(math.MaxInt64)

// offset is when n starts are expected to have been made.
func (p profile) offset(n float64) time.Duration {
	// The last piece that begins at or before n.
	i := sort.Search(len(p), func(i int) bool { return p[i].before > n }) - 1
	x := p[max(i, 0)]
	n -= x.before
	if x.from == x.to {
		return x.at + offset(n, x.from)
	}
	if n <= 0 {
		return x.at
	}
	// n = from*t + slope*t^2/2, solved in the form that loses no digits and bears a rate of 0 at either end.
	slope := (x.to - x.from) / x.length
	root := math.Sqrt(max(x.from*x.from+2*slope*n, 0))
	t := 2 * n / (x.from + root)
	if t >= x.length && i == len(p)-1 {
		return never // a rate that has gone down to 0 starts nothing more
	}
	return x.at + time.Duration(t*float64(time.Second))
}
