package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/events"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/observe"
)

// What is here holds of the engine together with what observes it, which package engine does not know.

// textLog returns a log and its text.
func textLog() (*slog.Logger, *bytes.Buffer) {
	var text bytes.Buffer
	return slog.New(slog.NewTextHandler(&text, nil)), &text
}

// TestHostileObjects: the log of what the worst objects come to is short, and each of its lines can be printed.
func TestHostileObjects(t *testing.T) {
	engine.CheckHostileObjects(t, func(t *testing.T, _ cluster.Name, reports []engine.Report) {
		t.Helper()
		log, text := textLog()
		observer := observe.NewLog(log)
		for _, r := range reports {
			observer.Observe(r)
		}
		if n := text.Len(); n > 64<<10 {
			t.Errorf("%d bytes of log", n)
		}
		for line := range strings.Lines(text.String()) {
			if len(line) > 4*budget.MessageBytes ||
				budget.Printable(strings.TrimSuffix(line, "\n")) != strings.TrimSuffix(line, "\n") {
				t.Errorf("a line of %d bytes: %.200s", len(line), line)
			}
		}
	})
}

// TestManyFailuresAreTold: a line of the log has an end, however much fails.
func TestManyFailuresAreTold(t *testing.T) {
	log, text := textLog()
	engine.CheckManyFailures(t, observe.NewLog(log))
	for line := range strings.Lines(text.String()) {
		if len(line) > 2*budget.LineBytes {
			t.Errorf("a line of %d bytes: %.200s", len(line), line)
		}
	}
	if !strings.Contains(text.String(), "some operations failed") {
		t.Error("the log says nothing of a failure")
	}
}

// TestDriftIsNamed: the log names what drifted, with its Service, and not more than a few; the metric counts all of it.
// A start is no drift, nor is an audit that finds nothing.
func TestDriftIsNamed(t *testing.T) {
	log, text := textLog()
	m := observe.NewMetrics(nil, "v1")
	engine.CheckDrift(t, observe.NewLog(log), m)
	var warnings []string
	for line := range strings.Lines(text.String()) {
		if strings.Contains(line, "level=WARN") {
			warnings = append(warnings, line)
		}
	}
	const all = engine.DriftedServices * (1 + 5)
	if len(warnings) != 1 {
		t.Fatalf("%d warnings, want 1: %q", len(warnings), warnings)
	}
	for _, words := range []string{fmt.Sprint("count=",
		all), "create virtual-server tcp 10.96.0.1:80 rr (service default/s0)", fmt.Sprintf("and %d more", all-5)} {
		if !strings.Contains(warnings[0], words) {
			t.Errorf("the warning does not say %q: %s", words, warnings[0])
		}
	}
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, family := range families {
		if family.GetName() == "ipvs_proxier_drift_repaired_total" {
			for _, one := range family.GetMetric() {
				counts[one.GetLabel()[0].GetValue()] = one.GetCounter().GetValue()
			}
		}
	}
	want := map[string]float64{"virtual-server": engine.DriftedServices, "real-server": 5 * engine.DriftedServices}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("the metric (-want +got):\n%s", diff)
	}
}

// during calls a function while the contest of CheckContest goes on.
type during struct{ check func() }

func (during) Observe(engine.Report) {}
func (d during) During()             { d.check() }

// TestAContestIsToldOnce: the log has each repair up to the one that makes it a contest, then one line that names
// object, Service and writer, none for later repairs, and one for the end. The metric counts it meanwhile.
func TestAContestIsToldOnce(t *testing.T) {
	log, text := textLog()
	m := observe.NewMetrics(nil, "v1")
	contested := func() (n float64) {
		families, err := m.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, one := range family.GetMetric() {
				if family.GetName() == "ipvs_proxier_contested_objects" && one.GetLabel()[0].GetValue() == "virtual-server" {
					n = one.GetGauge().GetValue()
				}
			}
		}
		return n
	}
	engine.CheckContest(t, observe.NewLog(log), m, during{func() {
		if n := contested(); n != 1 {
			t.Errorf("meanwhile the metric is %v", n)
		}
	}})
	if n := contested(); n != 0 {
		t.Errorf("at last the metric is %v", n)
	}
	var problems, ends []string
	drift := 0
	for line := range strings.Lines(text.String()) {
		switch {
		case strings.Contains(line, "drift is repaired"):
			drift++
		case strings.Contains(line, "msg=problem "):
			problems = append(problems, line)
		case strings.Contains(line, `msg="problem is gone"`):
			ends = append(ends, line)
		}
	}
	if drift != 5 || len(problems) != 1 || len(ends) != 1 {
		t.Fatalf("%d lines of drift, %d of the begin, %d of the end, want 5, 1 and 1:\n%s",
			drift, len(problems), len(ends), text)
	}
	for _, words := range []string{
		"level=WARN", "reason=Contested", "virtual-server tcp 10.96.0.1:80", "service default/s0",
		"kube-proxy runs here (process 7)",
	} {
		if !strings.Contains(problems[0], words) {
			t.Errorf("the log does not say %q: %s", words, problems[0])
		}
	}
}

// TestHealthIsTheNodes: what the kernel refuses of Services is their Problem. It touches health only where it is so
// much that it must be the node. What all Services stand on does.
func TestHealthIsTheNodes(t *testing.T) {
	engine.CheckHealthIsTheNodes(t, watchHealth)
}

// TestHealthOfWhatChanges: half of the Services that change decide, and no tenant alone.
func TestHealthOfWhatChanges(t *testing.T) { engine.CheckHealthOfWhatChanges(t, watchHealth) }

func watchHealth(now func() time.Time) engine.HealthWatch {
	b := observe.NewBoard("n1", "v1", nil, observe.Origin{})
	b.Now = now
	return healthWatch{
		b, &observe.Health{Board: b, Node: func() (*v1.Node, bool) { return nil, false }, Answered: func(string, int) {}},
	}
}

type healthWatch struct {
	*observe.Board
	health *observe.Health
}

func (w healthWatch) Answers() (healthz, livez int) {
	a, b := httptest.NewRecorder(), httptest.NewRecorder()
	w.health.Healthz(a, nil)
	w.health.Livez(b, nil)
	return a.Code, b.Code
}

// TestWrongValuesAreTold: wrong values of every key of Services, alone and combined, change nothing in the kernel; each
// is reported by an Event, counted by the gauge and shown by status, and Recovered follows when they are corrected.
func TestWrongValuesAreTold(t *testing.T) {
	engine.CheckWrongValues(t, func(t *testing.T) engine.ProblemWatch { return newProblemWatch(t) })
}

// TestRefusalsAreTold: what the kernel refuses of a Service again and again is reported by one Event, counted by the
// gauge and shown by status, also after audits, and Recovered follows once, when the kernel takes it. So it is with a
// front end that is not served because nothing would keep clients to its source ranges.
func TestRefusalsAreTold(t *testing.T) {
	engine.CheckRefusals(t, func(t *testing.T) engine.RefusalWatch { return newProblemWatch(t) })
}

func newProblemWatch(t *testing.T) *problemWatch {
	w := &problemWatch{
		T: t, metrics: observe.NewMetrics(nil, "v1"), client: &eventList{},
		board: observe.NewBoard("n1", "v1", func() (observe.ConnectionCounter, error) { return noRealServers{}, nil },
			observe.Origin{Mistakes: func() []string { return nil }}),
	}
	sink := events.NewSink(w.client, slog.New(slog.DiscardHandler), func(string) {})
	go sink.Run(t.Context())
	w.events = events.New("n1", sink, func() []string { return []string{"n1"} })
	server := httptest.NewServer(w.board)
	t.Cleanup(server.Close)
	w.address = strings.TrimPrefix(server.URL, "http://")
	return w
}

// problemWatch is all that shows Problems to users.
type problemWatch struct {
	*testing.T
	events  *events.Observer
	client  *eventList
	metrics *observe.Metrics
	board   *observe.Board
	address string
}

func (w *problemWatch) Observe(r engine.Report) {
	for _, o := range []engine.Observer{w.events, w.metrics, w.board} {
		o.Observe(r)
	}
}

func (w *problemWatch) Wrong(annotations map[string]string) {
	status, err := proxier.FetchStatus(w.Context(), w.address, "ns/web")
	if err != nil {
		w.Fatal(err)
	}
	for name := range annotations {
		field := annotation.Field(annotation.Prefix + name)
		if !slices.ContainsFunc(
			status.Services[0].Problems,
			func(p proxier.ProblemStatus) bool { return p.Reason == "InvalidAnnotation" && p.Field == field },
		) {
			w.Errorf("status does not show %s: %+v", name, status.Services[0].Problems)
		}
		w.client.await(w.T, v1.EventTypeWarning, "InvalidAnnotation", annotation.Prefix+name)
	}
	if want := fmt.Sprintf("web InvalidAnnotation %d", len(annotations)); !strings.Contains(w.series(), want) {
		w.Errorf("the gauge has %q, want %q", w.series(), want)
	}
}

func (w *problemWatch) Told(reasons map[string]string) {
	status, err := proxier.FetchStatus(w.Context(), w.address, "ns/web")
	if err != nil {
		w.Fatal(err)
	}
	for reason, field := range reasons {
		if !slices.ContainsFunc(
			status.Services[0].Problems, func(p proxier.ProblemStatus) bool { return p.Reason == reason && p.Field == field },
		) {
			w.Errorf("status does not show %s %s: %+v", reason, field, status.Services[0].Problems)
		}
		w.client.await(w.T, v1.EventTypeWarning, reason, field)
		if want := "web " + reason + " 1"; !strings.Contains(w.series(), want) {
			w.Errorf("the gauge has %q, want %q", w.series(), want)
		}
	}
	if got := strings.Count(w.series(), "web "); got != len(reasons) {
		w.Errorf("the gauge has %q, want %d reasons", w.series(), len(reasons))
	}
}

func (w *problemWatch) Recovered(times int) {
	w.Mended()
	if got := w.client.count(v1.EventTypeNormal, "Recovered"); got != times {
		w.Errorf("%d Events say Recovered, want %d", got, times)
	}
}

func (w *problemWatch) Mended() {
	if got := w.series(); got != "" {
		w.Errorf("corrected, the gauge has %q", got)
	}
	w.client.await(w.T, v1.EventTypeNormal, "Recovered", "")
}

// series returns what the gauge of Problems has of Services.
func (w *problemWatch) series() string {
	all, err := w.metrics.Registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	var series []string
	for _, family := range all {
		if family.GetName() != "ipvs_proxier_problems" {
			continue
		}
		for _, one := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range one.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			series = append(series, fmt.Sprintf("%s %s %v", labels["service"], labels["reason"], one.GetGauge().GetValue()))
		}
	}
	return strings.Join(series, ", ")
}

// eventList is an API that takes Events.
type eventList struct {
	mu  sync.Mutex
	all []*eventsv1.Event
}

func (l *eventList) Create(_ context.Context, event *eventsv1.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, event)
	return nil
}

// await waits for an Event whose note or field has these words.
func (l *eventList) await(t *testing.T, kind, reason, words string) {
	t.Helper()
	there := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.ContainsFunc(l.all, func(e *eventsv1.Event) bool {
			return e.Type == kind && e.Reason == reason && strings.Contains(e.Regarding.FieldPath+e.Note, words)
		})
	}
	for end := time.Now().Add(time.Minute); !there(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no Event %s %s of %q", kind, reason, words)
		}
	}
}

// count returns how many such Events have come.
func (l *eventList) count(kind, reason string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.all {
		if e.Type == kind && e.Reason == reason {
			n++
		}
	}
	return n
}

// noRealServers is a kernel whose virtual servers have none.
type noRealServers struct{}

func (noRealServers) VirtualServer(dataplane.VirtualServerID) (dataplane.VirtualServer, bool, []dataplane.Connections, error) {
	return dataplane.VirtualServer{}, false, nil, errors.New("no kernel")
}

func (noRealServers) Close() error { return nil }

// TestSysctlsAreToldOnce: the pass that changes a parameter says so with its old value, and the next one says nothing.
func TestSysctlsAreToldOnce(t *testing.T) {
	memory := kernel.NewMemory()
	memory.State().Sysctls["net.ipv4.ip_forward"] = "0"
	memory.State().Sysctls["net.ipv4.vs.conntrack"] = "1"
	e := engine.New(engine.Settings{
		Dataplane: dataplane.Config{Link: "kube-ipvs0", Families: []cluster.Family{cluster.IPv4}},
	}, memory, engine.NoObjects())
	var out bytes.Buffer
	observer := observe.NewLog(slog.New(slog.NewTextHandler(&out, nil)))
	told := func() (lines []string) {
		observer.Observe(e.Pass(time.Unix(0, 0), nil, true))
		for line := range strings.Lines(out.String()) {
			if _, of, found := strings.Cut(line, `msg="sysctl is changed" `); found {
				lines = append(lines, strings.TrimSpace(of))
			}
		}
		out.Reset()
		return lines
	}
	want := []string{
		`name=net.ipv4.ip_forward old=0 new=1`, `name=net.ipv4.vs.expire_nodest_conn old="" new=1`,
		`name=net.ipv4.vs.expire_quiescent_template old="" new=1`,
	}
	if diff := cmp.Diff(want, told()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again := told(); len(again) > 0 {
		t.Errorf("logged again: %q", again)
	}
	memory.State().Sysctls["net.ipv4.vs.conntrack"] = "0"
	if diff := cmp.Diff([]string{`name=net.ipv4.vs.conntrack old=0 new=1`}, told()); diff != "" {
		t.Errorf("after somebody else's change (-want +got):\n%s", diff)
	}
}
