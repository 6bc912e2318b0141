package engine

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// drift is what an audit beside the passes has found: what was seen, and the keys at which it differs from the mirror.
type drift struct {
	seen dataplane.Summary
	// void says that nothing can be said of what differs.
	void bool
	// foundation says that link, sysctls, sets, chains or hooks differ.
	foundation bool
	entries    []dataplane.SetEntry
	addresses  []netip.Addr
	routes     []netip.Addr
	servers    map[dataplane.VirtualServerID]inspected
	// touched are virtual servers of which the mirror knows more than was seen.
	touched map[dataplane.VirtualServerID]cluster.Name
	// moved says that the node's addresses have been read since.
	moved bool
	// left says that something that differs was left out, because passes have touched it.
	left bool
	// errs say what could not be read.
	errs []error
}

// inspected is a virtual server that seemed to differ, as it was when it was inspected; there is none when it is not
// present.
type inspected struct {
	dataplane.VirtualServer
	present bool
}

// leaveOutTouched leaves out what passes have touched, and compares the foundation.
func (d *drift) leaveOutTouched(t *touches, have *dataplane.State) {
	d.void, d.moved, d.touched = t.void, t.addresses, t.keys.VirtualServers
	d.complete(have)
	d.foundation = !have.SameFoundation(d.seen.State)
	before := d.keys()
	d.foundation = d.foundation && !t.keys.Foundation
	d.entries = untouched(d.entries, t.keys.Entries)
	d.addresses, d.routes = untouched(d.addresses, t.keys.Addresses), untouched(d.routes, t.keys.Addresses)
	maps.DeleteFunc(d.servers, func(id dataplane.VirtualServerID, _ inspected) bool {
		_, is := t.keys.VirtualServers[id]
		return is
	})
	d.left = d.keys() < before
}

// keys returns how many keys differ; the foundation is one.
func (d *drift) keys() int {
	n := len(d.entries) + len(d.addresses) + len(d.routes) + len(d.servers)
	if d.foundation {
		n++
	}
	return n
}

// complete has what was not read of the foundation be as the mirror has it.
func (d *drift) complete(have *dataplane.State) {
	seen, read := d.seen.State, d.seen.Parts.Has
	if !read(dataplane.PartSysctls) {
		seen.Sysctls = have.Sysctls
	}
	if !read(dataplane.PartAddresses) {
		seen.Links = have.Links
	}
	if !read(dataplane.PartSets) {
		seen.Sets = have.Sets
	}
	if !read(dataplane.PartRules) {
		seen.Chains, seen.Hooks, seen.Closed = have.Chains, have.Hooks, have.Closed
	}
}

func untouched[K comparable](keys []K, touched map[K]cluster.Name) []K {
	return slices.DeleteFunc(keys, func(key K) bool {
		_, is := touched[key]
		return is
	})
}

// recordDrift takes a drift into the mirror, and returns its keys: the pass brings them in line with what is wanted.
// Services become dirty when the node's addresses or sockets have changed.
func (e *Engine) recordDrift(d *drift, report *Report, now time.Time, dirty *[]cluster.Name) dataplane.Touched {
	touched := dataplane.NewTouched()
	if d.void {
		return touched
	}
	have, seen, read := e.have, d.seen.State, d.seen.Parts.Has
	if d.foundation {
		have.Links, have.Sysctls, have.Sets = seen.Links, seen.Sysctls, seen.Sets
		have.Chains, have.Hooks, have.Closed = seen.Chains, seen.Hooks, seen.Closed
		touched.Foundation = true
	}
	for _, key := range d.entries {
		if seen.Entries.Has(key) {
			have.Entries.Put(key)
		} else {
			have.Entries.Drop(key)
		}
		touched.Entries[key] = cluster.Name{}
	}
	correct(d.addresses, have.Addresses, seen.Addresses, touched.Addresses)
	correct(d.routes, have.Routes, seen.Routes, touched.Addresses)
	if read(dataplane.PartServers) {
		e.connections = d.seen.Connections
		*dirty = append(*dirty, e.recordServers(d, &touched)...)
	}
	if read(dataplane.PartAddresses) && !d.moved {
		*dirty = append(*dirty, e.recordAddresses(d.seen.NodeAddresses, d.seen.Broadcasts)...)
	}
	if read(dataplane.PartSockets) {
		*dirty = append(*dirty, e.recordListeners(d.seen.Listeners)...)
	}
	if read(dataplane.PartRules) {
		*dirty = append(*dirty, e.recordCaptures(d.seen.Observation)...)
	}
	if len(d.errs) > 0 {
		report.Errors = append(report.Errors, d.errs...)
		e.retries.putUnread(now, dataplane.NewTouched())
	}
	return touched
}

// recordServers takes the virtual servers of a drift into the mirror.
func (e *Engine) recordServers(d *drift, touched *dataplane.Touched) (dirty []cluster.Name) {
	before := e.excludedServers()
	e.foreign = d.foreign(e.foreign)
	for id, look := range d.servers {
		e.correctServer(d, id, look, touched)
	}
	e.adoptPredecessors(touched)
	if !maps.Equal(before, e.excludedServers()) {
		dirty = slices.Collect(maps.Keys(e.services))
	}
	return dirty
}

// correct makes the mirror say of each key what was seen, and touches it.
func correct[V any](keys []netip.Addr, mirror, seen map[netip.Addr]V, touched map[netip.Addr]cluster.Name) {
	for _, key := range keys {
		if value, present := seen[key]; present {
			mirror[key] = value
		} else {
			delete(mirror, key)
		}
		touched[key] = cluster.Name{}
	}
}

func (e *Engine) correctServer(d *drift, id dataplane.VirtualServerID, look inspected, touched *dataplane.Touched) {
	mirrored, was := e.have.VirtualServers[id]
	_, foreign := d.seen.Foreign[id]
	switch {
	case look.present && was && !foreign && mirrored.Same(look.VirtualServer):
		return // the dump was wrong
	case look.present && !foreign:
		e.have.SetVirtualServer(id, look.VirtualServer)
	default:
		e.have.DropVirtualServer(id)
	}
	touched.VirtualServers[id] = e.want.Owner(id)
}

// foreign returns the virtual servers of others. Of what was touched is known what was known before.
func (d *drift) foreign(
	before map[dataplane.VirtualServerID]dataplane.VirtualServer,
) map[dataplane.VirtualServerID]dataplane.VirtualServer {
	now := d.seen.Foreign
	for id := range d.touched {
		delete(now, id)
		if v, was := before[id]; was {
			now[id] = v
		}
	}
	return now
}
