package engine

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// withRunner has the scenario's large Services made beside the passes, when all of the jobs are done by finish.
func (s *scenario) withRunner() (finish func()) {
	s.runner = &stepRunner{}
	s.restart()
	return func() {
		for len(s.runner.jobs) > 0 {
			s.runner.jobs[0]()
			s.runner.jobs = s.runner.jobs[1:]
		}
	}
}

// large makes only the hostile Service a large one.
func (s *scenario) onlyLarge(bytes int) {
	s.engine.large = func(service, slices int) bool { return service+slices > bytes }
}

// TestLargeServiceIsMadeBeside the passes: meanwhile it has what it had, others change, and the loop rests; then it has
// what passes would have given it.
func TestLargeServiceIsMadeBeside(t *testing.T) {
	h := newHostile().ports(20).endpoints(20, 20, "n2")
	s := newScenario(t, 0, 0)
	finish := s.withRunner()
	s.onlyLarge(1000)
	s.converge(s.apply([]byte(manyServices(3))), true)
	s.engine.lister = hostileLister{s.objects, h.slices}
	id := frontEndAt("10.97.0.1", 1)
	l := &Loop{engine: s.engine, audits: &auditor{}}
	for i, limit := range []string{"3", "5"} {
		h.annotate("ipvs-proxier.io/max-connections", limit)
		s.objects.services[hostileName] = h.service.DeepCopy()
		before := slices.Clone(s.memory.State().VirtualServers[id].RealServers)
		r := s.engine.Pass(s.now, append(s.apply([]byte(sliceOf(1, 6+i))), hostileName), false)
		if n := len(ready(s.memory.State().VirtualServers[frontEndAt("10.96.0.2", 80)])); n != 6+i || r.Backlog == 0 {
			t.Errorf("another Service has %d endpoints, %d wait", n, r.Backlog)
		}
		if !slices.Equal(before, s.memory.State().VirtualServers[id].RealServers) {
			t.Error("it is made, and the kernel has changed")
		}
		if wait := l.wait(s.now); wait == 0 || !s.engine.waits(hostileName) {
			t.Errorf("the loop waits for %v, the change counts as waiting: %t", wait, s.engine.waits(hostileName))
		}
		if slices.ContainsFunc(r.Changed, func(row Row) bool { return row.Name == hostileName && row.Gone }) {
			t.Error("a Service that is to come is reported as gone")
		}
		finish()
		s.converge(nil, false)
		list := s.memory.State().VirtualServers[id].RealServers
		for _, has := range list {
			if want := uint32(3 + 2*i); has.Upper != want {
				t.Errorf("%v has another limit than %d", has, want)
			}
		}
		if len(list) != 20 {
			t.Errorf("%d real servers", len(list))
		}
	}
}

// TestMadeOfWhatIsNoMore: what was made of a Service that is gone is not taken, nor what was made for a node that has
// other addresses now; what is newer and small counts, and what has changed meanwhile is made again.
func TestMadeOfWhatIsNoMore(t *testing.T) {
	id := frontEndAt("10.97.0.1", 1)
	begin := func(t *testing.T) (s *scenario, h *hostileObjects, finish func()) {
		h = newHostile().ports(2).endpoints(2, 20, "n2")
		h.service.Spec.Ports[0].NodePort = 30001
		s = newScenario(t, 0, 0)
		finish = s.withRunner()
		s.onlyLarge(500)
		s.converge(nil, true)
		s.engine.lister = hostileLister{s.objects, h.slices}
		s.objects.services[hostileName] = h.service
		if r := s.engine.Pass(s.now, []cluster.Name{hostileName}, false); r.Backlog != 1 {
			t.Fatalf("%d wait", r.Backlog)
		}
		return s, h, finish
	}
	t.Run("gone", func(t *testing.T) {
		s, _, finish := begin(t)
		delete(s.objects.services, hostileName)
		s.engine.lister = s.objects
		s.engine.Pass(s.now, []cluster.Name{hostileName}, false)
		finish()
		if s.converge(nil, false); len(s.memory.State().VirtualServers) > 0 {
			t.Error("a Service that is gone is served")
		}
	})
	t.Run("small", func(t *testing.T) {
		s, h, finish := begin(t)
		s.engine.lister = s.objects
		small := h.service.DeepCopy()
		small.Spec.Ports[0].Port = 7
		s.objects.services[hostileName] = small
		s.onlyLarge(1 << 20)
		s.engine.Pass(s.now, []cluster.Name{hostileName}, false)
		finish()
		s.converge(nil, false)
		if _, old := s.memory.State().VirtualServers[id]; old {
			t.Error("what was made before has replaced what is newer")
		}
	})
	t.Run("node", func(t *testing.T) {
		s, _, finish := begin(t)
		finish()
		s.memory.Addresses = []netip.Addr{netip.MustParseAddr("192.168.50.7")}
		if dirty, err := s.engine.readAddresses(); err != nil || len(dirty) > 0 {
			t.Fatal(dirty, err)
		}
		s.engine.Pass(s.now, nil, false)
		finish()
		s.converge(nil, false)
		state := s.memory.State()
		if _, has := state.VirtualServers[frontEndAt("192.168.50.1", 30001)]; has {
			t.Error("it is served at an address that the node does not have any more")
		}
		if _, has := state.VirtualServers[frontEndAt("192.168.50.7", 30001)]; !has {
			t.Error("it is not served at an address that has come")
		}
	})
	t.Run("changed", func(t *testing.T) {
		s, h, finish := begin(t)
		changed := h.service.DeepCopy()
		s.engine.Pass(s.now, []cluster.Name{hostileName}, false)
		finish() // with the objects as they were
		changed.Spec.Ports[1].Port = 9
		s.objects.services[hostileName] = changed
		s.engine.Pass(s.now, nil, false)
		if _, has := s.memory.State().VirtualServers[id]; !has {
			t.Error("what was made was not taken")
		}
		finish()
		s.converge(nil, false)
		if _, has := s.memory.State().VirtualServers[frontEndAt("10.97.0.1", 9)]; !has {
			t.Error("what has changed was not made again")
		}
	})
}

// TestMadeWithWhatIsInForce: a restart leaves the scheduler that the kernel runs where the annotation is wrong, also
// where the Service is made beside.
func TestMadeWithWhatIsInForce(t *testing.T) {
	h := newHostile().ports(2).endpoints(2, 20, "n2").annotate("ipvs-proxier.io/scheduler", "lc")
	s := newScenario(t, 0, 0)
	s.engine.lister = hostileLister{s.objects, h.slices}
	s.objects.services[hostileName] = h.service
	s.converge(nil, true)
	h.annotate("ipvs-proxier.io/scheduler", "fastest")
	finish := s.withRunner()
	s.engine.lister = hostileLister{s.objects, h.slices}
	for range 3 { // made, made with answers, taken
		s.engine.Pass(s.now, nil, false)
		finish()
	}
	s.converge(nil, false)
	if got := s.memory.State().VirtualServers[frontEndAt("10.97.0.1", 1)].Scheduler; got != "lc" {
		t.Errorf("scheduler %s is in force, want lc", got)
	}
}

// TestBackgroundRunner does all jobs in their order, and calls done after each.
func TestBackgroundRunner(t *testing.T) {
	told := make(chan struct{}, 100)
	m := newBackgroundRunner(t.Context(), func() { told <- struct{}{} })
	var done []int
	for i := range 100 {
		m.start(func() { m.pause(); done = append(done, i) })
	}
	for range 100 {
		select {
		case <-told:
		case <-time.After(time.Minute):
			t.Fatal("a job is not done")
		}
	}
	if !slices.IsSorted(done) || len(done) != 100 {
		t.Errorf("done were %v", done)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	newBackgroundRunner(ended, func() { t.Error("a job is done after the end") })
}

// TestLarge: ordinary Services are made by the pass itself.
func TestLarge(t *testing.T) {
	for _, c := range []struct {
		service, slices int
		want            bool
	}{
		{500, 500, false}, {600, 12_000, false}, {600, 20_000, true},
		{0, 100_000, false}, {300_000, 0, true}, {40_000, 40_000, true},
	} {
		if got := large(c.service, c.slices); got != c.want {
			t.Errorf("%d and %d bytes: %t, want %t", c.service, c.slices, got, c.want)
		}
	}
	for _, c := range []struct {
		frontEnds, slices int
		want              bool
	}{
		{0, 1 << 20, false}, {4, 100_000, false}, {512, 0, false}, {513, 0, true}, {512, 5000, true},
	} {
		if got := largeFor(c.frontEnds, c.slices); got != c.want {
			t.Errorf("%d front ends and %d bytes of endpoints: %t, want %t", c.frontEnds, c.slices, got, c.want)
		}
	}
}

// TestManyFrontEndsAreMadeBeside: a Service of few bytes that asks for many front ends is not compiled by the pass.
func TestManyFrontEndsAreMadeBeside(t *testing.T) {
	for _, c := range []struct {
		name         string
		ports, addrs int
		nodePort     int32
		want         bool
	}{
		{"few", 20, 20, 0, false}, {"many addresses", 4, 200, 0, true}, {"many ports", 300, 1, 0, true},
		{"node ports", 250, 1, 30001, true},
	} {
		h := newHostile().ports(c.ports).balancers(c.addrs)
		h.service.Spec.Ports[0].NodePort = c.nodePort
		s := newScenario(t, 0, 0)
		finish := s.withRunner()
		s.engine.large = large
		s.converge(nil, true)
		s.objects.services[hostileName] = h.service
		s.engine.Pass(s.now, []cluster.Name{hostileName}, false)
		if got := s.engine.compiling[hostileName] != nil; got != c.want {
			t.Errorf("%s: is made beside the passes: %t, want %t", c.name, got, c.want)
		}
		finish()
		s.converge(nil, false)
		if _, served := s.memory.State().VirtualServers[frontEndAt("198.18.0.1", 1)]; !served {
			t.Errorf("%s: it is not served", c.name)
		}
	}
}
