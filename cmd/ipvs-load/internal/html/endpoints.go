package html

import (
	"fmt"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

// maxBars bounds the bars of a plot. With more endpoints, the file of the run has all of them.
const maxBars = 200

// endpointPlot draws a bar for each endpoint of a target, and a mark where it is expected to end.
func endpointPlot(t report.Target) func(width px) *plot {
	shown := t.Endpoints[:min(len(t.Endpoints), maxBars)]
	names, high := 6, 0.0
	for _, e := range shown {
		high = max(high, e.Share, e.Expected)
		names = max(names, len([]rune(e.ID)))
	}
	if !(high > 0) {
		high = 1
	}
	row := px(24)
	if len(shown) > 24 {
		row = 16
	}
	return func(width px) *plot {
		p := newPlot(width, "Share of each endpoint in the answers, against expectation")
		letters, steps := min(names, 30), 8
		if width == narrow {
			letters, steps = min(names, 14), 3
		}
		const numbers = 118 // room for the share and the count
		a := area{left: px(letters)*letter + 12, top: 8, right: width - numbers, bottom: 8 + row*px(len(shown))}
		p.Height = a.bottom + 44
		s := scale{to: high * 1.02, low: float64(a.left), high: float64(a.right)}
		p.axisBelow(a, s, linearTicks(s.to, steps, func(v float64) string { return digits(100*v) + " %" }))
		p.text("axis middle", (a.left+a.right)/2, p.Height-6, "share of the answers")
		for i, e := range shown {
			y := a.top + row*px(i)
			p.named("name end", a.left-7, y+row/2+4, shorten(e.ID, letters), e.ID)
			p.rect("bar c0", a.left, y+2, max(px(s.at(e.Share))-a.left, 1), row-4, barTitle(e, t.Fairness))
			if t.Fairness != nil {
				mark := px(s.at(e.Expected))
				p.line("halo", mark, y, mark, y+row)
				p.line("expected", mark, y, mark, y+row)
			}
			p.text("value", a.right+8, y+row/2+4, fmt.Sprintf("%s · %s", percent(e.Share), count(e.Answered)))
		}
		return p
	}
}

func barTitle(e report.EndpointShare, f *report.Fairness) string {
	title := fmt.Sprintf("%s: %s of the answers, %s", e.ID, percent(e.Share), count(e.Answered))
	if f != nil {
		title += "; expected " + percent(e.Expected)
	}
	return title
}

// maxTargets bounds the plots of endpoints, of which there is one for each target; a table has all targets.
const maxTargets = 8

func endpointFigures(p *report.Report) []figure {
	var all []figure
	for i, t := range p.Targets {
		if len(t.Endpoints) > 0 && len(all) < maxTargets {
			all = append(all, endpointFigure(p, i))
		}
	}
	if len(all) == 0 {
		f := figure{Title: "Who answered", Empty: "No endpoint answered."}
		if p.Requests.Answered > 0 || p.Throughput != nil {
			f.Empty = "This mode does not ask who answers."
		}
		all = append(all, f)
	}
	last := &all[len(all)-1]
	if len(p.Endpoints) > 0 {
		last.Tables = append(last.Tables, endpointTable(p.Endpoints))
	}
	if len(p.Targets) > 1 {
		last.Tables = append(last.Tables, targetTable(p.Targets))
	}
	return all
}

func endpointFigure(p *report.Report, i int) figure {
	t := p.Targets[i]
	f := figure{
		Title: "Who answered", Legend: []legendEntry{{"bar c0", "share of the answers"}}, Plots: both(endpointPlot(t)),
	}
	if len(p.Targets) > 1 {
		f.Title += " for " + t.Target
	}
	if x := t.Fairness; x != nil {
		mark := "equal shares of the endpoints that answered"
		if x.Expected == "weights" {
			mark = "share by the weights that were given"
		}
		f.Legend = append(f.Legend, legendEntry{"expected", mark})
		f.Note = fairnessNote(x, len(t.Endpoints))
	}
	if s := p.Stickiness; s.Clients > 1 && len(t.Endpoints) > 1 {
		f.Note += fmt.Sprintf(" Over all targets, %s of %s clients had one endpoint.",
			count(int64(s.Sticky)), count(int64(s.Clients)))
	}
	if n := len(t.Endpoints) - maxBars; n > 0 {
		f.Note += fmt.Sprintf(" The first %d by name are drawn, and %s not.", maxBars, plural(int64(n), "endpoint"))
	}
	return f
}

func fairnessNote(f *report.Fairness, endpoints int) string {
	if endpoints < 2 {
		return "" // one alone is neither fair nor unfair
	}
	note := fmt.Sprintf("%s; Jain's index %.4f (1 is as expected), largest share %.3f times the mean, ",
		plural(int64(endpoints), "endpoint"), f.Jain, f.MaxOverMean)
	if f.Unexpected > 0 {
		return note + plural(f.Unexpected, "answer") + " of endpoints that should give none."
	}
	return note + fmt.Sprintf("χ² %.4g with %s of freedom, p-value %.3g.",
		f.ChiSquare, plural(int64(f.Degrees), "degree"), f.P)
}

// clientsShown bounds the client addresses of an endpoint; the file of the run has more.
const clientsShown = 4

func endpointTable(endpoints []report.Endpoint) table {
	t := table{Title: "Clients that each endpoint saw", Folded: true, Columns: []column{textColumn("endpoint"),
		numberColumn("answered"), numberColumn("share of all"), textColumn("clients")}}
	for _, e := range endpoints[:min(len(endpoints), maxBars)] {
		clients := ""
		for _, c := range e.Clients[:min(len(e.Clients), clientsShown)] {
			clients += c.Address + " "
		}
		if n := len(e.Clients) - clientsShown; n > 0 {
			clients += "and more"
		}
		t.Rows = append(t.Rows, []string{e.ID, count(e.Answered), percent(e.Share), clients})
	}
	return t
}

func targetTable(targets []report.Target) table {
	t := table{Title: "Targets", Columns: []column{
		textColumn("target"), numberColumn("requests"), numberColumn("answered"), numberColumn("errors"),
		numberColumn("endpoints"),
	}}
	for _, x := range targets {
		t.Rows = append(
			t.Rows, []string{x.Target, count(x.Requests), count(x.Answered), count(x.Errors), count(int64(len(x.Endpoints)))},
		)
	}
	return t
}
