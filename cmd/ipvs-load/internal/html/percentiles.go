package html

import (
	"fmt"
	"math"
	"strconv"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

// curve is a distribution to draw.
type curve struct {
	class  string
	name   string
	points []report.Quantile
	count  int64
	dots   []report.Quantile // points to point at
}

// newCurve draws the spectrum or, of a report that has none, the few percentiles that it has.
func newCurve(class, name string, spectrum []report.Quantile, d report.Percentiles) curve {
	c := curve{class: class, name: name, points: spectrum, count: d.Count}
	if d.Count == 0 {
		return c
	}
	c.dots = []report.Quantile{{Percentile: 50, Time: d.P50}, {Percentile: 90, Time: d.P90}, {Percentile: 99, Time: d.P99},
		{Percentile: 99.9, Time: d.P999}, {Percentile: 100, Time: d.Max}}
	if len(spectrum) == 0 {
		c.points = append([]report.Quantile{{Percentile: 0, Time: d.Min}}, c.dots...)
	}
	return c
}

// nines is where a percentile lies: how many nines it has, the base-10 logarithm of 1/(1-p). The maximum of n requests
// is drawn where one in n lies.
func nines(percentile float64, n int64) float64 {
	most := math.Log10(float64(max(n, 10)))
	if percentile >= 100 {
		return most
	}
	return min(max(-math.Log10(1-percentile/100), 0), most)
}

// percentilePlot draws curves over the percentiles, the last ones finest, and the jitter of the client below which they
// mean nothing. Jitter 0 is not drawn.
func percentilePlot(label string, curves []curve, jitter float64) func(width px) *plot {
	low, high, n := math.Inf(1), 0.0, int64(10)
	for _, c := range curves {
		n = max(n, c.count)
		for _, q := range c.points {
			if q.Time > 0 {
				low = min(low, q.Time)
			}
			high = max(high, q.Time)
		}
	}
	if jitter > 0 {
		low, high = min(low, jitter), max(high, jitter)
	}
	return func(width px) *plot {
		p := newPlot(width, label)
		p.Height = 320
		a := area{left: 58, top: 12, right: width - 14, bottom: p.Height - 44}
		from, to := around(low, high)
		y := scale{from: from, to: to, low: float64(a.bottom), high: float64(a.top), logarithmic: true}
		x := scale{from: 0, to: nines(100, n), low: float64(a.left), high: float64(a.right)}
		p.axisLeft(a, y, logarithmicTicks(from, to, 13, duration))
		p.axisBelow(a, x, percentileTicks(n))
		p.text("axis middle", (a.left+a.right)/2, p.Height-6, "percentile of the requests")
		if jitter > 0 {
			at := px(y.at(jitter))
			p.line("jitter", a.left, at, a.right, at)
			above := at - 5
			if above < a.top+10 {
				above = at + 14
			}
			p.text("note end", a.right-4, above, "client's jitter "+duration(jitter))
		}
		for _, c := range curves {
			p.curve(c, x, y)
		}
		return p
	}
}

func (p *plot) curve(c curve, x, y scale) {
	var l line
	for i, q := range c.points {
		at := px(x.at(nines(q.Percentile, c.count)))
		if i == 0 {
			l.move(at, px(y.at(q.Time)))
		} else {
			l.to(at, px(y.at(q.Time)))
		}
	}
	p.path("line "+c.class, &l)
	for _, q := range c.dots {
		name := "p" + strconv.FormatFloat(q.Percentile, 'f', -1, 64)
		if q.Percentile == 100 {
			name = "maximum"
		}
		p.dot("dot "+c.class, px(x.at(nines(q.Percentile, c.count))), px(y.at(q.Time)), fmt.Sprintf("%s, %s: %s",
			c.name, name, duration(q.Time)))
	}
}

// percentileTicks are 0, 50, 90, 99 and so on, as far as that many requests reach.
func percentileTicks(n int64) []tick {
	ticks := []tick{{0, "0 %"}, {nines(50, n), "50"}}
	for k := 1; float64(k) <= nines(100, n)+1e-9; k++ {
		label := strconv.FormatFloat(100-math.Pow(10, float64(2-k)), 'f', max(k-2, 0), 64)
		ticks = append(ticks, tick{float64(k), label})
	}
	return ticks
}
