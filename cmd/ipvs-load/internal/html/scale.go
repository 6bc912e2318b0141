package html

import "math"

// scale maps values to pixels: from becomes low, to becomes high, and what lies beyond is drawn at the edge.
type scale struct {
	from, to    float64
	low, high   float64
	logarithmic bool
}

func (s scale) at(v float64) float64 {
	from, to := s.from, s.to
	if s.logarithmic {
		v, from, to = math.Log10(v), math.Log10(from), math.Log10(to)
	}
	part := (v - from) / (to - from)
	if !(part > 0) { // NaN too
		part = 0
	}
	return s.low + min(part, 1)*(s.high-s.low)
}

// tick is a mark on an axis.
type tick struct {
	value float64
	label string
}

// linearTicks are the multiples of 1, 2 or 5 times a power of ten from 0 to to, at most n steps.
func linearTicks(to float64, n int, label func(float64) string) []tick {
	return multiples(to, niceStep(to/float64(n)), label)
}

// niceStep is the least 1, 2 or 5 times a power of ten that is at least v.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// niceFloor is the greatest 1, 2 or 5 times a power of ten that is at most v.
func niceFloor(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{5, 2} {
		if m*power <= v*(1+1e-9) {
			return m * power
		}
	}
	return power
}

// clockSteps are the steps that people count time in, in seconds.
var clockSteps = []float64{60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400}

// clockTicks are for a time axis from 0 to to seconds, at most n steps.
func clockTicks(to float64, n int, label func(float64) string) []tick {
	step := niceStep(to / float64(n))
	if step > 30 {
		for _, s := range clockSteps {
			if s*float64(n) >= to {
				step = s
				break
			}
		}
	}
	return multiples(to, step, label)
}

// maxTicks is a bound that only values beyond all reason meet.
const maxTicks = 100

func multiples(to, step float64, label func(float64) string) []tick {
	var all []tick
	for i := 0; i < maxTicks && float64(i)*step <= to*(1+1e-9); i++ {
		all = append(all, tick{float64(i) * step, label(float64(i) * step)})
	}
	return all
}

// logarithmicTicks are the 1, 2 and 5 times each power of ten, fewer when there are many powers.
func logarithmicTicks(from, to float64, n int, label func(float64) string) []tick {
	for _, multiples := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
		var all []tick
		for power := math.Floor(math.Log10(from)); power <= math.Log10(to) && len(all) < maxTicks; power++ {
			for _, m := range multiples {
				if v := m * math.Pow(10, power); v >= from*(1-1e-9) && v <= to*(1+1e-9) {
					all = append(all, tick{v, label(v)})
				}
			}
		}
		if len(all) <= n || len(multiples) == 1 {
			return all
		}
	}
	return nil
}

// around widens low to high to the next 1, 2 or 5 times a power of ten, at which an axis can end. It bears anything:
// without a usable value the axis is a decade.
func around(low, high float64) (from, to float64) {
	if !(low > 0) || math.IsInf(low, 0) {
		low = 1
	}
	if !(high >= low) || math.IsInf(high, 0) {
		high = low
	}
	from, to = niceFloor(low), niceStep(high)
	if to <= from {
		to = from * 10
	}
	return from, to
}
