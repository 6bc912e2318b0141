package engine

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// observeAhead reads the kernel ahead of the first pass, while the API's lists are on their way. What fails is tried
// again by the pass.
func (e *Engine) observeAhead(now time.Time) {
	if seen, err := e.kernel.Observe(); err == nil {
		e.seen, e.seenAt = &seen, now
	}
}

// observedFor is how long the first pass may go by what observeAhead has seen; others may have changed the kernel
// since.
const observedFor = 10 * time.Second

func (e *Engine) observe(now time.Time) (dataplane.Observation, error) {
	seen := e.seen
	e.seen = nil
	if seen != nil && now.Sub(e.seenAt) < observedFor {
		return *seen, nil
	}
	return e.kernel.Observe()
}

// audit reads the kernel into the mirror, with everything else waiting: at the start, and when the mirror is known to
// be wrong. Services become dirty when the node's addresses have changed.
func (e *Engine) audit(now time.Time, dirty *[]cluster.Name) error {
	seen, err := e.observe(now)
	if err != nil {
		return err
	}
	e.forgetTouches(e.touches)
	e.unread, e.auditDue = nil, false
	clear(e.doubts)
	e.pieces.drift = nil
	e.retries.audited()
	before := e.excludedServers()
	e.have, e.foreign, e.connections = seen.State, seen.Foreign, seen.Connections
	e.adoptPredecessors(nil)
	if !maps.Equal(before, e.excludedServers()) {
		*dirty = append(*dirty, slices.Collect(maps.Keys(e.services))...)
	}
	*dirty = append(*dirty, e.recordAddresses(seen.NodeAddresses, seen.Broadcasts)...)
	*dirty = append(*dirty, e.recordListeners(seen.Listeners)...)
	*dirty = append(*dirty, e.recordCaptures(seen)...)
	return nil
}

// adoptPredecessors makes the predecessor's virtual servers ours, and touches them: those that no Service wants go with
// this pass.
func (e *Engine) adoptPredecessors(touched *dataplane.Touched) {
	if e.settings.Predecessor == nil {
		return
	}
	for id, v := range e.foreign {
		if e.settings.Predecessor(id) && !e.excluded(id.Addr) {
			e.adopt(id, v, touched)
		}
	}
}

// adopt makes a foreign virtual server ours. touched is nil where everything is touched.
func (e *Engine) adopt(id dataplane.VirtualServerID, v dataplane.VirtualServer, touched *dataplane.Touched) {
	e.have.SetVirtualServer(id, v)
	delete(e.foreign, id)
	if touched != nil {
		touched.VirtualServers[id] = e.want.Owner(id)
	}
}

// excludedServers returns the virtual servers of others in excluded networks: no Service gets those front ends.
func (e *Engine) excludedServers() map[dataplane.VirtualServerID]struct{} {
	ids := map[dataplane.VirtualServerID]struct{}{}
	for id := range e.foreign {
		if e.excluded(id.Addr) {
			ids[id] = struct{}{}
		}
	}
	return ids
}

func (e *Engine) excluded(addr netip.Addr) bool {
	return slices.ContainsFunc(e.settings.Exclude, func(network netip.Prefix) bool { return network.Contains(addr) })
}

// adoptWanted adopts foreign virtual servers that are wanted, with their connections. The set entries that are written
// ahead of any change to them make them ours.
func (e *Engine) adoptWanted(touched *dataplane.Touched) {
	for id, v := range e.foreign {
		if _, wanted := e.want.State.VirtualServers[id]; wanted {
			e.adopt(id, v, touched)
		}
	}
}
