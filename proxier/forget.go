package proxier

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// forgetAgain is the delay before flows that could not be forgotten are tried again.
const forgetAgain = 5 * time.Second

// stale are the UDP front ends whose flows may go to where they should not any more, from the moment when the kernel was
// changed until connection tracking has forgotten those flows.
type stale struct {
	// frontEnds tells of each whether an operation failed: whether it was carried out is not known before the next pass.
	frontEnds map[dataplane.VirtualServerID]bool
	// due is when to try again after a failure, whose reason is err; else the zero time.
	due time.Time
	err error
}

// note notes the front end of an operation after which flows are stale: a real server or a virtual server is gone, or the
// virtual server is new, and flows to its address that were there before go past it.
func (s *stale) note(op dataplane.Op, failed bool) {
	var id dataplane.VirtualServerID
	switch o := op.Object.(type) {
	case dataplane.RealServerObject:
		if op.Verb != dataplane.Delete {
			return
		}
		id = o.VirtualServer
	case dataplane.VirtualServerObject:
		if op.Verb == dataplane.Update {
			return
		}
		id = o.ID
	}
	if id.Protocol == cluster.UDP {
		s.frontEnds[id] = s.frontEnds[id] || failed
	}
}

// noteAll notes every front end: the life before this one may have ended between a change and its forgetting.
func (s *stale) noteAll(have *dataplane.State) {
	for id := range have.VirtualServers {
		if id.Protocol == cluster.UDP {
			s.frontEnds[id] = false
		}
	}
}

// next returns when flows are to be forgotten that could not be; the zero time when there are none.
func (s *stale) next() time.Time {
	return s.due
}

// forget makes connection tracking forget the stale flows, all with one look at its table.
func (e *engine) forget(now time.Time, r *Report) {
	s := &e.stale
	if len(s.frontEnds) > 0 && !now.Before(s.due) {
		flows := map[dataplane.VirtualServerID][]netip.AddrPort{}
		for id := range s.frontEnds {
			flows[id] = nil
			for _, rs := range e.have.VirtualServers[id].RealServers {
				flows[id] = append(flows[id], netip.AddrPortFrom(rs.Addr, rs.Port))
			}
		}
		r.Forgotten, s.err = e.kernel.Forget(flows)
		s.settle(now)
	}
	if s.err != nil {
		r.Warnings = append(r.Warnings, fmt.Errorf("stale UDP flows of %d front ends are not forgotten, and may go to endpoints that are gone: %w", len(s.frontEnds), s.err))
	}
}

// settle takes note of what came of a try.
func (s *stale) settle(now time.Time) {
	if s.err != nil {
		s.due = now.Add(forgetAgain)
		return
	}
	s.due = time.Time{}
	for id, unknown := range s.frontEnds {
		if unknown {
			s.frontEnds[id] = false // the next pass knows
		} else {
			delete(s.frontEnds, id)
		}
	}
}
