package harness

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// values are n of them, from a function of their place.
func values(n int, at func(i int) float64) (all []float64) {
	for i := range n {
		all = append(all, at(i))
	}
	return all
}

func TestTrends(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	noise := func() float64 { return 6*r.Float64() - 3 }
	beyond := func(is bool, v float64) float64 {
		if is {
			return v
		}
		return 100
	}
	for _, c := range []struct {
		name  string
		at    func(i int) float64
		rises bool
	}{
		{"level", func(int) float64 { return 100 }, false},
		{"falling", func(i int) float64 { return 100 - float64(i) }, false},
		{"noisy", func(int) float64 { return 100 + noise() }, false},
		{"rising by less than the tolerance", func(i int) float64 { return 100 + float64(i)/60*4 }, false},
		{"rising by twice the tolerance", func(i int) float64 { return 100 + float64(i)/60*10 }, true},
		{"rising by four times that, with noise", func(i int) float64 { return 100 + float64(i)/60*20 + noise() }, true},
		{"a saw's teeth", func(i int) float64 { return 100 + 3*float64(i%10) }, false},
		{"one value far out", func(i int) float64 { return beyond(i == 55, 1000) }, false},
		{"a step up in the middle", func(i int) float64 { return beyond(i >= 30, 120) }, true},
		{"a step up that was taken back", func(i int) float64 { return beyond(i >= 20 && i < 40, 120) }, false},
	} {
		if got := (Trend{Tolerance: 5, Values: values(60, c.at)}).Rises(); got != c.rises {
			t.Errorf("%s: rises %v, want %v", c.name, got, c.rises)
		}
	}
	line, medians := Trend{Values: values(61, func(i int) float64 { return 2 * float64(i) })}.Rise()
	if math.Abs(line-120) > 1e-9 || medians != 2*(53-7) {
		t.Errorf("a straight line from 0 to 120 rises by %v, its quarters by %v; want 120 and 92", line, medians)
	}
	for _, few := range [][]float64{nil, {1}} {
		if (Trend{Values: few}).Rises() {
			t.Errorf("%v rises", few)
		}
	}
	row := Trend{Name: "handles", Values: []float64{1, 2, 3, 4}, Tolerance: 1}.Row()
	if !strings.HasPrefix(row, "| handles |") || !strings.Contains(row, "RISES") {
		t.Error(row)
	}
}
