package account

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Range of a Distribution. 64 ns is the unit that the histogram makes of lowest (it rounds down to a power of two):
// below 131 µs values are exact to 64 ns, above to three significant digits. A longer value than highest is counted as
// highest; its exact value still shows as the maximum.
const (
	lowest  = 100 * time.Nanosecond
	highest = 48 * time.Hour
	digits  = 3
)

// Distribution is a histogram of times, with exact extremes beside it.
type Distribution struct {
	histogram *hdrhistogram.Histogram
	min, max  time.Duration
}

// NewDistribution returns an empty one. It takes about a quarter of a megabyte, of which only the touched part is ever
// in a cache.
func NewDistribution() *Distribution {
	return &Distribution{histogram: hdrhistogram.New(int64(lowest), int64(highest), digits)}
}

// Record adds one time. A negative one, which only a clock that steps back could make, counts as 0.
func (d *Distribution) Record(v time.Duration) {
	v = max(v, 0)
	if d.Count() == 0 || v < d.min {
		d.min = v
	}
	d.max = max(d.max, v)
	if d.histogram.RecordValue(int64(v)) != nil {
		// The only error is a value out of range.
		_ = d.histogram.RecordValue(int64(highest))
	}
}

// Merge adds everything that o holds.
func (d *Distribution) Merge(o *Distribution) {
	if o.Count() == 0 {
		return
	}
	if d.Count() == 0 || o.min < d.min {
		d.min = o.min
	}
	d.max = max(d.max, o.max)
	d.histogram.Merge(o.histogram)
}

// Reset empties d, for use again.
func (d *Distribution) Reset() {
	d.histogram.Reset()
	d.min, d.max = 0, 0
}

// Count is the number of recorded times.
func (d *Distribution) Count() int64 { return d.histogram.TotalCount() }

// Percentile is the smallest time that at least p percent of the recorded ones do not exceed, to the histogram's
// resolution and never beyond the extremes; 0 when nothing was recorded.
func (d *Distribution) Percentile(p float64) time.Duration {
	if d.Count() == 0 {
		return 0
	}
	return min(max(time.Duration(d.histogram.ValueAtQuantile(p)), d.min), d.max)
}

// Mean is the average, 0 when nothing was recorded.
func (d *Distribution) Mean() time.Duration {
	if d.Count() == 0 {
		return 0
	}
	return min(max(time.Duration(d.histogram.Mean()), d.min), d.max)
}

// Min is the exact smallest time, 0 when nothing was recorded.
func (d *Distribution) Min() time.Duration { return d.min }

// Max is the exact largest time, 0 when nothing was recorded.
func (d *Distribution) Max() time.Duration { return d.max }

// Quantile is a point of a distribution: Percentile percent of the recorded times do not exceed Value.
type Quantile struct {
	Percentile float64
	Value      time.Duration
}

// spectrumSteps is how many points there are each time that the distance to 100 % halves.
const spectrumSteps = 8

// Spectrum is the distribution as points that lie the denser the nearer they are to 100 %, from the minimum on; the
// last is the maximum. There are no points between the last percentile that the count can distinguish from 100 % and
// 100 %.
func (d *Distribution) Spectrum() []Quantile {
	if d.Count() == 0 {
		return nil
	}
	points := []Quantile{{0, d.min}}
	for i := 1; ; i++ {
		rest := math.Exp2(-float64(i) / spectrumSteps)
		if rest*float64(d.Count()) < 1 {
			return append(points, Quantile{100, d.max})
		}
		p := 100 * (1 - rest)
		points = append(points, Quantile{p, d.Percentile(p)})
	}
}
