package engine

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// round is one audit beside the passes. A Reader reads the kernel in a goroutine of its own; what it has seen is
// compared with the mirror between passes, piece by piece; what differs comes out as a drift. So no change waits for an
// audit longer than for a piece.
//
// What passes touch from the moment when the reading begins is not compared: the mirror knows it better than the
// Reader, which saw it before, after, or half way. What is said of it comes with the next round.
type round struct {
	engine  *Engine
	touches *touches
	found   *drift
	next    func() (struct{}, bool)
	stop    func()
}

// The size of a piece: so many keys are compared, or so many virtual servers inspected, which takes two or three
// system calls each, before others get their turn. Both take less than a millisecond.
const (
	pieceKeys        = 512
	pieceInspections = 8
)

// newRound returns a round that begins: from now on the kernel may be read.
func (e *Engine) newRound() *round { return &round{engine: e, touches: e.watchTouches()} }

// startComparing takes what the Reader has seen. It is of no use where the round is void.
func (r *round) startComparing(seen dataplane.Summary) {
	if r.isVoid() {
		return
	}
	r.found = &drift{seen: seen, servers: map[dataplane.VirtualServerID]inspected{}}
	r.next, r.stop = iter.Pull(r.compare())
}

// isVoid reports whether the round is of no use any more: everything was read anew meanwhile, or something went with
// which other objects go.
func (r *round) isVoid() bool { return r.touches.over || r.found == nil && r.touches.void }

// end ends the round, wherever it is.
func (r *round) end() {
	if r.stop != nil {
		r.stop()
	}
	r.engine.forgetTouches(r.touches)
}

// comparing reports whether there is something to compare.
func (r *round) comparing() bool { return r != nil && r.next != nil && !r.isVoid() }

// step compares the next piece. With the last one it returns what differs, and the round is over.
func (r *round) step() *drift {
	if _, more := r.next(); more {
		return nil
	}
	r.end()
	found := r.found
	found.leaveOutTouched(r.touches, r.engine.have)
	return found
}

// compare yields after each piece.
func (r *round) compare() iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		work := 0
		pause := func(cost int) (goOn bool) {
			if work += cost; work < pieceKeys {
				return true
			}
			work = 0
			return yield(struct{}{})
		}
		d := r.found
		have, seen := r.engine.have, d.seen.State
		entry := func(key dataplane.SetEntry) { d.entries = append(d.entries, key) }
		address := func(key netip.Addr) { d.addresses = append(d.addresses, key) }
		var suspects []dataplane.VirtualServerID
		suspect := func(id dataplane.VirtualServerID) { suspects = append(suspects, id) }
		is := d.seen.Parts.Has
		if is(dataplane.PartSets) && !(absent(seen.Entries.All(), have.Entries.Has, pause, entry) &&
			absent(have.Entries.All(), seen.Entries.Has, pause, entry)) {
			return
		}
		if is(dataplane.PartAddresses) &&
			!(absent(maps.Keys(seen.Addresses), in(have.Addresses), pause, address) &&
				absent(maps.Keys(have.Addresses), in(seen.Addresses), pause, address) &&
				differs(seen.Routes, have.Routes, pause, func(key netip.Addr) { d.routes = append(d.routes, key) })) {
			return
		}
		if !is(dataplane.PartServers) || !absent(maps.Keys(have.VirtualServers), in(d.seen.Servers), pause, suspect) {
			return
		}
		for id, digest := range d.seen.Servers {
			if mirrored, present := have.VirtualServers[id]; !present || mirrored.Digest() != digest {
				suspect(id)
			}
			if !pause(1) {
				return
			}
		}
		// The kernel is read in one order, whatever that of the maps.
		slices.SortFunc(suspects, dataplane.VirtualServerID.Compare)
		for _, id := range suspects {
			if _, touched := r.touches.keys.VirtualServers[id]; !touched {
				r.inspect(id)
			}
			if !pause(pieceKeys / pieceInspections) {
				return
			}
		}
	}
}

// in reports whether a key is in the map.
func in[K comparable, V any](m map[K]V) func(K) bool {
	return func(key K) bool {
		_, is := m[key]
		return is
	}
}

// absent calls each for every key that others do not have. Both may change whenever it pauses: what comes or goes then
// was touched by a pass. It returns false when it is to be given up.
func absent[K comparable](keys iter.Seq[K], others func(K) bool, pause func(int) bool, each func(K)) bool {
	for key := range keys {
		if !others(key) {
			each(key)
		}
		if !pause(1) {
			return false
		}
	}
	return true
}

// differs calls each for every key that is in one of both only, or with another value; otherwise as absent.
func differs[K, V comparable](a, b map[K]V, pause func(int) bool, each func(K)) bool {
	for key, value := range a {
		if other, found := b[key]; !found || other != value {
			each(key)
		}
		if !pause(1) {
			return false
		}
	}
	return absent(maps.Keys(b), in(a), pause, each)
}

// inspect reads a virtual server for itself. A dump of all of them leaves some out, or shows them twice, when others
// come and go meanwhile, since it finds its place again by counting (net/netfilter/ipvs/ip_vs_ctl.c,
// ip_vs_genl_dump_services, Linux 6.12): a third of those that stayed was missing in a test of the kernel's contract.
func (r *round) inspect(id dataplane.VirtualServerID) {
	v, present, err := r.engine.kernel.VirtualServer(id)
	if err != nil {
		r.found.errs = append(r.found.errs, fmt.Errorf("look at %s: %w", id, err))
		return
	}
	r.found.servers[id] = inspected{v, present}
}
