package engine

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// slowStarts remembers since when the endpoints of Services with a slow start are there, by their identity. A pod that
// takes the address of another one is new. One that was not ready for a while is not.
type slowStarts struct {
	since map[cluster.Name]map[string]time.Time
	// growing are the Services some of whose endpoints may be growing still: the others need not be looked at.
	growing map[cluster.Name]struct{}
	// seen are the virtual servers whose real servers have been looked at.
	seen map[dataplane.VirtualServerID]bool
}

func newSlowStarts() slowStarts {
	return slowStarts{
		map[cluster.Name]map[string]time.Time{}, map[cluster.Name]struct{}{}, map[dataplane.VirtualServerID]bool{},
	}
}

// old is the start of endpoints that were there before this program looked.
var old = time.Time{}

// note forgets the identities that the Service does not have any more.
func (ss slowStarts) note(s cluster.Service) {
	of := ss.since[s.Name]
	if of == nil {
		return
	}
	present, slow := map[string]bool{}, false
	for _, port := range s.Ports {
		slow = slow || port.SlowStart > 0
		for _, e := range port.Endpoints {
			present[e.Identity] = true
		}
	}
	for identity := range of {
		if !slow || !present[identity] {
			delete(of, identity)
		}
	}
	if len(of) == 0 {
		ss.drop(s.Name)
	}
}

// drop forgets a Service.
func (ss slowStarts) drop(name cluster.Name) {
	delete(ss.since, name)
	delete(ss.growing, name)
}

// weigh returns the virtual server with the weights that its endpoints have by now. Those that are seen for the first
// time are new, unless the virtual server is: then there is nothing that they should be spared beside. After a restart
// the kernel's weight says how far they had come.
func (ss slowStarts) weigh(
	now time.Time, owner cluster.Name, front dataplane.FrontEnd, want, have dataplane.VirtualServer, present bool,
) dataplane.VirtualServer {
	if front.SlowStart <= 0 {
		delete(ss.seen, front.ID)
		return want
	}
	first := !ss.seen[front.ID]
	ss.seen[front.ID] = true
	of := ss.since[owner]
	if of == nil {
		of = map[string]time.Time{}
		ss.since[owner] = of
	}
	has := have.Weights()
	grown := furthest(want, has)
	servers := make([]dataplane.RealServer, len(want.RealServers))
	for i, r := range want.RealServers {
		identity := front.Identities[i]
		since, known := of[identity]
		if !known {
			since = now
			switch weight, known := has[netip.AddrPortFrom(r.Addr, r.Port)]; {
			case !present:
				since = old
			case first && known && weight > 0 && r.Weight > 0:
				if share := float64(weight) / float64(r.Weight) / grown; share < 1 {
					since = now.Add(-time.Duration(share * float64(front.SlowStart)))
				} else {
					since = old
				}
			}
			of[identity] = since
		}
		if since != old {
			ss.growing[owner] = struct{}{}
			r.Weight = dataplane.Grown(r.Weight, now.Sub(since), front.SlowStart)
		}
		servers[i] = r
	}
	want.RealServers = servers
	return want
}

// furthest returns the greatest share of its own weight that a real server has in the kernel: those that have it are
// not growing, also where weights were smaller before there was a slow start.
func furthest(want dataplane.VirtualServer, has map[netip.AddrPort]uint32) (share float64) {
	for _, r := range want.RealServers {
		if weight, known := has[netip.AddrPortFrom(r.Addr, r.Port)]; known && r.Weight > 0 {
			share = max(share, float64(weight)/float64(r.Weight))
		}
	}
	return share
}

// grow returns the virtual servers some of whose endpoints are still growing and due.
func (ss slowStarts) grow(now time.Time, want *dataplane.Want) (due []dataplane.VirtualServerID) {
	for owner := range ss.growing {
		of, still := ss.since[owner], false
		fragment, _ := want.Fragment(owner)
		for _, front := range fragment.FrontEnds {
			growing := slices.ContainsFunc(front.Identities, func(identity string) bool {
				since, known := of[identity]
				// One step more than the time, so that the last one is taken.
				return known && since != old && now.Sub(since) < 2*front.SlowStart
			})
			still = still || growing
			if growing && want.Owner(front.ID) == owner {
				due = append(due, front.ID)
			}
		}
		if !still {
			delete(ss.growing, owner)
		}
	}
	return due
}

// next returns when a weight is to grow next; the zero time when none does.
func (ss slowStarts) next(now time.Time, want *dataplane.Want) (due time.Time) {
	for owner := range ss.growing {
		of := ss.since[owner]
		fragment, _ := want.Fragment(owner)
		for _, front := range fragment.FrontEnds {
			for _, identity := range front.Identities {
				since, known := of[identity]
				if !known || since == old || now.Sub(since) >= front.SlowStart {
					continue
				}
				if at := since.Add(dataplane.NextStep(now.Sub(since), front.SlowStart)); due.IsZero() || at.Before(due) {
					due = at
				}
			}
		}
	}
	return due
}
