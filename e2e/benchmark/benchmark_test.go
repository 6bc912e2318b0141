package benchmark

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/figures"
)

func value[T any](v T) *T { return &v }

// sampleRun is a run whose figures all follow from f.
func sampleRun(proxy string, services, round int, f float64) Run {
	return Run{Proxy: proxy, Source: "API", Services: services, Round: round, Report: &Control{
		First: &Part{
			Took: f, Own: f / 2, Children: f / 4, Processes: int64(10 * f), Requests: value(int64(100 * f)),
			Writes: value(int64(60 * f)),
		},
		Complete: value(2 * f),
		Changes:  &Changes{Part: Part{Own: f / 10, Writes: value(int64(20))}, Count: 10, P50: f, P99: 2 * f, Max: 3 * f},
		Histograms: []Histogram{{
			Name: OwnHistogram, Labels: `stage="total"`, P50: f / 10_000,
		}, {Name: OwnHistogram, Labels: `stage="watch"`, P50: 7}},
		Idle: &Part{Took: 30, Own: f / 100, Writes: value(int64(0))}, Restart: &Part{Took: f, Writes: value(int64(3))},
		PeakRSS: value(int64(f * (1 << 20))),
	}}
}

func samplePage() *Page {
	p := &Page{Kernel: "Linux 6.1", Guest: "User-Mode Linux 6.1", Processors: 1, Endpoints: 5, Command: "make bench"}
	for round := range 3 {
		ours := sampleRun(Ours, 1000, round, 1+float64(round))
		ours.List, ours.Floor = value(1.0), &Floor{Messages: 6000, Took: 0.5}
		p.Runs = append(p.Runs, ours, sampleRun(KubeProxy, 1000, round, 500))
	}
	p.Runs = append(p.Runs, sampleRun(Ours, 100, 0, 2), sampleRun(KubeRouter, 100, 0, 1),
		Run{Proxy: KubeRouter, Source: "API", Services: 1000, Failure: "the proxy has ended\n(exit | status 1)"},
		Run{Proxy: Ours, Source: "API", Services: 1000, Calls: &Calls{Netlink: 321, Processes: 12}},
		Run{Proxy: KubeProxy, Source: "API", Services: 100, Calls: &Calls{NotCounted: "there is no strace"}})
	return p
}

func TestThePageSaysWhatWasMeasured(t *testing.T) {
	text := samplePage().Markdown("benchmarking")
	for _, want := range []string{
		"Linux 6.1 (User-Mode Linux, one processor) by `make bench`", "up to 3 rounds",
		"| 1,000 | ipvs-proxier | 2.00 s (1.00 s–3.00 s) | 4.00 s (2.00 s–6.00 s) | 1.00 s (500 ms–1.50 s) |",
		"| 1,000 | kube-proxy ipvs | 500 s | 1,000 s |",
		"| 1,000 | ipvs-proxier | 321 | 0 | 12 | – |", "not counted: there is no strace",
		"250 times faster | reached", "not measured here",
		"![](benchmarking/uml-first.svg)",
		"- 100 Services, last real server: kube-router 1.00 s, ipvs-proxier 2.00 s",
		"- kube-router, 1,000 Services: the proxy has ended (exit | status 1)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Errorf("%s", text)
	}
}

// TestBuildsAreComparedRoundByRound: a round that one build could not be measured in counts for neither.
func TestBuildsAreComparedRoundByRound(t *testing.T) {
	p := &Page{
		Kernel: "Linux 6.1", Guest: "User-Mode Linux 6.1", Processors: 1, Endpoints: 5, Command: "make bench-builds",
	}
	for round, pace := range []float64{1, 4, 2} {
		this, base := sampleRun(Ours, 1000, round, pace), sampleRun(Ours, 1000, round, 2*pace)
		base.Build = "abc1234"
		p.Runs = append(p.Runs, base, this)
	}
	failed := Run{Proxy: Ours, Build: "abc1234", Source: "API", Services: 1000, Round: 3, Failure: "it was killed"}
	p.Runs = append(p.Runs, sampleRun(Ours, 1000, 3, 1000), failed)
	text := p.Builds()
	for _, want := range []string{
		"1,000 Services from API:", "| | abc1234 | this build |",
		"| peak memory | 4,096 KiB (2,048 KiB–8,192 KiB) | 2,048 KiB (1,024 KiB–4,096 KiB) | 0.50 (0.50 to 0.50) | 3 |",
		"| processor time of the first programming | 2.00 s (1.00 s–4.00 s) | 1.00 s",
		"- ipvs-proxier of abc1234, 1,000 Services: it was killed",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "memory when nothing") { // the sample does not say
		t.Errorf("%s", text)
	}
}

func TestPagesOfOneGuestAreJoined(t *testing.T) {
	page := Page{Kernel: "Linux 6.1", Guest: "QEMU", Command: "make bench", Runs: []Run{sampleRun(Ours, 100, 0,
		1), sampleRun(KubeProxy, 100, 0, 500)}}
	more := Page{Kernel: "Linux 6.1", Guest: "QEMU", Command: "make bench SIZE=5000", Runs: []Run{sampleRun(Ours, 100, 0,
		3), sampleRun(KubeProxy, 5000, 0, 900)}}
	if err := page.Join(more); err != nil {
		t.Fatal(err)
	}
	text := page.Markdown("")
	for _, want := range []string{
		"by `make bench`, `make bench SIZE=5000`", "up to 2 rounds", "| 100 | ipvs-proxier | 2.00 s (1.00 s–3.00 s) |",
		"| 5,000 | kube-proxy ipvs | 900 s |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	more.Kernel = "Linux 6.12"
	if err := page.Join(more); err == nil || !strings.Contains(err.Error(), "6.12") || len(page.Runs) != 4 {
		t.Errorf("%v, %d runs", err, len(page.Runs))
	}
}

// TestAChangeCostsWhatItAdds: what comes anyway is not its price, and audits are not. That holds whether an audit falls
// among the changes, into the idle time, or into none.
func TestAChangeCostsWhatItAdds(t *testing.T) {
	r := sampleRun(Ours, 100, 0, 1)
	r.Report.Changes = &Changes{Part: Part{Own: 3, Took: 20}, Count: 10}
	for idle, want := range map[*Part]float64{nil: 300, {Own: 6, Took: 60}: 100, {Own: 60, Took: 60}: 0} {
		r.Report.Idle = idle
		if got, known := changeCPU(&r); !known || got != want {
			t.Errorf("idle %+v: %v ms a change (%t), want %v", idle, got, known, want)
		}
	}
	for _, audits := range []struct{ changes, idle float64 }{{0, 0}, {1, 0}, {0, 5}, {2, 5}} {
		r.Report.Changes.Own, r.Report.Changes.Counters = 3+audits.changes, map[string]float64{OwnAudits: audits.changes}
		r.Report.Idle = &Part{Own: 6 + audits.idle, Took: 60, Counters: map[string]float64{OwnAudits: audits.idle}}
		if got, _ := changeCPU(&r); got != 100 {
			t.Errorf("with audits of %+v s: %v ms a change, want 100", audits, got)
		}
	}
}

func TestAPageOfNothingHasNoFigures(t *testing.T) {
	p := &Page{Kernel: "Linux 6.1", Runs: []Run{{Proxy: Ours, Source: "API", Services: 100, Failure: "no kernel"}}}
	text := p.Markdown("x")
	for _, bad := range []string{"NaN", "reached |", " 0 ms", "![]"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q is in\n%s", bad, text)
		}
	}
	if len(p.Plots()) != 0 {
		t.Errorf("%v", p.Plots())
	}
}

func TestPlotsAreWholeAndHaveABarForEachRow(t *testing.T) {
	plots := samplePage().Plots()
	for name, bars := range map[string]int{"first": 4, "change": 4, "floor": 1} {
		d := xml.NewDecoder(strings.NewReader(plots[name]))
		for {
			_, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		title, _, _ := strings.Cut(plots[name], "</title>")
		if _, title, _ = strings.Cut(title, "<title>"); len(title) > 110 { // what fits the picture's width
			t.Errorf("%s has a title of %d characters: %s", name, len(title), title)
		}
		if n := strings.Count(plots[name], ": "); n < bars {
			t.Errorf("%s has %d bars, want %d\n%s", name, n, bars, plots[name])
		}
	}
}

func TestGoalsAreJudgedByTheFigures(t *testing.T) {
	ten := sampleRun(Ours, 10_000, 0, 1)
	ten.List, ten.Floor = value(0.5), &Floor{Took: 1}
	ten.Floor.Look.Took = 0.1
	p := &Page{Guest: "QEMU 6.12", Runs: []Run{ten, sampleRun(Ours, 1000, 0, 1), sampleRun(KubeProxy, 1000,
		0, 30), sampleRun(Ours, 100, 0, 2)}}
	verdicts := map[string]string{}
	var b strings.Builder
	reached(&b, rows(p.Runs), p)
	for _, line := range strings.Split(b.String(), "\n") {
		if cells := strings.Split(line, " | "); len(cells) == 4 {
			verdicts[strings.TrimPrefix(cells[0], "| ")] = cells[2] + ": " + strings.TrimSuffix(cells[3], " |")
		}
	}
	for what, want := range map[string]string{
		"first full programming, 1,000 × 5, process start to last set, rule and real server": "30 times faster: reached",
		"its own CPU (children apart)":                                            "kube-proxy's is 30 times as much: reached",
		"first full programming, 10,000 × 5, beyond the API's lists":              "1.5 times: reached",
		"system calls for it":                                                     "not measured here:",
		"one endpoint change at 10,000 × 5, API write to kernel, p99":             "15 times faster: **not reached**",
		"the same p99 beside ours at 100 × 5":                                     "0.5 times: reached",
		"restart with nothing changed at 10,000 × 5: netlink messages that write": "3: **not reached**",
		"its time": "1.00 s, the lists alone 500 ms, a bare look 100 ms: **not reached**",
	} {
		if !strings.HasPrefix(verdicts[what], want) {
			t.Errorf("%s: %q, want %q", what, verdicts[what], want)
		}
	}
	// With a hundredth of that CPU it is not reached.
	p.Runs[2].Report.First.Own = 10
	if _, good, known := goals[1].value(rows(p.Runs), p); good || !known {
		t.Error("20 times less counts as 30")
	}
}

const trace = `100 execve("/bin/ipvs-proxier", [...], ...) = 0
100 socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_GENERIC) = 5<socket:[700]>
100 socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 6<socket:[701]>
100 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 7<socket:[702]>
100 sendto(5<socket:[700]>, "", 84, 0, {...}, 12) = 84
101 recvfrom(5<socket:[700]>,  <unfinished ...>
100 getsockopt(6<socket:[701]>, SOL_IP, 0x484, "", [3096]) = 0
101 <... recvfrom resumed>"", 65536, 0, NULL, NULL) = 36
100 getsockopt(7<socket:[702]>, SOL_SOCKET, SO_ERROR, [0], [4]) = 0
102 execve("/usr/bin/iptables-save", [...], ...) = 0
102 execve("/nowhere", [...], ...) = -1 ENOENT (No such file or directory)
102 socket(AF_INET, SOCK_RAW, IPPROTO_RAW) = 3<socket:[703]>
102 getsockopt(3<socket:[703]>, SOL_IP, 0x40, "", [84]) = 0
102 exit_group(0) = ?
102 +++ exited with 0 +++
100 exit_group(0) = ?
`

func TestSystemCallsAreCountedByWhatTheyAreFor(t *testing.T) {
	if c := CountCalls(trace); c.Netlink != 5 || c.Children != 2 || c.Processes != 1 {
		t.Errorf("%+v", c)
	}
}

func TestTextTakesThePlaceOfItsKindOfGuest(t *testing.T) {
	const page = "head\n<!-- measured uml -->\nold\n<!-- end uml -->\nmiddle\n<!-- measured qemu -->\n<!-- end qemu -->\ntail\n"
	got, err := Insert(page, "uml", "new\n")
	if want := "head\n<!-- measured uml -->\n\nnew\n\n<!-- end uml -->\nmiddle\n<!-- measured qemu -->\n<!-- end qemu -->\ntail\n"; got != want || err != nil {
		t.Errorf("%v\n%s", err, got)
	}
	for _, kind := range []string{"own", "qem"} {
		if _, err := Insert(page, kind, "new"); err == nil {
			t.Errorf("%s has a place", kind)
		}
	}
	if _, err := Insert("<!-- measured uml -->\n", "uml", "new"); err == nil {
		t.Error("a place without an end is taken")
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"1,234,567": figures.Thousands(1234567), "999": figures.Thousands(999), "–1,000": figures.Thousands(-1000),
		"0":     figures.Thousands(0),
		"12 ms": duration(0.012), "1.00 s": duration(0.9999), "99.9 s": duration(99.9), "2,273 s": duration(2273),
		"1.50 ms": milliseconds(1.5), "51.0 s": milliseconds(51_000),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	r := &row{runs: []Run{{Report: &Control{Complete: value(1.0)}}, {Report: &Control{Complete: value(4.0)}}, {}}}
	if v, known := r.median(complete); v != 2.5 || !known {
		t.Errorf("the median is %v, %v", v, known)
	}
}
