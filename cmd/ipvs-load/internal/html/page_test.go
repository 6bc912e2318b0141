package html

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report/reporttest"
	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
)

// samples are the runs of pages as they come in practice, and beyond it.
func samples() map[string][]Run {
	pages := map[string][]Run{}
	for name, runs := range reporttest.Pages() {
		for _, r := range runs {
			pages[name] = append(pages[name], Run(r))
		}
	}
	return pages
}

func write(t *testing.T, runs ...Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, runs...); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// outline is what a page consists of: its texts, and of each plot how many shapes of which class it has. A picture of
// the numbers without the pixels.
func outline(page string) string {
	page = page[strings.Index(page, "<body>"):]
	svg := regexp.MustCompile(`(?s)<svg class="plot (\w+)"[^>]*aria-label="([^"]*)">(.*?)</svg>`)
	page = svg.ReplaceAllStringFunc(page, func(s string) string {
		m := svg.FindStringSubmatch(s)
		if m[1] == "narrow" {
			return ""
		}
		var b strings.Builder
		fmt.Fprintf(&b, "\n[plot: %s\n", m[2])
		last, n := "", 0
		flush := func() {
			if n > 0 {
				fmt.Fprintf(&b, "  %d × %s\n", n, last)
			}
		}
		for _, shape := range regexp.MustCompile(
			`<(path|rect|circle) class="([^"]*)"|<text class="([^"]*)"[^>]*>([^<]*)`,
		).FindAllStringSubmatch(
			m[3], -1,
		) {
			now := shape[1] + "." + shape[2]
			if shape[1] == "" {
				now = fmt.Sprintf("text.%s %q", shape[3], shape[4])
			}
			if now != last {
				flush()
				last, n = now, 0
			}
			n++
		}
		flush()
		return b.String() + "]\n"
	})
	page = regexp.MustCompile(`(?s)<svg class="swatch".*?</svg>`).ReplaceAllString(page, "")
	page = regexp.MustCompile(`</(td|th|span|dt)>`).ReplaceAllString(page, " | ")
	page = regexp.MustCompile(`</(tr|li|div|dd|h\d|p)>`).ReplaceAllString(page, "\n")
	page = regexp.MustCompile(`</?[a-z][^>]*>`).ReplaceAllString(page, "")
	page = regexp.MustCompile(`[ |]*\n[ \n]*`).ReplaceAllString(page, "\n")
	return strings.TrimSpace(page) + "\n"
}

func TestGolden(t *testing.T) {
	for name, runs := range map[string][]Run{
		"churn": samples()["churn"], "three-runs": samples()["three runs"], "no-answers": samples()["no answers"],
	} {
		golden.Compare(t, filepath.Join("testdata", name+".txt"), outline(write(t, runs...)))
	}
}

// TestEveryPageIsWholeAndLoadsNothing reads pages as strictly as XML, which they are as well.
func TestEveryPageIsWholeAndLoadsNothing(t *testing.T) {
	for name, runs := range samples() {
		page := write(t, runs...)
		d := xml.NewDecoder(strings.NewReader(page))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
			e, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			if strings.Contains(" script img link iframe object embed image use foreignObject style-src video audio ", " "+
				e.Name.Local+" ") {
				t.Errorf("%s has a %s", name, e.Name.Local)
			}
			for _, a := range e.Attr {
				if a.Name.Local == "src" || a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on") ||
					a.Name.Local == "href" && !strings.HasPrefix(a.Value, "#run-") {
					t.Errorf("%s: %s has %s=%q", name, e.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
		for _, bad := range []string{"NaN", "Inf", "ZgotmplZ", "%!", "url(", "@import"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s has a %q", name, bad)
			}
		}
		if !strings.Contains(page, `content="default-src 'none'; style-src 'unsafe-inline'"`) ||
			!strings.Contains(page, `<meta name="viewport"`) {
			t.Errorf("%s lacks its policy or its viewport", name)
		}
	}
}

// TestNothingLeavesThePlot looks at every number of every shape.
func TestNothingLeavesThePlot(t *testing.T) {
	for name, runs := range samples() {
		for _, r := range runs {
			for _, f := range newSection(0, r).Figures {
				for _, p := range f.Plots {
					for _, s := range p.Shapes {
						if outside(p, s) {
							t.Errorf("%s, %s, %s: %+v is outside of %v by %v", name, f.Title, p.Class, s, p.Width, p.Height)
						}
					}
				}
			}
		}
	}
}

func outside(p *plot, s shape) bool {
	points := []px{s.X, s.Y}
	switch s.Kind {
	case "rect":
		points = append(points, s.X+s.Width, s.Y+s.Height)
	case "path":
		points = nil
		for _, n := range regexp.MustCompile(`-?[\d.]+`).FindAllString(s.Path, -1) {
			v, err := strconv.ParseFloat(n, 64)
			if err != nil {
				return true
			}
			points = append(points, px(v))
		}
	}
	for i, v := range points {
		limit := p.Width
		if i%2 == 1 {
			limit = p.Height
		}
		if !(v >= 0 && v <= limit+0.1) {
			return true
		}
	}
	return len(points)%2 != 0
}

func TestHostileTextStaysText(t *testing.T) {
	page := write(t, samples()["hostile"]...)
	for _, bad := range []string{"<script", "<img", "onerror='", "{{.}}&lt;<"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q got into the page", bad)
		}
	}
	// Names, warnings, errors, settings, targets, clients, events and titles of shapes, of two runs.
	if n := strings.Count(page, "&lt;script&gt;"); n < 100 {
		t.Errorf("the text is %d times in the page, want more: something left it out", n)
	}
}

func TestAReportBeyondReasonIsDrawnAsWell(t *testing.T) {
	p := reporttest.Churn()
	p.Rate.Window, p.Rate.Offered, p.Series.Width = 1e300, -1, 1e300
	for i := range p.Series.P50 {
		p.Series.P50[i], p.Series.P99[i], p.Series.Answered[i] = -1e308, 1.7e308, math.MinInt64
	}
	p.Latency = report.Percentiles{Count: math.MaxInt64, Max: 1.7e308, Min: -1}
	p.LatencySpectrum = []report.Quantile{{Percentile: -1, Time: -1}, {Percentile: 1e9, Time: 1.7e308}}
	p.SelfCheck.Jitter = 1e-300
	p.Events[0].At, p.Events[1].At = -1e300, 1e308
	p.Targets[0].Endpoints[0].Share = 1e300
	p.Targets[0].Endpoints[1].Share, p.Targets[0].Endpoints[1].Answered = -5, math.MinInt64
	page := write(t, Run{"run", p})
	for _, bad := range []string{"NaN", "Inf"} {
		if strings.Contains(page, bad) {
			t.Errorf("it has a %q", bad)
		}
	}
	write(t, Run{"zero", &report.Report{}}, Run{"zero", &report.Report{Latency: report.Percentiles{
		Count: 1,
	}, Series: report.Series{Width: 1, Answered: []int64{0}, P50: []float64{0}, P99: []float64{0}}}})
}

func TestWithoutARunThereIsNoPage(t *testing.T) {
	if err := Write(io.Discard); err == nil {
		t.Error("no run, no error")
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAWriteThatFailsIsSaid(t *testing.T) {
	if err := Write(fullDisk{}, samples()["clean"]...); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error %v, want that of the disk", err)
	}
}

func TestNamesOfEventsDoNotCoverOneAnother(t *testing.T) {
	p := reporttest.Churn()
	p.Events = nil
	for i := range 30 {
		p.Events = append(p.Events, report.Event{At: float64(i) / 3, Name: "endpoint web-7d9c6b5f4-00001 removed"})
	}
	for _, plot := range both(newTimePlot(p).draw) {
		ends := map[px]px{}
		named := 0
		for _, s := range plot.Shapes {
			if s.Kind != "text" || !strings.HasPrefix(s.Class, "event-name") {
				continue
			}
			named++
			from := s.X
			if s.Class != "event-name" {
				from -= textWidth(s.Text)
			}
			if end, known := ends[s.Y]; known && from < end {
				t.Errorf("%s: %q begins at %v, before %v", plot.Class, s.Text, from, end)
			}
			ends[s.Y] = from + textWidth(s.Text)
		}
		if named < 3 || len(ends) > maxEventRows {
			t.Errorf("%s: %d names in %d rows", plot.Class, named, len(ends))
		}
	}
}
