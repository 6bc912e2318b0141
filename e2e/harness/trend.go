package harness

import (
	"cmp"
	"fmt"
	"slices"
)

// Trend is something that was measured at even intervals, and by how much it may rise from the beginning to the end.
type Trend struct {
	Name      string
	Unit      string
	Tolerance float64
	Values    []float64
}

// Rise is how much the values rise from the beginning to the end: by the straight line that fits them best, and from
// the median of their first quarter to that of their last.
func (t Trend) Rise() (line, medians float64) {
	n := len(t.Values)
	if n < 2 {
		return 0, 0
	}
	middle, mean := float64(n-1)/2, 0.0
	for _, v := range t.Values {
		mean += v / float64(n)
	}
	var covariance, variance float64
	for i, v := range t.Values {
		x := float64(i) - middle
		covariance += x * (v - mean)
		variance += x * x
	}
	quarter := max(n/4, 1)
	return covariance / variance * float64(n-1), median(t.Values[n-quarter:]) - median(t.Values[:quarter])
}

// Rises reports whether both ways to look at it see more than the tolerance: a line alone is bent by one value far out,
// and medians alone by noise that comes in waves.
func (t Trend) Rises() bool {
	line, medians := t.Rise()
	return line > t.Tolerance && medians > t.Tolerance
}

// Row is the trend as a row of a table: the smallest, the median and the largest value, the rises and the tolerance.
func (t Trend) Row() string {
	if len(t.Values) == 0 {
		return fmt.Sprintf("| %s | | | | | | | nothing was measured |", t.Name)
	}
	line, medians := t.Rise()
	verdict := "no rise"
	if t.Rises() {
		verdict = "RISES"
	}
	f := func(v float64) string { return fmt.Sprintf("%.6g", v) }
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %+.4g | %+.4g | %s | %s |", t.Name, t.Unit,
		f(slices.Min(t.Values)), f(median(t.Values)), f(slices.Max(t.Values)), line, medians, f(t.Tolerance), verdict)
}

// TrendHead is the head of the table of trends.
const TrendHead = "| series | unit | least | median | most | rise (line) | rise (medians) | tolerance | verdict |\n" +
	"|---|---|---|---|---|---|---|---|---|"

func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
