package html

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

// Heights of the panels of the time series, which lie one above the other over the same time.
const (
	ratePanel    = 130
	latencyPanel = 150
	errorPanel   = 100
	betweenPanel = 34
)

// timePlot draws a run over time: what was answered, how long it took, what went wrong, and what was done meanwhile.
type timePlot struct {
	report *report.Report
	end    float64 // of the time axis, in seconds
	kinds  []string

	*plot
	time scale
	area area // of the panel that is drawn
}

// panel is one of the drawings that share the time.
type panel struct {
	title  string
	height px
	draw   func()
}

func newTimePlot(r *report.Report) timePlot {
	t := timePlot{
		report: r, end: max(r.Rate.Window, float64(len(r.Series.Answered))*r.Series.Width), kinds: byKind(r.Series.Errors),
	}
	for _, e := range r.Events {
		t.end = max(t.end, e.At)
	}
	return t
}

// streams says whether bytes were counted, as mode stream does, and not requests.
func (t *timePlot) streams() bool {
	return len(t.report.Series.Bytes) > 0 && len(t.report.Series.Bytes) == len(t.report.Series.Answered)
}

func (t *timePlot) panels() []panel {
	all := []panel{{"answered per second", ratePanel, t.rate}, {"latency", latencyPanel, t.latency}}
	if t.streams() {
		all = []panel{{"bits per second", ratePanel, t.throughput}}
	}
	if len(t.kinds) > 0 {
		all = append(all, panel{"errors per second", errorPanel, t.errors})
	}
	return all
}

func (t *timePlot) legend() []legendEntry {
	all := []legendEntry{{"line c0", "answered; p50"}, {"line c1", "p99"}}
	if t.streams() {
		all = []legendEntry{{"line c0", t.report.Settings.Direction}}
	} else if t.open() {
		all = append(all, legendEntry{"offered", "offered"})
	}
	for _, k := range t.kinds {
		all = append(all, legendEntry{kindClass(k), k})
	}
	if len(t.report.Events) > 0 {
		all = append(all, legendEntry{"event", "event"})
	}
	return all
}

// open says whether there is a rate that was offered, and not one that the answers set.
func (t *timePlot) open() bool { return t.report.Settings.Loop != report.Loop(true) }

func (t timePlot) draw(width px) *plot {
	t.plot = newPlot(width, "Rate of answers, latency and errors over time")
	t.time = scale{to: t.end, low: 58, high: float64(width - 14)}
	panels := t.panels()
	rows := t.placeEvents()
	top := px(22 + 16*rows.count)
	bottom := top - betweenPanel
	for _, p := range panels {
		bottom += p.height + betweenPanel
	}
	t.Height = bottom + 44
	ticks := clockTicks(t.end, int(width)/75, seconds)
	t.area = area{left: 58, right: width - 14, top: top}
	for _, p := range panels {
		t.area.bottom = t.area.top + p.height
		t.grid(t.area, t.time, ticks)
		p.draw()
		t.area.top = t.area.bottom + betweenPanel
	}
	t.eventLines(rows, bottom)
	// Texts come last, because lines would cross them.
	for y := top - 7; len(panels) > 0; panels = panels[1:] {
		t.text("panel", t.area.left, y, panels[0].title)
		y += panels[0].height + betweenPanel
	}
	t.labelsBelow(t.area, t.time, ticks)
	t.text("axis middle", (t.area.left+t.area.right)/2, t.Height-6, "time since the beginning of the window")
	t.window(top, bottom)
	if width == wide { // a finger does not rest on a bucket
		t.buckets(top, bottom)
	}
	t.eventNames(rows)
	return t.plot
}

func (t *timePlot) x(at float64) px { return px(t.time.at(at)) }

// vertical is the axis of a panel.
func (t *timePlot) vertical(s scale) scale {
	s.low, s.high = float64(t.area.bottom), float64(t.area.top)
	return s
}

func (t *timePlot) rate() {
	rates := t.perSecond(t.report.Series.Answered, 1)
	offered := t.offered()
	y := t.levels(rates, digits, offered...)
	var l line
	for i, o := range offered {
		if i == 0 {
			l.move(t.x(o.at), px(y.at(o.rate)))
		} else {
			l.to(t.x(o.at), px(y.at(o.rate)))
		}
	}
	t.path("offered", &l)
	t.path("line thin c0", t.steps(rates, y))
}

func (t *timePlot) throughput() {
	rates := t.perSecond(t.report.Series.Bytes, 8)
	y := t.levels(rates, func(v float64) string { return strings.TrimSuffix(report.BitRate(v), "bit/s") })
	t.path("line thin c0", t.steps(rates, y))
}

// perSecond leaves out what came after the window, which belongs to no rate. The last bucket may reach beyond the
// window.
func (t *timePlot) perSecond(counts []int64, weight float64) []float64 {
	var rates []float64
	for i, n := range counts {
		length := min(t.report.Series.Width, t.report.Rate.Window-float64(i)*t.report.Series.Width)
		if length < t.report.Series.Width/1000 {
			break
		}
		rates = append(rates, weight*float64(n)/length)
	}
	return rates
}

// offer is the rate that was offered at a moment, in seconds; it goes evenly from one to the next.
type offer struct{ at, rate float64 }

func (t *timePlot) offered() []offer {
	switch {
	case !t.open():
		return nil
	case len(t.report.Phases) == 0:
		return []offer{{0, t.report.Rate.Offered}, {t.report.Rate.Window, t.report.Rate.Offered}}
	}
	var all []offer
	for _, p := range t.report.Phases {
		all = append(all, offer{p.At, p.From}, offer{p.At + p.Length, p.To})
	}
	return all
}

// levels draws the axis of rates and fills what lies below them.
func (t *timePlot) levels(rates []float64, label func(float64) string, offered ...offer) scale {
	high := slices.Max(append(slices.Clone(rates), 0))
	for _, o := range offered {
		high = max(high, o.rate)
	}
	if !(high > 0) {
		high = 1
	}
	y := t.vertical(scale{to: high * 1.08})
	t.axisLeft(t.area, y, linearTicks(y.to, 5, label))
	var fill line
	for i, v := range rates {
		left, right := t.x(float64(i)*t.report.Series.Width), t.x(min(float64(i+1)*t.report.Series.Width,
			t.report.Rate.Window))
		if i == 0 {
			fill.move(left, t.area.bottom)
		}
		fill.to(left, px(y.at(v)))
		fill.to(right, px(y.at(v)))
		if i == len(rates)-1 {
			fill.to(right, t.area.bottom)
		}
	}
	t.path("fill c0", &fill)
	return y
}

func (t *timePlot) latency() {
	s := t.report.Series
	low, high := math.Inf(1), 0.0
	for i := range s.P50 {
		if s.P50[i] > 0 {
			low = min(low, s.P50[i])
		}
		high = max(high, s.P50[i], s.P99[i])
	}
	from, to := around(low, high)
	y := t.vertical(scale{from: from, to: to, logarithmic: true})
	t.axisLeft(t.area, y, logarithmicTicks(from, to, 8, duration))
	t.path("line thin c1", t.steps(s.P99, y))
	t.path("line thin c0", t.steps(s.P50, y))
}

// steps is a line with one level for each bucket. With a logarithmic axis, a bucket of 0 is a gap.
func (t *timePlot) steps(values []float64, y scale) *line {
	var l line
	gap := true
	for i, v := range values {
		if y.logarithmic && v <= 0 {
			gap = true
			continue
		}
		left, right := t.x(float64(i)*t.report.Series.Width), t.x(float64(i+1)*t.report.Series.Width)
		if gap {
			l.move(left, px(y.at(v)))
		} else {
			l.to(left, px(y.at(v)))
		}
		l.to(right, px(y.at(v)))
		gap = false
	}
	return &l
}

// errors are stacked, one colour for each kind.
func (t *timePlot) errors() {
	s := t.report.Series
	total := make([]float64, len(s.Answered))
	for _, k := range t.kinds {
		for i, n := range s.Errors[k] {
			total[i] += float64(n) / s.Width
		}
	}
	y := t.vertical(scale{to: max(slices.Max(append(total, 0)), 1/s.Width) * 1.08})
	t.axisLeft(t.area, y, linearTicks(y.to, 4, digits))
	below := make([]float64, len(total))
	for _, k := range t.kinds {
		for i, n := range s.Errors[k] {
			if n <= 0 {
				continue
			}
			left, right := t.x(float64(i)*s.Width), t.x(float64(i+1)*s.Width)
			from := px(y.at(below[i]))
			below[i] += float64(n) / s.Width
			// One error of many must be seen as well.
			to := min(px(y.at(below[i])), from-1)
			t.rect(kindClass(k), left, to, max(right-left, 1.5), from-to, "")
		}
	}
}

// window marks the end of the window, when something came after it.
func (t *timePlot) window(top, bottom px) {
	if end := t.report.Rate.Window; end > 0 && end < t.end {
		t.line("window", t.x(end), top, t.x(end), bottom)
		t.named("note end", t.x(end)-3, bottom-4, "end of window",
			"Requests that were open at the end of the window were waited for.")
	}
}

// buckets are invisible; their titles say what is in each.
func (t *timePlot) buckets(top, bottom px) {
	s := t.report.Series
	for i, n := range s.Answered {
		left, right := t.x(float64(i)*s.Width), t.x(float64(i+1)*s.Width)
		var b strings.Builder
		fmt.Fprintf(&b, "%s to %s: %s answered", seconds(float64(i)*s.Width), seconds(float64(i+1)*s.Width), count(n))
		if s.P50[i] > 0 || s.P99[i] > 0 {
			fmt.Fprintf(&b, ", p50 %s, p99 %s", duration(s.P50[i]), duration(s.P99[i]))
		}
		if t.streams() {
			b.WriteString(", " + report.BitRate(8*float64(s.Bytes[i])/s.Width))
		}
		for _, k := range t.kinds {
			if c := s.Errors[k][i]; c > 0 {
				fmt.Fprintf(&b, ", %s %s", count(c), k)
			}
		}
		t.rect("bucket", left, top, right-left, bottom-top, b.String())
	}
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}
