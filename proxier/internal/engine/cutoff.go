package engine

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// cutoffs are the front ends some of whose clients may not reach them any more, but have connections perhaps.
type cutoffs struct{ unforgotten }

// note notes the front end of an operation that takes clients away from it.
func (c *cutoffs) note(op dataplane.Op, failed bool) {
	if id, is := dataplane.CutsOff(op); is {
		c.add(id, failed)
	}
}

// noteAll notes every restricted front end: the life before this one may have ended between a change and its
// forgetting.
func (c *cutoffs) noteAll(want *dataplane.Want) {
	for id := range want.State.VirtualServers {
		if front, found := want.FrontEnd(id); found {
			if _, restricted := front.Clients(); restricted {
				c.frontEnds[id] = false
			}
		}
	}
}

// cutOff makes connection tracking forget connections of clients that may not have them any more, all with one look at
// its table.
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
		var err error
		if len(allowed) > 0 {
			r.CutOff, err = e.kernel.CutOff(allowed)
		}
		c.settle(now, err)
	}
	if c.err != nil {
		r.Warnings = append(r.Warnings, fmt.Errorf(
			"connections of clients outside of the source ranges of %d front ends are not forgotten, and go on: %w", len(c.frontEnds), c.err))
	}
}
