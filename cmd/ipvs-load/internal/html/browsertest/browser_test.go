// Package browsertest opens the pages of ipvs-load in a real browser. It is a module of its own, so that the program
// does not depend on what drives one.
package browsertest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/html"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report/reporttest"
)

// startTimeout bounds how long a test waits for the browser. It starts in about a second; a loaded machine takes
// longer.
const startTimeout = 2 * time.Minute

// browser starts Chromium. Without it the test fails: nobody runs this module who does not want it.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("no browser (%v); type: sudo apt-get install -y --no-install-recommends chromium", err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.WSURLReadTimeout(startTimeout), chromedp.DisableGPU,
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses to start as root with one
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("end the browser: %v", err)
		}
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// visit is what one opening of a page did.
type visit struct {
	sync.Mutex
	requests, complaints []string
}

func (v *visit) listen(event any) {
	v.Lock()
	defer v.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		v.requests = append(v.requests, e.Request.URL)
	case *runtime.EventConsoleAPICalled:
		v.complaints = append(v.complaints, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		v.complaints = append(v.complaints, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		v.complaints = append(v.complaints, fmt.Sprintf("%s: %s", e.Entry.Level, e.Entry.Text))
	case *cdppage.EventJavascriptDialogOpening:
		v.complaints = append(v.complaints, "a dialog: "+e.Message)
	}
}

// screen is how the page is looked at.
type screen struct {
	scheme        string
	width, height int64
}

var screens = []screen{{"light", 1100, 800}, {"dark", 1100, 800}, {"light", 390, 844}, {"dark", 390, 844}}

// seldom are pages that few people will see; two screens, which have both schemes and both widths, are enough for them.
var seldom = []string{
	"one endpoint", "100 endpoints", "300 endpoints", "nothing ended", "one request", "older report", "phases",
	"closed loop", "ten minutes",
}

// open opens a page in a tab of its own, and returns what it did, what a person sees and a picture of it.
func open(t *testing.T, ctx context.Context, address string, s screen) (*visit, sight, []byte) {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(ctx)
	defer closeTab()
	if err := chromedp.Do(ctx); err != nil { // a deadline here would be that of the tab
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	v := &visit{}
	err := errors.Join(
		chromedp.Listen(ctx, v.listen),
		call(ctx, network.Enable, network.EnableParams{}),
		call(ctx, log.Enable, cdp.Empty{}),
		call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: s.width, Height: s.height, DeviceScaleFactor: 1, Mobile: s.width < 500,
		}),
		call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s.scheme}},
		}),
		chromedp.Do(ctx, chromedp.Navigate(address)),
	)
	if err != nil {
		t.Fatalf("open %s: %v", address, err)
	}
	got, err := chromedp.Run(ctx, chromedp.Evaluate[sight](look))
	if err != nil {
		t.Fatalf("look at %s: %v", address, err)
	}
	shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatalf("picture of %s: %v", address, err)
	}
	return v, got, shot
}

func call[P any](ctx context.Context, command cdp.Command[P, cdp.Empty], params P) error {
	_, err := chromedp.Call(ctx, command, params)
	return err
}

//go:embed testdata/look.js
var look string

// sight is what look.js returns.
type sight struct {
	Plots []struct {
		Label               string
		X, Y, Width, Height float64
		Points              int      // of the path that has most
		Outside             []string // what reaches over the edge of the plot
	}
	Background              float64 // luminance, 0 to 1
	PageWidth, ScreenWidth  float64
	Pale                    []string // text with too little contrast
	PaleLines               []string // lines and bars with too little contrast
	Texts, Lines, Resources int
}

// writeFile puts the page into a file and returns its address.
func writeFile(t *testing.T, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// page writes the page of some runs.
func page(t *testing.T, runs ...reporttest.Run) []byte {
	t.Helper()
	var shown []html.Run
	for _, r := range runs {
		shown = append(shown, html.Run(r))
	}
	var b bytes.Buffer
	if err := html.Write(&b, shown...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestInABrowser(t *testing.T) {
	ctx := browser(t)
	for name, runs := range reporttest.Pages() {
		address := writeFile(t, page(t, runs...))
		on := screens
		if slices.Contains(seldom, name) {
			on = screens[1:3]
		}
		for _, s := range on {
			t.Run(fmt.Sprintf("%s, %s, %d wide", name, s.scheme, s.width), func(t *testing.T) {
				t.Parallel() // each has a tab of its own
				v, got, shot := open(t, ctx, address, s)
				keep(t, shot)
				if d := v.requests; len(d) != 1 || d[0] != address {
					t.Errorf("requests %q, want the file alone", d)
				}
				if len(v.complaints) > 0 {
					t.Errorf("the browser complains: %q", v.complaints)
				}
				checkSight(t, got, s)
				checkPlots(t, got, wantPlots(runs))
				checkPicture(t, got, shot)
			})
		}
	}
}

func checkSight(t *testing.T, got sight, s screen) {
	if got.Resources != 0 {
		t.Errorf("%d resources were loaded", got.Resources)
	}
	if s.scheme == "dark" && got.Background > 0.05 || s.scheme == "light" && got.Background < 0.8 {
		t.Errorf("the background's luminance is %.2f", got.Background)
	}
	if got.PageWidth > got.ScreenWidth {
		t.Errorf("the page is %v wide on a screen of %v", got.PageWidth, got.ScreenWidth)
	}
	if got.Texts < 30 || len(got.Pale) > 0 {
		t.Errorf("of %d texts, these have a contrast of less than 4.5:\n%s", got.Texts, strings.Join(got.Pale, "\n"))
	}
	if len(got.PaleLines) > 0 {
		t.Errorf("of %d lines and bars, these have a contrast of less than 3:\n%s",
			got.Lines, strings.Join(got.PaleLines, "\n"))
	}
}

// wantPlot is a plot that must be seen, and the points of its longest path.
type wantPlot struct {
	label  string
	points int
}

func wantPlots(runs []reporttest.Run) []wantPlot {
	var all []wantPlot
	add := func(label string, points int) { all = append(all, wantPlot{label, points}) }
	if len(runs) > 1 {
		add("Latency by percentile, all runs", 80)
	}
	for _, r := range runs {
		if r.Report.Latency.Count > 0 && r.Report.Throughput == nil {
			n := len(r.Report.LatencySpectrum)
			if n == 0 {
				n = 6 // the percentiles that older reports have
			}
			add("Latency by percentile", n)
		}
		if s := r.Report.Series; len(s.Answered) > 0 {
			add("Rate of answers, latency and errors over time", 2*int(r.Report.Rate.Window/s.Width))
		}
		for _, target := range r.Report.Targets {
			if len(target.Endpoints) == 0 {
				continue
			}
			add("Share of each endpoint in the answers, against expectation", 2)
		}
	}
	return all
}

func checkPlots(t *testing.T, got sight, want []wantPlot) {
	if len(got.Plots) != len(want) {
		t.Fatalf("%d plots are seen, want %d", len(got.Plots), len(want))
	}
	for i, w := range want {
		p := got.Plots[i]
		if p.Label != w.label || p.Points < w.points || p.Width < 300 || p.Height < 60 {
			t.Errorf("plot %d is %q, %v by %v, with a path of %d points; want %q with at least %d",
				i, p.Label, p.Width, p.Height, p.Points, w.label, w.points)
		}
		if p.X < 0 || p.X+p.Width > got.ScreenWidth {
			t.Errorf("%s reaches from %v to %v on a screen of %v", p.Label, p.X, p.X+p.Width, got.ScreenWidth)
		}
		if len(p.Outside) > 0 {
			t.Errorf("%s: beyond its edge: %q", p.Label, p.Outside)
		}
	}
}

// checkPicture looks for several colours in every plot, none of which has it all.
func checkPicture(t *testing.T, got sight, shot []byte) {
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	pixels := image.NewRGBA(picture.Bounds())
	draw.Draw(pixels, pixels.Bounds(), picture, picture.Bounds().Min, draw.Src)
	for _, p := range got.Plots {
		r := image.Rect(int(p.X), int(p.Y), int(p.X+p.Width), int(p.Y+p.Height)).Intersect(pixels.Bounds())
		colours, most := map[color.RGBA]int{}, 0
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				colours[pixels.RGBAAt(x, y)]++
			}
		}
		for _, n := range colours {
			most = max(most, n)
		}
		if len(colours) < 8 || most > r.Dx()*r.Dy()*99/100 {
			t.Errorf("%s has %d colours, and %d of %d points have the same", p.Label, len(colours), most, r.Dx()*r.Dy())
		}
	}
}

// keep saves the picture in the directory IPVS_LOAD_SCREENSHOTS, for people to look at.
func keep(t *testing.T, shot []byte) {
	directory := os.Getenv("IPVS_LOAD_SCREENSHOTS")
	if directory == "" {
		return
	}
	name := strings.NewReplacer("/", "-", " ", "", ",", "-", "_", "").Replace(t.Name())
	if err := os.WriteFile(filepath.Join(directory, name+".png"), shot, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTheBrowserTestSeesRequests makes sure that the silence of the others means something: a request that a page makes
// is seen, and the policy of ours forbids one that got into it.
func TestTheBrowserTestSeesRequests(t *testing.T) {
	var hits sync.Map
	server := httptest.NewServer(
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hits.Store(r.URL.Path, true) }),
	)
	defer server.Close()
	ctx := browser(t)
	foreign := `<img src="` + server.URL + `%s"><script>console.error("at work")</script>`
	bare := "<!DOCTYPE html><meta charset=utf-8><body>" + fmt.Sprintf(foreign, "/bare")
	v, _, _ := open(t, ctx, writeFile(t, []byte(bare)), screens[0])
	if _, hit := hits.Load("/bare"); !hit || !slices.Contains(v.requests, server.URL+"/bare") ||
		!slices.Contains(v.complaints, "console.error") {
		t.Errorf("server asked: %v, requests %q, complaints %q; want the image and the error", hit, v.requests, v.complaints)
	}

	clean := page(t, reporttest.Run{Name: "run", Report: reporttest.Sample(1, nil)})
	ours := strings.Replace(string(clean), "<main>", "<main>"+fmt.Sprintf(foreign, "/ours"), 1)
	v, _, _ = open(t, ctx, writeFile(t, []byte(ours)), screens[0])
	if _, hit := hits.Load("/ours"); hit || slices.Contains(v.complaints, "console.error") ||
		!strings.Contains(strings.Join(v.complaints, " "), "Content Security Policy") {
		t.Errorf("server asked: %v, complaints %q; want that the policy forbids both", hit, v.complaints)
	}
}
