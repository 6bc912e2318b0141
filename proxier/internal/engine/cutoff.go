package engine

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// cutoffs are the front ends some of whose clients may not reach them any more, but have connections perhaps.
type cutoffs struct{ pendingFrontEnds }

// note notes the front end of an operation that takes clients away from it, and one with source ranges that is made:
// it may have been taken down because nothing kept clients to them, and connections of that time would go on.
func (c *cutoffs) note(op dataplane.Op, failed bool, want *dataplane.Want) {
	if id, is := dataplane.CutsOff(op); is {
		c.add(id, failed)
	}
	if o, is := op.Object.(dataplane.VirtualServerObject); is && op.Verb == dataplane.Create {
		if front, _ := want.FrontEnd(o.ID); isRestricted(front) {
			c.add(o.ID, failed)
		}
	}
}

func isRestricted(front dataplane.FrontEnd) bool {
	_, restricted := front.Clients()
	return restricted
}

// noteAll notes every restricted front end: the life before this one may have ended between a change and its
// forgetting; or rules are there again without which clients outside of the ranges have opened connections.
func (c *cutoffs) noteAll(want *dataplane.Want) {
	for id := range want.State.VirtualServers {
		if front, found := want.FrontEnd(id); found && isRestricted(front) {
			c.add(id, false)
		}
	}
}

// cutOff makes connection tracking forget connections of clients that may not have them any more, all with one look at
// its table, if that may be read now.
func (e *Engine) cutOff(now time.Time, r *Report) {
	c := &e.cutoffs
	if c.isDue(now, e.pieces.toForget(now)) {
		allowed := map[dataplane.VirtualServerID][]netip.Prefix{}
		for id := range c.frontEnds {
			front, _ := e.want.FrontEnd(id)
			if networks, restricted := front.Clients(); restricted {
				allowed[id] = networks
			}
		}
		c.read(now, func() (err error) {
			if len(allowed) > 0 {
				r.CutOff, err = e.kernel.CutOff(allowed)
			}
			return err
		})
	}
	if c.err != nil {
		r.Warnings = append(r.Warnings, fmt.Errorf(
			"connections of clients outside of the source ranges of %d front ends are not forgotten, and go on: %w", len(c.frontEnds), c.err))
	}
}
