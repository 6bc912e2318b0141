package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// drainPoll is how often the connections of draining real servers are counted.
const drainPoll = time.Second

// drains remembers since when a real server drains. It is only a clock: the kernel shows that the real server drains,
// by the weight 0. After a restart the deadline starts anew.
type drains map[dataplane.VirtualServerID]map[netip.AddrPort]*drain

type drain struct {
	since, polled time.Time
	idle          bool
}

// done reports whether the real server may be deleted: it is idle, or has drained for as long as it may.
func (ds drains) done(rs dataplane.RealServerID, now time.Time, timeout time.Duration) bool {
	d := ds[rs.VirtualServer][rs.Endpoint]
	if d == nil {
		d = &drain{since: now, polled: now}
		if ds[rs.VirtualServer] == nil {
			ds[rs.VirtualServer] = map[netip.AddrPort]*drain{}
		}
		ds[rs.VirtualServer][rs.Endpoint] = d
	}
	return d.idle || now.Sub(d.since) >= timeout
}

// dropEnded drops the drains of touched virtual servers that are over: the real server is gone, or wanted again.
func (ds drains) dropEnded(have, want *dataplane.State, touched dataplane.Touched) {
	for id := range touched.VirtualServers {
		if len(ds[id]) == 0 {
			continue
		}
		present, wanted := have.VirtualServers[id].Weights(), want.VirtualServers[id].Weights()
		for endpoint := range ds[id] {
			_, there := present[endpoint]
			if _, again := wanted[endpoint]; !there || again {
				delete(ds[id], endpoint)
			}
		}
		if len(ds[id]) == 0 {
			delete(ds, id)
		}
	}
}

func (ds drains) count() (n int) {
	for _, of := range ds {
		n += len(of)
	}
	return n
}

// next returns when a drain is to be looked at again; the zero time when nothing drains.
func (ds drains) next() (due time.Time) {
	for _, of := range ds {
		for _, d := range of {
			if at := d.polled.Add(drainPoll); due.IsZero() || at.Before(due) {
				due = at
			}
		}
	}
	return due
}

// pollDrains counts the connections of draining real servers that are due, and returns their virtual servers.
func (e *Engine) pollDrains(now time.Time) (due []dataplane.VirtualServerID, errs []error) {
	for id, of := range e.drains {
		if anyDue(of, now) {
			due = append(due, id)
		}
	}
	slices.SortFunc(due, dataplane.VirtualServerID.Compare)
	for _, id := range due {
		of := e.drains[id]
		counts, err := e.kernel.Connections(id)
		for _, d := range of {
			d.polled = now
		}
		if err != nil { // the deadline counts all the same
			errs = append(errs, fmt.Errorf("count connections of %s: %w", id, err))
		}
		for _, c := range counts {
			if d := of[netip.AddrPortFrom(c.Addr, c.Port)]; d != nil {
				d.idle = c.Active == 0 && c.Inactive == 0
			}
		}
	}
	return due, errs
}

func anyDue(of map[netip.AddrPort]*drain, now time.Time) bool {
	for _, d := range of {
		if now.Sub(d.polled) >= drainPoll {
			return true
		}
	}
	return false
}
