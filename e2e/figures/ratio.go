package figures

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// resamples of a bootstrap, with a seed of their own: the same rounds give the same interval.
const resamples = 10_000

// Ratio is that of two medians, with the interval that holds it in 95 of 100 resamplings.
type Ratio struct {
	Value, Low, High float64
	Rounds           int // that it was drawn from
}

// Paired is the ratio of the medians of a and b, whose rounds took turns. Whole rounds are drawn, so that what slows a
// round down for both cancels out. It is false when there is no round of both, and when b was 0 in one: a draw of such
// rounds alone has no ratio.
func Paired(a, b []float64) (Ratio, bool) {
	n := min(len(a), len(b))
	if n == 0 || slices.Contains(b[:n], 0) {
		return Ratio{}, false
	}
	x, y := make([]float64, n), make([]float64, n)
	return bootstrap(n, Median(a[:n])/Median(b[:n]), func(random *rand.Rand) float64 {
		for i := range n {
			j := random.IntN(n)
			x[i], y[i] = a[j], b[j]
		}
		return Median(x) / Median(y)
	}), true
}

func bootstrap(rounds int, value float64, again func(*rand.Rand) float64) Ratio {
	random := rand.New(rand.NewPCG(1, 2))
	drawn := make([]float64, resamples)
	for i := range drawn {
		drawn[i] = again(random)
	}
	slices.Sort(drawn)
	return Ratio{Value: value, Low: drawn[resamples*25/1000], High: drawn[resamples*975/1000-1], Rounds: rounds}
}

// Text writes the ratio and its interval, where there is more than one round to compute it from.
func (r Ratio) Text() string {
	if r.Rounds == 1 {
		return fmt.Sprintf("%.2f", r.Value)
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", r.Value, r.Low, r.High)
}

// Verdict compares the ratio with what it should at least be. An interval on both sides of that decides nothing.
func (r Ratio) Verdict(least float64) string {
	switch {
	case r.Low >= least:
		return "reached"
	case r.High < least:
		return "missed"
	case r.Value >= least:
		return fmt.Sprintf("undecided: %.2f, not below %v, but the interval begins at %.2f", r.Value, least, r.Low)
	}
	return fmt.Sprintf("undecided: %.2f, below %v, but the interval reaches %.2f", r.Value, least, r.High)
}

// Median returns the median, and 0 of nothing.
func Median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	if n == 0 {
		return 0
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}
