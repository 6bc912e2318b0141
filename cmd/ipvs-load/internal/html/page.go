package html

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

//go:embed page.html
var pageText string

//go:embed style.css
var style string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// Run is a report with the name under which the page shows it, such as that of a scenario's variant and round.
type Run struct {
	Name   string
	Report *report.Report
}

// page is what the template shows.
type page struct {
	Style    template.CSS
	Title    string
	Versions string
	Overview *overview // of several runs
	Runs     []section
}

// overview compares several runs.
type overview struct {
	Figure figure
	Table  table
}

// section is one run. Its figures and tables stand in reading order.
type section struct {
	Anchor, Name, What, Summary string
	Warnings                    []string
	Tiles                       []tile
	Figures                     []figure
	Settings                    []setting
}

// tile is a number that is read first.
type tile struct{ Name, Value, Note, Class string }

// figure is a plot with what belongs to it. Without plots, Empty says why.
type figure struct {
	Title, Note, Empty string
	Legend             []legendEntry
	Plots              []*plot
	Tables             []table
}

type legendEntry struct{ Class, Name string }

// table has its first Names columns aligned to the left, as text is, and the others as numbers. One that is Folded is
// shown after a click.
type table struct {
	Title   string
	Columns []column
	Rows    [][]string
	Folded  bool
}

type column struct{ Name, Class string }

func textColumn(name string) column   { return column{name, "text"} }
func numberColumn(name string) column { return column{name, "number"} }

// Write writes the runs as one page, which is complete or not written at all.
func Write(w io.Writer, runs ...Run) error {
	if len(runs) == 0 {
		return errors.New("there is no run to show")
	}
	p := page{Style: template.CSS(style), Title: "ipvs-load: " + what(runs[0].Report), Versions: versions(runs)}
	if len(runs) > 1 {
		p.Title = fmt.Sprintf("ipvs-load: %d runs", len(runs))
		p.Overview = newOverview(runs)
	}
	for i, r := range runs {
		p.Runs = append(p.Runs, newSection(i, r))
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return fmt.Errorf("draw the report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the report as HTML: %w", err)
	}
	return nil
}

func newSection(i int, r Run) section {
	p := r.Report
	return section{
		Anchor: anchor(i), Name: r.Name, What: what(p), Summary: summary(p), Warnings: warnings(p), Tiles: tiles(p),
		Figures:  figures(p),
		Settings: settings(p),
	}
}

func figures(p *report.Report) []figure {
	if p.Throughput != nil { // bytes have no latency
		return append([]figure{timeFigure(p)}, endpointFigures(p)...)
	}
	return append([]figure{latencyFigure(p), timeFigure(p)}, endpointFigures(p)...)
}

func anchor(i int) string { return fmt.Sprintf("run-%d", i+1) }

// lineColours is how many colours the style sheet has for lines.
const lineColours = 8

func newOverview(runs []Run) *overview {
	o := &overview{
		Figure: figure{Title: "Latency by percentile, all runs", Empty: nothingEnded},
		Table: table{Columns: []column{textColumn("run"), numberColumn("offered"), numberColumn("achieved"),
			numberColumn("errors"),
			numberColumn("p50"), numberColumn("p99"), numberColumn("p99.9"), numberColumn("max"), numberColumn("jitter")}},
	}
	var curves []curve
	for i, r := range runs {
		p := r.Report
		o.Table.Rows = append(o.Table.Rows, []string{r.Name, rate(p.Rate.Offered), rate(p.Rate.Achieved),
			fmt.Sprintf("%s · %s", count(p.Requests.Errors), percent(p.Requests.ErrorRatio)),
			duration(p.Latency.P50), duration(p.Latency.P99), duration(p.Latency.P999), duration(p.Latency.Max),
			duration(p.SelfCheck.Jitter)})
		if p.Latency.Count == 0 {
			continue
		}
		class := fmt.Sprintf("c%d", i%lineColours)
		if i >= lineColours {
			class += " dashed"
		}
		curves = append(curves, newCurve(class, r.Name, p.LatencySpectrum, p.Latency))
		o.Figure.Legend = append(o.Figure.Legend, legendEntry{"line " + class, r.Name})
	}
	if len(curves) > 0 {
		o.Figure.Plots = both(percentilePlot(o.Figure.Title, curves, 0))
	}
	return o
}
