package engine

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// What an audit has found of a Service, and is more than a piece, is repaired piece by piece, and what changes goes
// ahead. All else is repaired at once: where somebody has taken everything away, each Service is out of order as long
// as it waits, and pieces would make none of them come sooner.

// driftOfNow returns what of a drift is repaired with this pass, and queues the rest. It looks at big Services alone,
// of which there are few.
func (e *Engine) driftOfNow(found dataplane.Touched) dataplane.Touched {
	for _, name := range slices.SortedFunc(maps.Keys(e.pieces.big), cluster.Name.Compare) {
		own := e.takeOwn(found, name)
		if own.Weigh(e.weigh) <= e.pieces.objects {
			found.Add(own)
			continue
		}
		e.pieces.drift = append(e.pieces.drift, own.Split(e.pieces.room(), e.weigh)...)
	}
	return found
}

// takeOwn takes the keys of a Service out of those that were found.
func (e *Engine) takeOwn(found dataplane.Touched, name cluster.Name) dataplane.Touched {
	own := dataplane.NewTouched()
	entries := func(list dataplane.EntryList) {
		for entry := range list.All() {
			take(own.Entries, found.Entries, entry)
		}
	}
	f, _ := e.want.Fragment(name)
	entries(f.Entries)
	vips := map[netip.Addr]struct{}{}
	for i := range f.FrontEnds {
		if front := &f.FrontEnds[i]; e.want.Owner(front.ID) == name {
			take(own.VirtualServers, found.VirtualServers, front.ID)
			entries(front.Entries)
			vips[front.ID.Addr] = struct{}{}
		}
	}
	for addr := range vips {
		take(own.Addresses, found.Addresses, addr)
	}
	return own
}

// take moves a key, if it is there.
func take[K comparable](to, from map[K]cluster.Name, key K) {
	if owner, is := from[key]; is {
		to[key] = owner
		delete(from, key)
	}
}
