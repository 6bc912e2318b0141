package engine

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestRandomWalk goes from the objects of any step of any scenario to those of any other, with faults and restarts on
// the way. Wherever it is, the kernel is as it would be had these objects been the first.
func TestRandomWalk(t *testing.T) {
	all := places(t)
	seed := anySeed(t)
	r := rand.New(rand.NewPCG(seed, 2))
	s := newScenario(t, 0.1, seed)
	// Without a Node routes prefer no source.
	nodes := []map[string]*v1.Node{nil, {"n1": {Status: v1.NodeStatus{Addresses: []v1.NodeAddress{
		{Type: v1.NodeInternalIP, Address: "192.168.50.1"}, {Type: v1.NodeInternalIP, Address: "fd00:50::1"},
	}}}}}
	s.faulty.Burst = 20
	s.memory.KeepsSources = r.IntN(2) == 0
	addresses := s.memory.Addresses
	for range 150 {
		s.objects.nodes = nodes[r.IntN(len(nodes))]
		s.objects.version++
		s.walkTo(all[r.IntN(len(all))].clone())
		if r.IntN(10) == 0 {
			s.mode = []dataplane.VIPMode{dataplane.ByAddress, dataplane.ByRoute}[r.IntN(2)]
			s.restart()
			s.converge(nil, true)
		}
		if r.IntN(4) == 0 { // the node's addresses go, and come again before anybody looks
			s.memory.SetAddresses()
			s.memory.SetAddresses(addresses...)
			s.engine.lose(func(netip.Addr) bool { return true })
		}
		s.now = s.now.Add(20 * time.Minute) // all drains are over
		s.converge(nil, false)

		fresh := newScenario(t, 0, 0)
		fresh.mode, fresh.piece = s.mode, 1<<20
		fresh.objects.services, fresh.objects.slices, fresh.objects.nodes, fresh.objects.version = s.objects.services, s.objects.slices, s.objects.nodes, s.objects.version
		fresh.restart()
		fresh.converge(nil, true)
		if diff := gocmp.Diff(fresh.memory.State().Text(), s.memory.State().Text()); diff != "" {
			t.Fatalf("(-fresh +walked):\n%s", diff)
		}
		if diff := gocmp.Diff(fresh.problems(), s.problems()); diff != "" {
			t.Fatalf("problems (-fresh +walked):\n%s", diff)
		}
	}
}

// walkTo changes all objects at once, in an order that the seed decides.
func (s *scenario) walkTo(to objects) {
	s.t.Helper()
	dirty := map[cluster.Name]struct{}{}
	for _, o := range []objects{*s.objects, to} {
		for name := range o.services {
			dirty[name] = struct{}{}
		}
		for name, slice := range o.slices { // which may be there without its Service
			dirty[cluster.Name{Namespace: name.Namespace, Name: slice.Labels[discovery.LabelServiceName]}] = struct{}{}
		}
	}
	s.objects.services, s.objects.slices = to.services, to.slices
	names := slices.SortedFunc(maps.Keys(dirty), cluster.Name.Compare)
	s.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	s.converge(names, false)
}
