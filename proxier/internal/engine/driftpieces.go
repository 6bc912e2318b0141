package engine

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// What an audit has found of a Service, and is more than a piece, is repaired piece by piece, and what changes goes
// ahead. All else is repaired at once: where somebody has taken everything away, each Service is out of order as long as
// it waits, and pieces would make none of them come sooner.

// driftOfNow returns what of a drift is repaired with this pass, and queues the rest.
func (e *Engine) driftOfNow(found dataplane.Touched) dataplane.Touched {
	if found.Weigh(e.weigh) <= e.pieces.objects {
		return found
	}
	owners := e.ownersOf(found)
	weights := map[cluster.Name]int{}
	for id := range found.VirtualServers {
		weights[e.want.Owner(id)] += e.weigh(id)
	}
	for entry := range found.Entries {
		weights[owners(entry)]++
	}
	maps.DeleteFunc(weights, func(name cluster.Name, weight int) bool {
		return weight <= e.pieces.objects || name == (cluster.Name{})
	})
	if len(weights) == 0 {
		return found
	}
	now := dataplane.NewTouched()
	later := map[cluster.Name]dataplane.Touched{}
	for name := range weights {
		later[name] = dataplane.NewTouched()
	}
	to := func(name cluster.Name) dataplane.Touched {
		if big, is := later[name]; is {
			return big
		}
		return now
	}
	vips := map[netip.Addr]cluster.Name{}
	for id, owner := range found.VirtualServers {
		name := e.want.Owner(id)
		to(name).VirtualServers[id] = owner
		if _, big := later[name]; big {
			vips[id.Addr] = name
		}
	}
	for entry, owner := range found.Entries {
		to(owners(entry)).Entries[entry] = owner
	}
	for addr, owner := range found.Addresses {
		to(vips[addr]).Addresses[addr] = owner
	}
	now.Foundation = found.Foundation
	for _, name := range slices.SortedFunc(maps.Keys(later), cluster.Name.Compare) {
		e.pieces.drift = append(e.pieces.drift, later[name].Split(e.pieces.room(), e.weigh)...)
	}
	return now
}

// ownersOf returns what says whose an entry is. Those of endpoints on this node are looked for where they are many.
func (e *Engine) ownersOf(found dataplane.Touched) func(dataplane.SetEntry) cluster.Name {
	others := dataplane.NewTouched()
	for entry := range found.Entries {
		if e.want.Owner(entry.FrontEnd()) == (cluster.Name{}) {
			others.Entries[entry] = cluster.Name{}
		}
	}
	if len(others.Entries) > e.pieces.objects {
		e.want.NameOwners(others)
	}
	return func(entry dataplane.SetEntry) cluster.Name {
		if name := e.want.Owner(entry.FrontEnd()); name != (cluster.Name{}) {
			return name
		}
		return others.Entries[entry]
	}
}
