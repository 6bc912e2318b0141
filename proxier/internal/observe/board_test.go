package observe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// stubCounter has two real servers, of which one drains, for every virtual server.
type stubCounter struct{ err error }

func (c stubCounter) VirtualServer(dataplane.VirtualServerID) (dataplane.VirtualServer, bool, []dataplane.Connections, error) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	return dataplane.VirtualServer{
			RealServers: []dataplane.RealServer{{Addr: b, Port: 80, Weight: 0}, {Addr: a, Port: 80, Weight: 1}},
		}, true,
		[]dataplane.Connections{{Addr: b, Port: 80, Active: 1}, {Addr: a, Port: 80, Active: 3, Inactive: 4}}, c.err
}

func (stubCounter) Close() error { return nil }

func testRow(name, scheduler string, problems ...cluster.Problem) engine.Row {
	return engine.Row{
		Name: cluster.Name{Namespace: "ns", Name: name}, Problems: problems,
		FrontEnds: []engine.FrontEndRow{{
			Front: &dataplane.FrontEnd{
				ID:   dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP},
				Kind: dataplane.ClusterIP,
				VirtualServer: dataplane.VirtualServer{
					RealServers: []dataplane.RealServer{{Addr: netip.MustParseAddr("10.0.0.1"), Port: 80, Weight: 1}},
				},
			},
			Port:       &engine.PortRow{Settings: []cluster.Setting{{Key: "scheduler", Value: scheduler, Source: "default"}}},
			Programmed: true,
		}},
	}
}

// TestHealth: 200 while starting and while all is well; 503 when something has not been done for longer than the grace;
// well again as soon as it is.
func TestHealth(t *testing.T) {
	b := NewBoard("n1", "v1", nil, Origin{})
	start := time.Unix(1e9, 0)
	failed := engine.Report{
		Failures: map[cluster.Name][]engine.Failure{{}: {{Err: errors.New("no")}}}, Pending: 1, Unsound: true,
	}
	server := httptest.NewServer(http.HandlerFunc((&Health{
		Board: b, Answered: func(string, int) {}, Node: func() (*v1.Node, bool) { return nil, false },
	}).Healthz))
	defer server.Close()
	for _, step := range []struct {
		at     time.Duration
		report *engine.Report
		want   int
	}{
		{0, nil, 200},
		{time.Second, &engine.Report{}, 200},
		{2 * time.Second, &failed, 200},
		{2*time.Second + healthGrace - 1, nil, 200},
		{2*time.Second + healthGrace, nil, 503},
		{15 * time.Second, &failed, 503},
		// Nothing failed in this pass, because nothing was tried.
		{16 * time.Second, &engine.Report{Pending: 1, Unsound: true}, 503},
		{17 * time.Second, &engine.Report{}, 200},
		{18 * time.Second, &engine.Report{Err: errors.New("blind"), Unsound: true}, 200},
		{18*time.Second + healthGrace, nil, 503},
	} {
		now := start.Add(step.at)
		b.Now = func() time.Time { return now }
		if step.report != nil {
			r := *step.report
			r.Start = now
			b.Observe(r)
		}
		response, err := http.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			LastUpdated, CurrentTime time.Time
			Healthy                  bool
		}
		err = json.NewDecoder(response.Body).Decode(&body)
		response.Body.Close()
		if err != nil || response.StatusCode != step.want || body.Healthy != (step.want == 200) ||
			!body.CurrentTime.Equal(now) {
			t.Errorf("after %s: %d %+v %v, want %d", step.at, response.StatusCode, body, err, step.want)
		}
		if body.Healthy && !body.LastUpdated.Equal(now) {
			t.Errorf("after %s: healthy, and lastUpdated is %s, want now", step.at, body.LastUpdated)
		}
	}
}

// TestStatus: the board keeps the newest row of each Service, and when it last changed, and reads connections from the
// kernel.
func TestStatus(t *testing.T) {
	counter := stubCounter{}
	b := NewBoard("n1", "v1", func() (ConnectionCounter, error) { return counter, nil },
		Origin{Mistakes: func() []string { return []string{"a.yaml: line 1: bad"} }})
	start := time.Unix(1e9, 0).UTC()
	problem := cluster.Problem{Reason: cluster.InvalidAnnotation, Field: "f", Message: "m"}
	b.Observe(engine.Report{Start: start, Changed: []engine.Row{testRow("web", "rr"), testRow("gone", "rr")}, Foreign: 2})
	b.Observe(engine.Report{Start: start.Add(time.Minute), Changed: []engine.Row{
		testRow("web", "rr", problem), {Name: cluster.Name{Namespace: "ns", Name: "gone"}, Gone: true},
	}, Draining: 1})
	server := httptest.NewServer(b)
	defer server.Close()
	fetch := func(service string) (s Status, err error) {
		response, err := http.Get(server.URL + "?service=" + service)
		if err != nil {
			return s, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return s, errors.New(response.Status)
		}
		return s, json.NewDecoder(response.Body).Decode(&s)
	}
	s, err := fetch("")
	if err != nil || len(s.Services) != 1 || !s.Healthy || s.Node != "n1" || s.Draining != 1 || len(s.Manifests) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	web := s.Services[0]
	if web.Name != "web" || !web.Changed.Equal(start) || len(web.Problems) != 1 ||
		web.Problems[0].Reason != "InvalidAnnotation" {
		t.Errorf("%+v; a new problem is no change of what is wanted", web)
	}
	want := []RealServerStatus{{
		Address: "10.0.0.1:80", Weight: 1, Active: 3, Inactive: 4, Wanted: true, State: OK,
	}, {Address: "10.0.0.2:80", Active: 1, State: Draining}}
	if got := web.FrontEnds[0].RealServers; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("real servers %+v, want %+v", got, want)
	}
	b.Observe(engine.Report{Start: start.Add(time.Hour), Changed: []engine.Row{testRow("web", "lc")}})
	if s, err = fetch("ns/web"); err != nil || !s.Services[0].Changed.Equal(start.Add(time.Hour)) ||
		s.Services[0].FrontEnds[0].Scheduler != "lc" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = fetch("ns/other"); err != nil || len(s.Services) != 0 {
		t.Errorf("of another Service: %+v, %v", s, err)
	}
	if _, err = fetch("web"); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a name without a namespace: %v", err)
	}
	now, full := start, kernel.ConnectionTable{
		Grows: true, Connections: 5, Buckets: 256, MaxBuckets: 4096, Limited: true, MaxConnections: 5,
	}
	b.Table = tableOf(&full, &now)
	if s, err = fetch(""); err != nil || s.Connections == nil || s.Connections.Connections != 5 ||
		len(s.NodeProblems) != 1 || s.NodeProblems[0].Field != "net.ipv4.vs.conn_max" {
		t.Errorf("connections %+v, problems %+v, %v; want 5 and the limit", s.Connections, s.NodeProblems, err)
	}
	b.Table = &ConnectionTable{sparing: sparing{
		now: time.Now,
	}, read: func() (kernel.ConnectionTable, error) { return kernel.ConnectionTable{}, errors.New("no table") }}
	if s, err = fetch(""); err != nil || s.Connections != nil || len(s.Errors) != 1 ||
		!strings.Contains(s.Errors[0], "no table") {
		t.Errorf("%+v, %v; want it to say that there is no table", s, err)
	}
	counter.err = errors.New("no such virtual server")
	if s, err = fetch("ns/web"); err != nil || len(s.Services[0].FrontEnds[0].RealServers) != 1 {
		t.Errorf("when the kernel cannot be read, what is wanted is shown: %+v, %v", s, err)
	}
}

// TestProblemsAreLoggedOnce, and so is their end; failures when they change, not at every retry.
func TestProblemsAreLoggedOnce(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(slog.New(slog.NewTextHandler(&out, nil)))
	problem := cluster.Problem{Reason: cluster.InvalidAnnotation, Field: "f", Message: "the-problem"}
	failed := engine.Report{Failures: map[cluster.Name][]engine.Failure{
		{Namespace: "ns", Name: "web"}: {{Err: errors.New("the-failure")}},
	}, Pending: 1}
	for range 3 {
		l.Observe(engine.Report{Changed: []engine.Row{testRow("web", "rr", problem)}, Pending: 1})
		l.Observe(failed)
		l.Observe(engine.Report{Pending: 1})
	}
	if text := out.String(); strings.Count(text, "the-problem") != 1 || strings.Count(text, "the-failure") != 1 {
		t.Errorf("logged more than once, or never:\n%s", text)
	}
	out.Reset()
	for range 2 {
		l.Observe(engine.Report{Changed: []engine.Row{testRow("web", "rr")}})
	}
	if text := out.String(); strings.Count(text, "problem is gone") != 1 || strings.Count(text, "have succeeded") != 1 {
		t.Errorf("the end is not logged once:\n%s", text)
	}
	out.Reset()
	l.Observe(engine.Report{Changed: []engine.Row{testRow("web", "rr", problem)}})
	if !strings.Contains(out.String(), "the-problem") {
		t.Error("a problem that came back is not logged")
	}
}

// TestMetrics: the metrics count what is in Reports.
func TestMetrics(t *testing.T) {
	m := NewMetrics(nil, "v1")
	problem := cluster.Problem{Reason: cluster.InvalidAnnotation}
	create := engine.OpLabel{Verb: dataplane.Create, Kind: dataplane.KindVirtualServer}
	op := dataplane.Op{Verb: dataplane.Delete, Object: dataplane.Link{Name: "l"}}
	m.Observe(engine.Report{Audit: true, Whole: true, Ops: map[engine.OpLabel]int{
		create: 2,
	}, Changed: []engine.Row{testRow("a", "rr", problem), testRow("b", "rr", problem)}, Foreign: 3})
	m.Observe(engine.Report{Ops: map[engine.OpLabel]int{create: 1},
		Changed: []engine.Row{testRow("a", "rr"), {Name: cluster.Name{Namespace: "ns", Name: "b"}, Gone: true}}, Served: 1,
		Failures: map[cluster.Name][]engine.Failure{{}: {{Op: op, Err: errors.New("no")}}}, Draining: 4, Pending: 1})
	for name, c := range map[string]struct{ got, want float64 }{
		"operations": {testutil.ToFloat64(m.ops.WithLabelValues("create", "virtual-server")), 3},
		"failures":   {testutil.ToFloat64(m.failures.WithLabelValues("delete", "link")), 1},
		"good":       {testutil.ToFloat64(m.passes.WithLabelValues("success")), 1},
		"bad":        {testutil.ToFloat64(m.passes.WithLabelValues("error")), 1},
		"audits":     {testutil.ToFloat64(m.audits.WithLabelValues()), 1},
		"services":   {testutil.ToFloat64(m.services), 1},
		"problems":   {float64(testutil.CollectAndCount(m.problems)), 0},
		"foreign":    {testutil.ToFloat64(m.foreign), 3},
		"draining":   {testutil.ToFloat64(m.draining), 4},
		"pending":    {testutil.ToFloat64(m.pending), 1},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	problems, err := testutil.GatherAndLint(m.Registry)
	for _, p := range problems {
		// That is kube-proxy's name, which is no counter there either.
		if p.Metric != "kubeproxy_sync_proxy_rules_no_local_endpoints_total" {
			t.Error(p)
		}
	}
	if err != nil {
		t.Error(err)
	}
	// The series that dashboards for kube-proxy query. A pass that fails has a duration, and is not the last good one.
	timed := NewMetrics(nil, "v1")
	timed.Observe(engine.Report{Start: time.Unix(1000, 0), Duration: 500 * time.Millisecond})
	timed.Observe(engine.Report{Start: time.Unix(2000, 0), Duration: 250 * time.Millisecond, Err: errors.New("no")})
	if got := testutil.ToFloat64(timed.syncLast); got != 1000.5 {
		t.Errorf("the last sync was at %v, want 1000.5", got)
	}
	all, err := timed.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	syncs, took := uint64(0), 0.0
	for _, family := range all {
		if family.GetName() == "kubeproxy_sync_proxy_rules_duration_seconds" {
			h := family.GetMetric()[0].GetHistogram()
			syncs, took = h.GetSampleCount(), h.GetSampleSum()
		}
	}
	if syncs != 2 || took != 0.75 {
		t.Errorf("%d syncs of %v s together, want 2 of 0.75", syncs, took)
	}
	// Problems have series of their Service's, which go with them.
	two := []cluster.Problem{{Reason: cluster.InvalidField, Field: "a"}, {Reason: cluster.InvalidField, Field: "b"}}
	for _, step := range []struct {
		row  engine.Row
		want string
	}{
		{testRow("web", "rr", append(two, problem)...), `web InvalidAnnotation 1, web InvalidField 2`},
		{testRow("other", "rr", problem), `other InvalidAnnotation 1, web InvalidAnnotation 1, web InvalidField 2`},
		{testRow("web", "rr", two[0]), `other InvalidAnnotation 1, web InvalidField 1`},
		{engine.Row{Name: cluster.Name{Namespace: "ns", Name: "web"}, Gone: true}, `other InvalidAnnotation 1`},
		{testRow("other", "rr"), ``},
	} {
		m.Observe(engine.Report{Changed: []engine.Row{step.row}})
		if got := problemSeries(t, m); got != step.want {
			t.Errorf("series %q, want %q", got, step.want)
		}
	}
	// Row 59: the gauge follows what becomes of a Service.
	local := testRow("local", "rr")
	for _, step := range []struct{ internal, external int }{{1, 2}, {0, 1}, {0, 0}} {
		local.NoLocalInternal, local.NoLocalExternal = step.internal, step.external
		m.Observe(engine.Report{Changed: []engine.Row{local}})
		internal, external := testutil.ToFloat64(m.noLocal.WithLabelValues("internal")), testutil.ToFloat64(m.noLocal.WithLabelValues("external"))
		if internal != float64(step.internal) || external != float64(step.external) {
			t.Errorf("no local endpoints: internal %v, external %v, want %+v", internal, external, step)
		}
	}
}

// problemSeries returns the series of Problems, sorted, without their namespace.
func problemSeries(t *testing.T, m *Metrics) string {
	t.Helper()
	all, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var series []string
	for _, family := range all {
		if family.GetName() == "ipvs_proxier_problems" {
			for _, one := range family.GetMetric() {
				labels := map[string]string{}
				for _, l := range one.GetLabel() {
					labels[l.GetName()] = l.GetValue()
				}
				series = append(series, fmt.Sprintf("%s %s %v", labels["service"], labels["reason"], one.GetGauge().GetValue()))
			}
		}
	}
	slices.Sort(series)
	return strings.Join(series, ", ")
}
