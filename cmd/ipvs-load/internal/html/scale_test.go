package html

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func labels(ticks []tick) []string {
	var all []string
	for _, t := range ticks {
		all = append(all, t.label)
	}
	return all
}

func TestTicks(t *testing.T) {
	for name, tc := range map[string]struct {
		ticks []tick
		want  []string
	}{
		"rates":                        {linearTicks(540, 5, digits), []string{"0", "200", "400"}},
		"rates that are whole steps":   {linearTicks(500, 5, digits), []string{"0", "100", "200", "300", "400", "500"}},
		"shares":                       {linearTicks(0.51, 8, func(v float64) string { return digits(100*v) + " %" }), []string{"0 %", "10 %", "20 %", "30 %", "40 %", "50 %"}},
		"ten seconds":                  {clockTicks(10, 5, seconds), []string{"0 s", "2 s", "4 s", "6 s", "8 s", "10 s"}},
		"a quarter of a second":        {clockTicks(0.25, 5, seconds), []string{"0 s", "0.05 s", "0.1 s", "0.15 s", "0.2 s", "0.25 s"}},
		"ten minutes":                  {clockTicks(600, 5, seconds), []string{"0 s", "2 min", "4 min", "6 min", "8 min", "10 min"}},
		"a day":                        {clockTicks(86_400, 5, seconds), []string{"0 s", "6 h", "12 h", "18 h", "24 h"}},
		"latencies within two decades": {logarithmicTicks(100, 5000, 9, duration), []string{"100 µs", "200 µs", "500 µs", "1 ms", "2 ms", "5 ms"}},
		"latencies over five decades":  {logarithmicTicks(100, 1e7, 9, duration), []string{"100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"}},
		"percentiles of 5000 requests": {percentileTicks(5000), []string{"0 %", "50", "90", "99", "99.9"}},
		"percentiles of ten million":   {percentileTicks(1e7), []string{"0 %", "50", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999"}},
	} {
		if d := cmp.Diff(tc.want, labels(tc.ticks)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestAScaleMapsItsEndsAndKeepsWithinThem(t *testing.T) {
	linear := scale{from: 0, to: 10, low: 100, high: 300}
	logarithmic := scale{from: 1, to: 1000, low: 400, high: 100, logarithmic: true}
	for _, tc := range []struct {
		name string
		s    scale
		v    float64
		want float64
	}{
		{"the beginning", linear, 0, 100},
		{"the middle", linear, 5, 200},
		{"the end", linear, 10, 300},
		{"below", linear, -3, 100},
		{"above", linear, 11, 300},
		{"infinity", linear, math.Inf(1), 300},
		{"not a number", linear, math.NaN(), 100},
		{"upwards, the first decade", logarithmic, 10, 300},
		{"upwards, the end", logarithmic, 1000, 100},
		{"zero, which has no logarithm", logarithmic, 0, 400},
		{"a negative number, which has none either", logarithmic, -1, 400},
		{"no length", scale{low: 100, high: 300}, 0, 100},
	} {
		if got := tc.s.at(tc.v); math.Abs(got-tc.want) > 1e-9 {
			t.Errorf("%s: %v is at %v, want %v", tc.name, tc.v, got, tc.want)
		}
	}
}

func TestAnAxisEndsAtRoundNumbersAroundWhatItShows(t *testing.T) {
	for _, tc := range []struct{ low, high, from, to float64 }{
		{120, 3400, 100, 5000},
		{100, 5000, 100, 5000},
		{450, 450, 200, 500},
		{300, 301, 200, 500},
		{1, 1, 1, 10},
		{0, 0, 1, 10},
		{math.Inf(1), 0, 1, 10},
		{math.NaN(), math.Inf(1), 1, 10},
	} {
		if from, to := around(tc.low, tc.high); math.Abs(from-tc.from) > 1e-9*tc.from || math.Abs(to-tc.to) > 1e-9*tc.to {
			t.Errorf("around %v to %v: from %v to %v, want %v to %v", tc.low, tc.high, from, to, tc.from, tc.to)
		}
	}
}

func TestUnits(t *testing.T) {
	for got, want := range map[string]string{
		duration(0): "0 µs", duration(4.567): "4.57 µs", duration(999.4): "999 µs", duration(999.6): "1 ms",
		duration(54_321):  "54.3 ms",
		duration(999_499): "999 ms", duration(5e6): "5 s", duration(1.7e11): "170,000 s",
		count(0): "0", count(999): "999", count(1000): "1,000", count(-1234567): "−1,234,567",
		rate(0): "0/s", rate(0.25): "0.25/s", rate(12.5): "12.5/s", rate(499.96): "500/s", rate(12_345.6): "12,346/s",
		seconds(0): "0 s", seconds(0.3): "0.3 s", seconds(59.94): "59.94 s", seconds(60): "1 min", seconds(90): "1:30 min",
		seconds(61.5): "61.5 s", seconds(5400): "1:30 h", seconds(7200): "2 h",
		percent(0.12345): "12.35 %", plural(1, "error"): "1 error", plural(1234, "error"): "1,234 errors",
		shorten("web-1", 10): "web-1", shorten("web-7d9c6b5f4-x2kfj", 10): "web-…x2kfj", shorten("äöüäöüäöüäöü", 5): "äö…öü",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
