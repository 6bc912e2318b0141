package engine

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// bigOthers is a scenario of some small Services beside a big one, in pieces of so many objects.
func bigOthers(t *testing.T, h *hostileObjects, objects, servers int) *scenario {
	t.Helper()
	s := newScenario(t, 0, 0)
	s.engine.pieces.objects, s.engine.pieces.servers = objects, servers
	s.converge(s.apply([]byte(manyServices(5))), true)
	s.engine.lister = hostileLister{s.objects, h.slices}
	s.objects.services[hostileName] = h.service
	return s
}

// passes makes passes until nothing is left, and returns the operations of each.
func (s *scenario) passes(dirty ...cluster.Name) (ops []int) {
	s.t.Helper()
	for {
		r := s.engine.Pass(s.now, dirty, false)
		for _, row := range r.Changed {
			s.rows[row.Name] = row
		}
		if ops = append(ops, r.OpCount()); r.Error() != nil || len(ops) > 10_000 {
			s.t.Fatalf("%d passes: %v", len(ops), r.Error())
		}
		if dirty = nil; r.Backlog == 0 {
			return ops
		}
	}
}

// TestBigServiceComesInPieces: no pass does more than a piece of it, also while it changes and goes; its status is
// reported when it is done; and what it has in the end is what it has where it comes at once.
func TestBigServiceComesInPieces(t *testing.T) {
	h := newHostile().ports(40).balancers(1).endpoints(40, 5, "n1")
	h.service.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24", "198.51.100.0/24"}
	const objects = 50
	s := bigOthers(t, h, objects, objects)
	at := bigOthers(t, h, 1<<20, 1<<20)
	for _, step := range []func(s *scenario){
		func(*scenario) {},
		func(s *scenario) { h.annotate("ipvs-proxier.io/scheduler", "wlc") },
		func(s *scenario) {
			h.service.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24", "203.0.113.0/24"}
		},
		func(s *scenario) { delete(s.objects.services, hostileName) },
	} {
		step(s)
		if s.objects.services[hostileName] == nil {
			delete(at.objects.services, hostileName)
		}
		ops := s.passes(hostileName)
		if at.passes(hostileName); len(ops) < 3 {
			t.Errorf("it takes %d passes", len(ops))
		}
		for _, n := range ops {
			if n > 2*objects { // what goes and what comes
				t.Errorf("operations of the passes %v, none may have more than %d", ops, 2*objects)
			}
		}
		if diff := gocmp.Diff(at.memory.State().Text(), s.memory.State().Text()); diff != "" {
			t.Fatalf("(-at once +in pieces):\n%s", diff)
		}
		if diff := gocmp.Diff(at.problems(), s.problems()); diff != "" {
			t.Fatalf("problems (-at once +in pieces):\n%s", diff)
		}
		row, whole := s.rows[hostileName], at.rows[hostileName]
		if row.Gone != whole.Gone || len(row.FrontEnds) != len(whole.FrontEnds) {
			t.Errorf("status has %d front ends, gone: %t", len(row.FrontEnds), row.Gone)
		}
	}
}

// TestOthersGoAhead of the pieces of a big Service, which goes on all the same while others change with each pass.
func TestOthersGoAhead(t *testing.T) {
	s := bigOthers(t, newHostile().ports(60).endpoints(60, 5, "n2"), 50, 50)
	dirty := []cluster.Name{hostileName}
	for i := 0; ; i++ {
		changed := s.apply([]byte(sliceOf(3, 5+i%2)))
		r := s.engine.Pass(s.now, append(dirty, changed...), false)
		dirty = nil
		s.now = s.now.Add(time.Millisecond)
		if n := len(ready(s.memory.State().VirtualServers[frontEndAt("10.96.0.4", 80)])); n != 5+i%2 {
			t.Fatalf("pass %d: the other Service has %d endpoints", i, n)
		}
		if r.Backlog == 0 {
			if i < 10 {
				t.Errorf("all was done in %d passes", i)
			}
			return
		}
		if i == 200 {
			t.Fatal("the big Service has no turn")
		}
	}
}

func ready(v dataplane.VirtualServer) (list []dataplane.RealServer) {
	for _, r := range v.RealServers {
		if r.Weight > 0 {
			list = append(list, r)
		}
	}
	return list
}

// TestManyRealServersComeInPieces: so do those of one virtual server, also where the first ones are refused for good;
// the others come with the next try.
func TestManyRealServersComeInPieces(t *testing.T) {
	for _, scheduler := range []string{"rr", "sh", "mh"} {
		t.Run(scheduler, func(t *testing.T) {
			h := newHostile().ports(1).endpoints(1, 200, "n2").annotate("ipvs-proxier.io/scheduler", scheduler)
			s := bigOthers(t, h, 50, 50)
			ops := s.passes(hostileName)
			id := frontEndAt("10.97.0.1", 1)
			if n := len(s.memory.State().VirtualServers[id].RealServers); n != 200 {
				t.Errorf("%d real servers after passes of %v", n, ops)
			}
			// A table is built once, and so all at once.
			if one := scheduler == "mh"; one != (len(ops) == 1) {
				t.Errorf("passes of %v operations", ops)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		s := bigOthers(t, newHostile().ports(1).endpoints(1, 200, "n2"), 50, 50)
		s.engine.kernel = &brokenKernel{Kernel: s.memory, refuse: func(op dataplane.Op) bool {
			o, is := op.Object.(dataplane.RealServerObject)
			return is && o.RealServer.Addr.As4()[3] < 100
		}}
		name := []cluster.Name{hostileName}
		for range 10 {
			s.engine.Pass(s.now, name, false)
			name, s.now = nil, s.now.Add(time.Minute)
		}
		list := s.memory.State().VirtualServers[frontEndAt("10.97.0.1", 1)].RealServers
		if len(list) != 100 || s.engine.waiting() != 0 {
			t.Errorf("%d real servers, want those 100 that are not refused; %d pieces wait", len(list), s.engine.waiting())
		}
	})
}

// TestAStartEndsWithItsLastPiece: also where that is one of many real servers. What nobody wants goes then.
func TestAStartEndsWithItsLastPiece(t *testing.T) {
	s := bigOthers(t, newHostile().ports(1).endpoints(1, 200, "n2"), 50, 50)
	s.passes(hostileName)
	before := s.memory.State().Text()
	id := frontEndAt("10.97.0.1", 1)
	v := s.memory.State().VirtualServers[id]
	v.RealServers = nil
	s.tampered = true
	s.memory.State().SetVirtualServer(id, v)
	unwanted := s.object([]string{"entry", "IPVSP-FRONT-END", "hash:ip,port", "10.99.0.1,tcp:80"})
	s.memory.State().Apply(dataplane.Op{Verb: dataplane.Create, Object: unwanted})
	lister := s.engine.lister
	s.restart()
	s.engine.pieces.objects, s.engine.pieces.servers, s.engine.lister = 50, 50, lister
	ops := s.passes()
	if diff := gocmp.Diff(before, s.memory.State().Text()); diff != "" || s.engine.starting || len(ops) < 4 {
		t.Errorf("passes of %v operations, starting: %t; (-before +after):\n%s", ops, s.engine.starting, diff)
	}
}

// TestForgettingWaitsForPieces: the table of connections is looked at once for all pieces of a Service, and at once for
// others.
func TestForgettingWaitsForPieces(t *testing.T) {
	h := newHostile().ports(60).endpoints(60, 3, "n2")
	for i := range h.service.Spec.Ports {
		h.service.Spec.Ports[i].Protocol = "UDP"
		h.slices[0].Ports[i].Protocol = &h.service.Spec.Ports[i].Protocol
	}
	s := bigOthers(t, h, 50, 50)
	counting := &forgettingKernel{Kernel: s.memory}
	s.engine.kernel = counting
	if ops := s.passes(hostileName); len(ops) < 5 || counting.looks != 1 {
		t.Errorf("%d looks at the table of connections in %d passes, want 1", counting.looks, len(ops))
	}
	if counting.told != 60 {
		t.Errorf("it was looked for %d front ends, want 60", counting.told)
	}
}

// forgettingKernel counts looks at the table of connections.
type forgettingKernel struct {
	dataplane.Kernel
	looks, told int
}

func (k *forgettingKernel) Forget(flows map[dataplane.VirtualServerID][]netip.AddrPort) (int, error) {
	k.looks++
	k.told += len(flows)
	return k.Kernel.Forget(flows)
}

// opened says which clients could reach a front end by an operation that its source ranges forbid.
func (s *scenario) opened(op dataplane.Op, state *dataplane.State) string {
	want := s.engine.want
	switch o := op.Object.(type) {
	case dataplane.VirtualServerObject:
		front, _ := want.FrontEnd(o.ID)
		for e := range front.Entries.All() {
			guard := dataplane.SetName(dataplane.SetRestricted, cluster.FamilyOf(o.ID.Addr))
			if op.Verb == dataplane.Create && e.Set == guard && !state.Entries.Has(e) {
				return "all clients, because " + e.String() + " is missing"
			}
		}
	case dataplane.SetEntry:
		family, wanted := cluster.FamilyOf(o.Entry.Addr), want.State.Entries.Has(o)
		_, there := state.VirtualServers[o.FrontEnd()]
		guard, clients := dataplane.SetName(dataplane.SetRestricted, family), dataplane.SetName(dataplane.SetClients, family)
		switch {
		case o.Set == guard && op.Verb == dataplane.Delete && wanted && there:
			return "all clients"
		case o.Set == clients && op.Verb == dataplane.Create && !wanted:
			return "clients of a network that has no access"
		}
	}
	return ""
}

// TestPiecesWalk goes through hostile objects in pieces of every size, with faults and restarts. At no moment a front
// end is open to clients that its source ranges forbid, nor an address up without its virtual server (which newScenario
// looks at); and in the end the kernel has what it has where each pass is whole.
func TestPiecesWalk(t *testing.T) {
	seed := anySeed(t)
	a := author{rand.New(rand.NewPCG(seed, 8))}
	s := newScenario(t, 0.1, seed)
	s.faulty.Burst = 20
	before := s.memory.AfterEach
	s.memory.AfterEach = func(op dataplane.Op, state *dataplane.State) {
		before(op, state)
		if who := s.opened(op, state); who != "" {
			t.Errorf("after %s a front end is open to %s", op, who)
		}
	}
	for range 60 {
		s.piece = 1 + a.IntN(40)
		s.engine.pieces.objects, s.engine.pieces.servers = s.piece, 1+a.IntN(s.piece)
		to := a.place(*s.objects)
		names := append(s.objects.Names(), to.Names()...)
		s.objects.services, s.objects.slices = to.services, to.slices
		for range 1 + a.IntN(4) { // and on, before all of it is done
			s.runSome()
			s.engine.Pass(s.now, names, false)
			names = nil
		}
		if a.IntN(8) == 0 {
			s.restart()
		}
		s.walkTo(s.corrected())
		s.now = s.now.Add(25 * time.Hour)
		s.converge(nil, false)
		s.walkTo(s.corrected())
		s.now = s.now.Add(25 * time.Hour)
		s.converge(nil, false)
		s.testAsFresh()
		if t.Failed() {
			return
		}
	}
}
