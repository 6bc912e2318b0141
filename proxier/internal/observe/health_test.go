package observe

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/internal/testport"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/servicehealth"
)

// TestEligibility (row 124): /healthz makes load balancers leave a node that is about to go; /livez does not depend on
// that.
func TestEligibility(t *testing.T) {
	now := metav1.NewTime(time.Unix(1e9, 0))
	node := func(change func(*v1.Node)) *v1.Node {
		n := &v1.Node{}
		change(n)
		return n
	}
	taint := func(key string) func(*v1.Node) {
		return func(n *v1.Node) { n.Spec.Taints = []v1.Taint{{Key: key, Effect: v1.TaintEffectNoSchedule}} }
	}
	for name, c := range map[string]struct {
		node     *v1.Node
		expected bool
		want     bool
	}{
		"a node":                       {node(func(*v1.Node) {}), true, true},
		"another taint":                {node(taint("dedicated")), true, true},
		"the autoscaler's taint":       {node(taint("ToBeDeletedByClusterAutoscaler")), true, false},
		"being deleted":                {node(func(n *v1.Node) { n.DeletionTimestamp = &now }), true, false},
		"missing":                      {nil, true, false},
		"no Nodes to be found (files)": {nil, false, true},
	} {
		counted := ""
		h := &Health{
			Board: NewBoard("n1", "v1", nil, Origin{}), Families: []cluster.Family{cluster.IPv4, cluster.IPv6},
			Node:     func() (*v1.Node, bool) { return c.node, c.expected },
			Answered: func(path string, status int) { counted += fmt.Sprintf("%s %d;", path, status) },
		}
		healthz, livez := httptest.NewRecorder(), httptest.NewRecorder()
		h.Healthz(healthz, nil)
		h.Livez(livez, nil)
		want := http.StatusOK
		if !c.want {
			want = http.StatusServiceUnavailable
		}
		var body, live healthBody
		if err := errors.Join(
			json.Unmarshal(healthz.Body.Bytes(), &body), json.Unmarshal(livez.Body.Bytes(), &live),
		); err != nil {
			t.Fatal(err)
		}
		if healthz.Code != want || body.NodeEligible == nil || *body.NodeEligible != c.want || !body.Healthy ||
			len(body.Status) != 2 || !body.Status["IPv6"].Healthy {
			t.Errorf("%s: /healthz %d %+v", name, healthz.Code, body)
		}
		if livez.Code != http.StatusOK || live.NodeEligible != nil {
			t.Errorf("%s: /livez %d %+v", name, livez.Code, live)
		}
		if counted != fmt.Sprintf("healthz %d;livez 200;", want) {
			t.Errorf("%s: counted %s", name, counted)
		}
	}
}

// TestLiveness (rows 125, B29, B30): /livez turns bad later than /healthz, and when a pass hangs, or
// the reading of an audit.
func TestLiveness(t *testing.T) {
	start := time.Unix(1e9, 0)
	now := start
	passing, reading := &engine.Stopwatch{}, &engine.Stopwatch{}
	h := &Health{Board: NewBoard("n1", "v1", nil, Origin{}), Node: func() (*v1.Node, bool) { return nil, false },
		Answered: func(string, int) {},
		Works:    []*engine.Stopwatch{passing, reading}}
	h.Board.Now = func() time.Time { return now }
	check := func(what string, healthz, livez int) {
		t.Helper()
		a, b := httptest.NewRecorder(), httptest.NewRecorder()
		h.Healthz(a, nil)
		h.Livez(b, nil)
		if h.Healthy() != (healthz == 200) {
			t.Errorf("%s: health check node ports say healthy %v, and /healthz %d", what, h.Healthy(), healthz)
		}
		if a.Code != healthz || b.Code != livez {
			t.Errorf("%s: %d and %d, want %d and %d", what, a.Code, b.Code, healthz, livez)
		}
	}
	h.Board.Observe(engine.Report{Start: start, Err: errors.New("the kernel refuses"), Unsound: true})
	now = start.Add(healthGrace)
	check("failing for a while", 503, 200)
	now = start.Add(liveGrace)
	check("failing for long", 503, 503)
	h.Board.Observe(engine.Report{Start: now})
	check("repaired", 200, 200)
	passing.Start(now)
	now = now.Add(hangGrace)
	check("a long pass", 200, 200)
	now = now.Add(time.Second)
	check("a pass that hangs", 503, 503)
	passing.Stop()
	check("and ends after all", 200, 200)
	reading.Start(now)
	now = now.Add(hangGrace)
	check("a long reading of an audit", 200, 200)
	now = now.Add(time.Second)
	check("a reading that hangs", 503, 503)
	reading.Stop()
	check("and ends as well", 200, 200)
}

// TestHealthChecks: ports open with the rows of their Services, answer by the newest row, and close when it is gone.
func TestHealthChecks(t *testing.T) {
	port := testport.Free(t)
	checks := NewHealthChecks(servicehealth.Config{
		Healthy: func() bool { return true }, Report: func(_ servicehealth.Service, _ uint16, err error) { t.Error(err) },
	})
	t.Cleanup(checks.Servers.Close)
	row := testRow("web", "rr")
	ask := func() int {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			return 0
		}
		response.Body.Close()
		return response.StatusCode
	}
	for _, step := range []struct{ ready, want int }{{1, 200}, {0, 503}, {3, 200}} {
		row.HealthCheckPort, row.LocalReady.IPv4 = port, step.ready
		checks.Observe(engine.Report{Changed: []engine.Row{row}})
		if got := ask(); got != step.want {
			t.Errorf("%d endpoints: %d, want %d", step.ready, got, step.want)
		}
	}
	checks.Observe(engine.Report{Changed: []engine.Row{{Name: row.Name, Gone: true}}})
	if got := ask(); got != 0 {
		t.Errorf("the Service is gone: %d", got)
	}
}
