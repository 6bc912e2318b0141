package compare

import (
	"math"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/stats"
)

// metric is something that runs are compared by.
type metric struct {
	name, unit string
	more       bool    // more is better
	tail       float64 // how much more of a difference it takes than at the median, because a tail varies more
	of         func(r *report.Report) float64
	late       func(r *report.Report) float64   // what the client's own lateness may add; nil for nothing
	series     func(r *report.Report) []float64 // by buckets of time; nil when there is no such series
}

var metrics = []metric{
	{
		name: "latency p50", unit: "us", tail: 1, of: func(r *report.Report) float64 { return r.Latency.P50 },
		late:   func(r *report.Report) float64 { return r.SelfCheck.WakeLate.P50 },
		series: func(r *report.Report) []float64 { return r.Series.P50 },
	},
	{
		name: "latency p99", unit: "us", tail: 3, of: func(r *report.Report) float64 { return r.Latency.P99 },
		late:   func(r *report.Report) float64 { return r.SelfCheck.WakeLate.P99 },
		series: func(r *report.Report) []float64 { return r.Series.P99 },
	},
	{
		name: "achieved rate", unit: "/s", more: true, tail: 1, of: func(r *report.Report) float64 { return r.Rate.Achieved },
		series: func(r *report.Report) []float64 { return floats(r.Series.Answered, 1/r.Series.Width) },
	},
	{
		name: "throughput", unit: "bit/s", more: true, tail: 3, of: func(r *report.Report) float64 {
			if r.Throughput == nil {
				return math.NaN()
			}
			return r.Throughput.BitsPerSecond
		},
		series: func(r *report.Report) []float64 { return floats(r.Series.Bytes, 8/r.Series.Width) },
	},
}

func floats(values []int64, factor float64) []float64 {
	var all []float64
	for _, v := range values {
		all = append(all, float64(v)*factor)
	}
	return all
}

// minRounds is the number of rounds on both sides from which they are compared as they are: 5 against 5 can be
// significant at 1 percent (1 of 126 orders).
const minRounds = 5

// blocks is how many parts runs are cut into when there are too few rounds.
const blocks = 10

// sample is what a side has measured of a metric.
type sample struct {
	values []float64
	drift  float64 // of values that are blocks: how far the halves of a run lie apart
}

func (m *metric) sample(rounds []*report.Report, byBlocks bool) sample {
	var s sample
	for _, r := range rounds {
		if !byBlocks {
			s.values = append(s.values, m.of(r))
			continue
		}
		parts := cut(within(r, m.series(r)))
		s.values = append(s.values, parts...)
		if n := len(parts); n > 1 {
			s.drift = max(s.drift, math.Abs(stats.Median(parts[:n/2])-stats.Median(parts[n/2:])))
		}
	}
	return s
}

// within drops the buckets behind the window, in which only the last answers came. It drops the last one of the window,
// too, which may be half.
func within(r *report.Report, series []float64) []float64 {
	if r.Series.Width <= 0 {
		return nil
	}
	n := int(math.Round(r.Rate.Window / r.Series.Width))
	return series[:max(min(n-1, len(series)), 0)]
}

// cut makes blocks out of buckets: the median of each. Neighbouring buckets are alike, so they are no independent
// measurements; blocks are less so.
func cut(series []float64) []float64 {
	var all []float64
	n := min(blocks, len(series))
	for i := range n {
		all = append(all, stats.Median(series[i*len(series)/n:(i+1)*len(series)/n]))
	}
	return slices.DeleteFunc(all, math.IsNaN)
}
