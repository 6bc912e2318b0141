package dataplane_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// TestListDoesNotDependOnHistory: whatever came and went before, the kernel's list of a canonical scheduler has the
// ready endpoints in order of address and port, and that of the others begins with the same four as on a node that
// starts now.
func TestListDoesNotDependOnHistory(t *testing.T) {
	r := seeded(t)
	for range 60 {
		for _, name := range scheduler.Names() {
			m := kernel.NewMemory()
			carryOut(t, m, dataplane.Diff(m.State(), dataplane.Foundation(config),
				dataplane.All(nil, m.State(), dataplane.Foundation(config))))
			for range r.IntN(6) {
				passing := listed(r, scheduler.Names()[r.IntN(len(scheduler.Names()))])
				carryOut(t, m, dataplane.Diff(m.State(), passing, dataplane.All(nil, m.State(), passing)))
			}
			end := listed(r, name)
			carryOut(t, m, dataplane.Diff(m.State(), end, dataplane.All(nil, m.State(), end)))
			for id, v := range m.State().VirtualServers {
				got, want := ready(v), ready(end.VirtualServers[id])
				s, _ := scheduler.Lookup(name)
				if s.Order == scheduler.Seeded && len(want) > 4 {
					got, want = got[:4], want[:4]
				}
				if s.Idle == scheduler.IdleAside { // one endpoint stands where the scheduler looks
					slices.SortFunc(got, netip.AddrPort.Compare)
					slices.SortFunc(want, netip.AddrPort.Compare)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%s: the list is %v, want %v", name, got, want)
				}
			}
			if ops := dataplane.Diff(m.State(), end, dataplane.All(nil, m.State(), end)); len(ops) > 0 {
				t.Fatalf("%s: still to be done: %v", name, ops)
			}
		}
	}
}

// listed returns the state with one Service of some of twenty endpoints.
func listed(r *rand.Rand, name string) *dataplane.State {
	s := cluster.Service{
		Name: cluster.Name{Namespace: "ns", Name: "web"}, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.10")},
	}
	port := cluster.ServicePort{Protocol: cluster.TCP, Port: 80, Scheduler: name}
	for _, i := range r.Perm(20)[:r.IntN(20)] {
		port.Endpoints = append(port.Endpoints, cluster.Endpoint{
			Addr: netip.AddrFrom4([4]byte{10, 244, byte(i % 3), byte(i)}), Port: 80, Ready: true, Remote: true,
			Weight: []uint32{0, 1, 1, 5, 100}[r.IntN(5)],
		})
	}
	slices.SortFunc(port.Endpoints, func(a, b cluster.Endpoint) int { return a.Addr.Compare(b.Addr) })
	s.Ports = append(s.Ports, port)
	w := dataplane.NewWant(dataplane.Foundation(config))
	w.Set(dataplane.Compile(s, node, config), map[cluster.Name]struct{}{})
	return w.State
}

func ready(v dataplane.VirtualServer) (list []netip.AddrPort) {
	for _, r := range v.RealServers {
		if r.Weight > 0 {
			list = append(list, netip.AddrPortFrom(r.Addr, r.Port))
		}
	}
	return list
}
