package proxier

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// TestTimesOfPasses: a change counts when it is in the kernel, from its first arrival on, also when that takes more than one pass.
func TestTimesOfPasses(t *testing.T) {
	s := newScenario(t, 0, 0)
	refuse := true
	s.engine.kernel = &brokenKernel{Kernel: s.memory, refuse: func(op dataplane.Op) bool {
		_, is := op.Object.(dataplane.VirtualServerObject)
		return refuse && is
	}}
	var reports []Report
	l := &loop{engine: s.engine, health: &health{board: newBoard("n1", "v1", nil, opened{}), answered: func(string, int) {}}, waiting: map[cluster.Name]source.Change{},
		observers: []Observer{observerFunc(func(r Report) { reports = append(reports, r) })}}
	m := newMetrics(nil, "v1")
	l.observers = append(l.observers, m)
	name := s.apply([]byte(mistaken))[0]
	now := time.Now()
	l.pass(nil, nil, true)
	l.pass([]source.Change{{Name: name, Arrived: now.Add(-time.Minute), Triggered: []time.Time{now.Add(-time.Hour)}}}, nil, false)
	if r := reports[1]; len(r.Changes) != 0 || r.Error() == nil {
		t.Fatalf("a change that the kernel refused counts: %+v, %v", r.Changes, r.Error())
	}
	refuse = false
	l.pass([]source.Change{{Name: name, Arrived: now, Triggered: []time.Time{now.Add(-time.Second)}}}, nil, false)
	r := reports[2]
	if len(r.Changes) != 1 || r.Error() != nil || r.Compile <= 0 || r.Kernel <= 0 {
		t.Fatalf("%+v, %v", r, r.Error())
	}
	c := r.Changes[0]
	if c.Queue < time.Minute || c.Total < c.Queue || len(c.Programmed) != 2 || c.Programmed[0] < time.Hour || c.Watch[0] != time.Hour-time.Minute || c.Programmed[1] < time.Second {
		t.Errorf("times %+v", c)
	}
	l.pass(nil, nil, false)
	if len(reports[3].Changes) != 0 || len(l.waiting) != 0 {
		t.Errorf("it counts again: %+v, %v", reports[3].Changes, l.waiting)
	}
	for series, want := range map[string]uint64{"queue": 1, "total": 1, "watch": 2, "compile": 1, "kernel": 1, "": 2} {
		if got := samples(t, m, series); got != want {
			t.Errorf("stage %q has %d samples, want %d", series, got, want)
		}
	}
}

// TestSourcesFollowTheNodesAddresses at once: routes prefer the node's address as long as it has it, also where nothing else depends on it.
func TestSourcesFollowTheNodesAddresses(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.mode = dataplane.ByRoute
	s.restart()
	passes := 0
	l := &loop{engine: s.engine, health: &health{board: newBoard("n1", "v1", nil, opened{}), answered: func(string, int) {}}, waiting: map[cluster.Name]source.Change{},
		observers: []Observer{observerFunc(func(Report) { passes++ })}}
	s.apply([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n"))
	s.apply([]byte("apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: 192.168.50.7}]}\n"))
	all := s.memory.Addresses
	l.pass(nil, nil, true)
	own := netip.MustParseAddr("192.168.50.7")
	for i, c := range []struct {
		addresses []netip.Addr
		want      netip.Addr
	}{{append(slices.Clone(all), own), own}, {all, netip.Addr{}}} {
		s.memory.Addresses = c.addresses
		l.look()
		routes := s.memory.State().Routes
		for vip, got := range routes {
			if got != c.want {
				t.Errorf("step %d: the route of %s prefers %v, want %v", i, vip, got, c.want)
			}
		}
		if len(routes) == 0 || passes != i+2 {
			t.Errorf("step %d: %d routes, %d passes", i, len(routes), passes)
		}
	}
	l.look()
	if passes != 3 {
		t.Errorf("a look at what has not changed makes a pass")
	}
}

// TestBlindPassesTime: nothing is in the kernel when that cannot be read.
func TestBlindPassesTime(t *testing.T) {
	l := &loop{waiting: map[cluster.Name]source.Change{}}
	r := Report{Err: errors.New("no")}
	l.time(&r, []source.Change{{Name: cluster.Name{Namespace: "ns", Name: "web"}}})
	if len(r.Changes) != 0 || len(l.waiting) != 1 {
		t.Errorf("%+v, %v", r.Changes, l.waiting)
	}
}

type observerFunc func(Report)

func (f observerFunc) Observe(r Report) { f(r) }

// samples returns how many changes the stage has; "" is kube-proxy's metric.
func samples(t *testing.T, m *metrics, stage string) uint64 {
	t.Helper()
	all, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		for _, one := range family.GetMetric() {
			if stage == "" && family.GetName() == "kubeproxy_network_programming_duration_seconds" ||
				family.GetName() == "ipvs_proxier_change_duration_seconds" && one.GetLabel()[0].GetValue() == stage {
				return one.GetHistogram().GetSampleCount()
			}
		}
	}
	t.Fatalf("there is no stage %q", stage)
	return 0
}
