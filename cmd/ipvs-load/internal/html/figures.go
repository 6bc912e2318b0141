package html

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

const nothingEnded = "No request came to an end, so there is nothing to draw."

func latencyFigure(p *report.Report) figure {
	f := figure{Title: "Latency by percentile", Empty: nothingEnded}
	if p.Latency.Count == 0 {
		return f
	}
	f.Note = "Every request counts, whatever became of it. Latency runs from the intended start, service time from the actual one."
	if p.Settings.Loop == report.Loop(true) {
		f.Note = "Every request counts, whatever became of it. In a closed loop a slow answer delays the next request, so that both are better than what users find."
	}
	f.Legend = []legendEntry{{"line c0", "latency"}, {"line c1 dashed", "service time"}}
	service := newCurve("c1 dashed", "service time", p.ServiceSpectrum, p.Service)
	service.dots = nil
	curves := []curve{service, newCurve("c0", "latency", p.LatencySpectrum, p.Latency)}
	if p.Requests.Errors > 0 && p.Requests.Answered > 0 {
		// Errors that come fast make the latency of all look better than it is.
		f.Legend = slices.Insert(f.Legend, 1, legendEntry{"line c2", "latency, answered only"})
		answered := newCurve("c2", "latency, answered only", p.AnsweredSpectrum, p.AnsweredLatency)
		curves = slices.Insert(curves, 1, answered)
	}
	if p.SelfCheck.Jitter > 0 {
		f.Legend = append(f.Legend, legendEntry{"jitter", "client's jitter: what lies below it may be the client's own"})
	}
	f.Plots = both(percentilePlot(f.Title, curves, p.SelfCheck.Jitter))
	f.Tables = []table{latencyTable(p)}
	return f
}

func latencyTable(p *report.Report) table {
	t := table{Columns: []column{textColumn(""), numberColumn("p50"), numberColumn("p90"), numberColumn("p99"),
		numberColumn("p99.9"),
		numberColumn("max"), numberColumn("mean"), numberColumn("count")}}
	row := func(name string, d report.Percentiles) {
		if d.Count > 0 {
			t.Rows = append(t.Rows, []string{
				name, duration(d.P50), duration(d.P90), duration(d.P99), duration(d.P999), duration(d.Max), duration(d.Mean),
				count(d.Count),
			})
		}
	}
	row("latency", p.Latency)
	if p.Requests.Errors > 0 {
		row("latency, answered only", p.AnsweredLatency)
	}
	row("service time", p.Service)
	if p.Connect != nil {
		row("connect", *p.Connect)
	}
	row("start lag", p.StartLag)
	return t
}

func timeFigure(p *report.Report) figure {
	f := figure{Title: "Over time", Empty: nothingEnded}
	if p.Latency.Count > 0 || p.Throughput != nil {
		f.Empty = "The file of this run holds no time series."
	}
	if len(p.Series.Answered) > 0 {
		t := newTimePlot(p)
		f.Note = fmt.Sprintf("In steps of %s.", seconds(p.Series.Width))
		if !t.streams() {
			f.Note = fmt.Sprintf("In steps of %s; a request counts where it ended.", seconds(p.Series.Width))
		}
		f.Legend = t.legend()
		f.Plots = both(t.draw)
	}
	if len(p.Events) > 0 {
		f.Tables = append(f.Tables, eventTable(p.Events))
	}
	if len(p.Phases) > 0 {
		f.Tables = append(f.Tables, phaseTable(p.Phases))
	}
	if t := errorTable(p); len(t.Rows) > 0 {
		f.Tables = append(f.Tables, t)
	}
	return f
}

func phaseTable(phases []report.PhaseStats) table {
	t := table{Title: "Phases of the rate",
		Columns: []column{numberColumn("from"), numberColumn("rate"), numberColumn("achieved"),
			numberColumn("errors"), numberColumn("p50"), numberColumn("p99")}}
	for _, x := range phases {
		asked := rate(x.From)
		if x.From != x.To {
			asked += " to " + rate(x.To)
		}
		t.Rows = append(
			t.Rows, []string{seconds(x.At), asked, rate(x.Achieved), count(x.Errors), duration(x.P50), duration(x.P99)},
		)
	}
	return t
}

func errorTable(p *report.Report) table {
	t := table{Title: "Errors by kind", Columns: []column{textColumn("kind"), numberColumn("requests"), textColumn("")}}
	for _, k := range byKind(p.Errors) {
		n := p.Errors[k]
		if n == 0 {
			continue
		}
		note := ""
		if k == account.Timeout.String() && p.TimeoutsConnecting > 0 {
			note = count(p.TimeoutsConnecting) + " of them while connecting"
		}
		if k == account.Other.String() {
			var texts []string
			for _, o := range p.OtherErrors {
				texts = append(texts, fmt.Sprintf("%s × %s", count(o.Count), o.Text))
			}
			note = strings.Join(texts, "; ")
		}
		t.Rows = append(t.Rows, []string{k, count(n), note})
	}
	if s := p.SynRetransmissions; s != (report.SynRetransmits{}) {
		t.Rows = append(t.Rows, []string{"lost SYNs (not an error by themselves)",
			count(s.OneSecond + s.ThreeSeconds + s.Never),
			fmt.Sprintf("%s connected after 1 s, %s after 3 s or more, %s never",
				count(s.OneSecond), count(s.ThreeSeconds), count(s.Never))})
	}
	if p.StrayDatagrams > 0 {
		t.Rows = append(t.Rows,
			[]string{"stray datagrams (not an error by themselves)", count(p.StrayDatagrams), "came late, twice or unasked"})
	}
	return t
}
