package engine

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// forgetAgain is the delay before connection tracking is notified again of what it could not be notified of.
const forgetAgain = 5 * time.Second

// Connection tracking can only be read as a whole, up to a million connections of the node, and a Service that changes
// all the time would have the passes do nothing else. So after a reading that took long there is none until it was no
// more than a hundredth of the time; but nothing waits for longer than mostForgetRest after a reading.
const (
	forgetShare    = 100
	mostForgetRest = 10 * time.Second
)

// pendingFrontEnds are front ends of which connection tracking has to forget something, from the moment when the kernel
// was changed until it has.
type pendingFrontEnds struct {
	// frontEnds says of each whether an operation failed: whether it was carried out is not known before the next
	// pass.
	frontEnds map[dataplane.VirtualServerID]bool
	// due is when to try again after a failure, whose reason is err, or what has waited for rested; else the zero time.
	due time.Time
	err error
	// rested is from when on the table may be read again.
	rested time.Time
	// known says that it was read before. The first reading has the kernel load nf_conntrack_netlink, which takes
	// seconds on a slow machine, and comes with all else of a start: how long it took says nothing of the next.
	known bool
	// clock measures how long a reading takes.
	clock func() time.Time
}

func newPendingFrontEnds() pendingFrontEnds {
	return pendingFrontEnds{frontEnds: map[dataplane.VirtualServerID]bool{}, clock: time.Now}
}

func (p *pendingFrontEnds) add(id dataplane.VirtualServerID, failed bool) {
	p.frontEnds[id] = p.frontEnds[id] || failed
}

// next returns when to try again what has failed, or has waited; the zero time when nothing has.
func (p *pendingFrontEnds) next() time.Time { return p.due }

// isDue reports whether there is something to be forgotten now. What is held waits for company, or until it is held no
// more.
func (p *pendingFrontEnds) isDue(now time.Time, held map[dataplane.VirtualServerID]struct{}) bool {
	if now.Before(p.due) {
		return false
	}
	p.due = time.Time{}
	for id := range p.frontEnds {
		if _, is := held[id]; is {
			continue
		}
		if now.Before(p.rested) {
			p.due = p.rested
			return false
		}
		return true
	}
	return false
}

// read has the table read, and records the result.
func (p *pendingFrontEnds) read(now time.Time, table func() error) {
	began := p.clock()
	err := table()
	took := p.clock().Sub(began)
	if p.known {
		p.rested = now.Add(took + min((forgetShare-1)*took, mostForgetRest))
	}
	p.known = true
	if p.err = err; err != nil {
		p.due = now.Add(max(forgetAgain, p.rested.Sub(now)))
		return
	}
	p.due = time.Time{}
	for id, unknown := range p.frontEnds {
		if unknown {
			p.frontEnds[id] = false // the next pass knows
		} else {
			delete(p.frontEnds, id)
		}
	}
}

// stale are the UDP front ends whose flows may go to where they should not any more.
type stale struct{ pendingFrontEnds }

// note notes the front end of an operation after which flows are stale: a real server or a virtual server is gone, or
// the virtual server is new, and flows to its address that were there before go past it.
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
		s.add(id, failed)
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

// forget makes connection tracking forget the stale flows, all with one look at its table, if that may be read now.
func (e *Engine) forget(now time.Time, r *Report) {
	s := &e.stale
	if s.isDue(now, e.pieces.toForget(now)) {
		flows := map[dataplane.VirtualServerID][]netip.AddrPort{}
		for id := range s.frontEnds {
			flows[id] = nil
			for _, rs := range e.have.VirtualServers[id].RealServers {
				flows[id] = append(flows[id], netip.AddrPortFrom(rs.Addr, rs.Port))
			}
		}
		s.read(now, func() (err error) {
			r.Forgotten, err = e.kernel.Forget(flows)
			return err
		})
	}
	if s.err != nil {
		r.Warnings = append(r.Warnings,
			fmt.Errorf("stale UDP flows of %d front ends are not forgotten, and may go to endpoints that are gone: %w", len(s.frontEnds), s.err))
	}
}
