package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Median of the values, NaN without any.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// Percentile is the smallest of the values that at least p percent of them do not exceed (nearest rank); NaN without
// any.
func Percentile(values []float64, p int) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	return s[max((len(s)*p+99)/100-1, 0)]
}

// MannWhitney is the probability, from both sides, that two sets of values of one distribution are at least so far
// apart in rank (Mann and Whitney 1947). It is exact without ties for up to 20 values a side. Otherwise it is the
// normal approximation with the correction for ties and continuity.
//
// It is our own: gonum, which the rest comes from, has no test by ranks. No module that has one is maintained.
func MannWhitney(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 1
	}
	u, ties := 0.0, map[float64]float64{}
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				u++
			case x == y:
				u += 0.5
			}
		}
	}
	for _, x := range slices.Concat(a, b) {
		ties[x]++
	}
	m, n := float64(len(a)), float64(len(b))
	u = min(u, m*n-u)
	if len(ties) == len(a)+len(b) && len(a) <= 20 && len(b) <= 20 {
		return min(2*exactBelow(len(a), len(b), int(u)), 1)
	}
	correction := 0.0
	for _, t := range ties {
		correction += t*t*t - t
	}
	variance := m * n / 12 * (m + n + 1 - correction/((m+n)*(m+n-1)))
	if variance <= 0 {
		return 1 // all are the same
	}
	z := max(m*n/2-u-0.5, 0) / math.Sqrt(variance)
	return math.Erfc(z / math.Sqrt2)
}

// exactBelow is the probability that U of m and n values is at most u: the number of orders with that U, by the
// recursion over which side has the largest value, over all orders.
func exactBelow(m, n, u int) float64 {
	// ways[j][k] for the present i: the orders of i and j values with U = k.
	ways := make([][]float64, n+1)
	for j := range ways {
		ways[j] = make([]float64, m*n+1)
		ways[j][0] = 1
	}
	for i := 1; i <= m; i++ {
		next := make([][]float64, n+1)
		for j := range next {
			next[j] = make([]float64, m*n+1)
			for k := range next[j] {
				if k >= j { // the largest of i: it is above all j
					next[j][k] += ways[j][k-j]
				}
				if j > 0 {
					next[j][k] += next[j-1][k]
				}
			}
		}
		ways = next
	}
	var below, all float64
	for k, w := range ways[n] {
		all += w
		if k <= u {
			below += w
		}
	}
	return below / all
}

// Ratio is how b stands to a.
type Ratio struct {
	Estimate  float64 // median of b over median of a
	Low, High float64 // confidence interval of 95 percent, by the percentile bootstrap
}

// resamples of the bootstrap: the bounds of the interval are the 50th from both ends.
const resamples = 2000

// RatioOfMedians compares two sets of positive values. The resamples are drawn with a fixed seed: the same values give
// the same interval.
func RatioOfMedians(a, b []float64) Ratio {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(from []float64) float64 {
		to := make([]float64, len(from))
		for i := range to {
			to[i] = from[random.IntN(len(from))]
		}
		return Median(to)
	}
	r := Ratio{Estimate: Median(b) / Median(a)}
	all := make([]float64, resamples)
	for i := range all {
		all[i] = draw(b) / draw(a)
	}
	slices.Sort(all)
	r.Low, r.High = all[resamples*25/1000], all[resamples*975/1000-1]
	return r
}
