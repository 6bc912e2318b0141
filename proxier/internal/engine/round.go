package engine

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// round is one audit beside the passes. A Reader reads the kernel in a goroutine of its own; what it has seen is held
// against the mirror between passes, piece by piece; then one pass mends what differs. So no change waits for an audit
// longer than for a piece.
//
// What passes look at from the moment when the reading begins is not judged: the mirror knows it better than the
// Reader, which saw it before, after, or half way. What is said of it comes with the next round.
type round struct {
	seen    dataplane.Summary
	touched dataplane.Touched
	// moved says that the node's addresses were read since it began.
	moved bool
	// void says that objects went with another one, and nobody has noted which.
	void bool

	next func() (struct{}, bool)
	stop func()
	done bool

	entries   []dataplane.SetEntry
	addresses []netip.Addr
	routes    []netip.Addr
	servers   map[dataplane.VirtualServerID]looked
	errs      []error
}

// looked is a virtual server that seemed to differ, as it was at a second look; there is none when it is not present.
type looked struct {
	dataplane.VirtualServer
	present bool
}

// The size of a piece: so many keys are compared, or so many virtual servers looked at once more, which takes two or
// three system calls each, before others get their turn. Both take less than a millisecond.
const (
	pieceKeys  = 512
	pieceLooks = 8
)

// beginRound begins a round: from now on the kernel may be read.
func (e *Engine) beginRound() {
	e.abandon()
	e.round = &round{touched: dataplane.NewTouched(), servers: map[dataplane.VirtualServerID]looked{}}
}

// abandon ends a round that is of no use any more.
func (e *Engine) abandon() {
	if e.round != nil && e.round.stop != nil {
		e.round.stop()
	}
	e.round = nil
}

// saw takes what was seen, or why nothing was. A round that was abandoned meanwhile has no use for it.
func (e *Engine) saw(of *round, seen dataplane.Summary, err error) {
	if of == nil || of != e.round {
		return
	}
	if err != nil {
		e.unread = fmt.Errorf("read the kernel: %w", err)
		e.abandon()
		return
	}
	e.unread = nil
	if of.void {
		e.abandon()
		return
	}
	of.seen = seen
	of.next, of.stop = iter.Pull(e.compare(of))
}

// judging tells whether there is something to compare.
func (r *round) judging() bool { return r != nil && r.next != nil && !r.done }

// judged tells whether everything is compared, and waits for the pass that mends.
func (r *round) judged() bool { return r != nil && r.done }

// judge compares the next piece.
func (e *Engine) judge() {
	if _, more := e.round.next(); !more {
		e.round.done = true
	}
}

// note notes what a pass looks at. Operations have keys of their own where a scheduler is exchanged.
func (r *round) note(touched dataplane.Touched, ops []dataplane.Op) {
	if r == nil {
		return
	}
	r.touched.Add(touched)
	for _, op := range ops {
		switch o := op.Object.(type) {
		case dataplane.SetEntry:
			r.touched.Entries[o] = cluster.Name{}
		case dataplane.Link, dataplane.Set:
			r.void = r.void || op.Verb == dataplane.Delete
		}
	}
}

// compare yields after each piece.
func (e *Engine) compare(r *round) iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		work := 0
		pause := func(cost int) (goOn bool) {
			if work += cost; work < pieceKeys {
				return true
			}
			work = 0
			return yield(struct{}{})
		}
		have, seen := e.have, r.seen.State
		entry := func(key dataplane.SetEntry) { r.entries = append(r.entries, key) }
		address := func(key netip.Addr) { r.addresses = append(r.addresses, key) }
		var suspects []dataplane.VirtualServerID
		suspect := func(id dataplane.VirtualServerID) { suspects = append(suspects, id) }
		goOn := absent(seen.Entries.All(), have.Entries.Has, pause, entry) && absent(have.Entries.All(), seen.Entries.Has, pause, entry) &&
			absent(maps.Keys(seen.Addresses), in(have.Addresses), pause, address) && absent(maps.Keys(have.Addresses), in(seen.Addresses), pause, address) &&
			differs(seen.Routes, have.Routes, pause, func(key netip.Addr) { r.routes = append(r.routes, key) }) &&
			absent(maps.Keys(have.VirtualServers), in(r.seen.Servers), pause, suspect)
		if !goOn {
			return
		}
		for id, digest := range r.seen.Servers {
			if mirrored, present := have.VirtualServers[id]; !present || mirrored.Digest() != digest {
				suspect(id)
			}
			if !pause(1) {
				return
			}
		}
		// The kernel is asked in one order, whatever that of the maps.
		slices.SortFunc(suspects, dataplane.VirtualServerID.Compare)
		for _, id := range suspects {
			if _, touched := r.touched.VirtualServers[id]; !touched {
				e.lookAgain(r, id)
			}
			if !pause(pieceKeys / pieceLooks) {
				return
			}
		}
	}
}

// in tells whether a key is in the map.
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

// lookAgain reads a virtual server for itself. A dump of all of them leaves some out, or shows them twice, when others
// come and go meanwhile, since it finds its place again by counting (net/netfilter/ipvs/ip_vs_ctl.c,
// ip_vs_genl_dump_services, Linux 6.12): a third of those that stayed was missing in a test of the kernel's contract.
func (e *Engine) lookAgain(r *round, id dataplane.VirtualServerID) {
	v, present, err := e.kernel.VirtualServer(id)
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("look at %s: %w", id, err))
		return
	}
	r.servers[id] = looked{v, present}
}

// mend takes what the round has found into the mirror, and returns the keys of it: the pass brings them in line with
// what is wanted. Services become dirty when the node's addresses or sockets have changed.
func (e *Engine) mend(report *Report, now time.Time, dirty *[]cluster.Name) dataplane.Touched {
	r := e.round
	e.abandon()
	drift := dataplane.NewTouched()
	if r.void {
		return drift
	}
	e.connections = r.seen.Connections
	have, seen := e.have, r.seen.State
	if !r.touched.Foundation && !have.SameFoundation(seen) {
		have.Links, have.Sysctls, have.Sets = seen.Links, seen.Sysctls, seen.Sets
		have.Chains, have.Hooks, have.Closed = seen.Chains, seen.Hooks, seen.Closed
		drift.Foundation = true
	}
	correct(r.entries, r.touched.Entries, drift.Entries, func(key dataplane.SetEntry) {
		if seen.Entries.Has(key) {
			have.Entries.Put(key)
		} else {
			have.Entries.Drop(key)
		}
	})
	correct(r.addresses, r.touched.Addresses, drift.Addresses, into(have.Addresses, seen.Addresses))
	correct(r.routes, r.touched.Addresses, drift.Addresses, into(have.Routes, seen.Routes))
	before := e.keptOff()
	e.foreign = r.foreign(e.foreign)
	for id, look := range r.servers {
		if _, touched := r.touched.VirtualServers[id]; !touched {
			e.correctServer(r, id, look, &drift)
		}
	}
	e.inherit(&drift)
	if !maps.Equal(before, e.keptOff()) {
		*dirty = append(*dirty, slices.Collect(maps.Keys(e.services))...)
	}
	if !r.moved {
		*dirty = append(*dirty, e.recordAddresses(r.seen.NodeAddresses, r.seen.Broadcasts)...)
	}
	*dirty = append(*dirty, e.recordListeners(r.seen.Listeners)...)
	*dirty = append(*dirty, e.recordCaptures(r.seen.Observation)...)
	if len(r.errs) > 0 {
		report.Errors = append(report.Errors, r.errs...)
		e.retries.blind(now, dataplane.NewTouched())
	}
	return drift
}

// correct has take make the mirror say of each key what was seen, but for those that were touched.
func correct[K comparable](keys []K, touched, drift map[K]cluster.Name, take func(K)) {
	for _, key := range keys {
		if _, is := touched[key]; !is {
			take(key)
			drift[key] = cluster.Name{}
		}
	}
}

// into returns what makes the mirror say of a key what was seen.
func into[K comparable, V any](mirror, seen map[K]V) func(K) {
	return func(key K) {
		if value, present := seen[key]; present {
			mirror[key] = value
		} else {
			delete(mirror, key)
		}
	}
}

func (e *Engine) correctServer(r *round, id dataplane.VirtualServerID, look looked, drift *dataplane.Touched) {
	mirrored, was := e.have.VirtualServers[id]
	_, foreign := r.seen.Foreign[id]
	switch {
	case look.present && was && !foreign && mirrored.Same(look.VirtualServer):
		return // the dump was wrong
	case look.present && !foreign:
		e.have.SetVirtualServer(id, look.VirtualServer)
	default:
		e.have.DropVirtualServer(id)
	}
	drift.VirtualServers[id] = e.want.Owner(id)
}

// foreign returns the virtual servers of others. Of what was touched is known what was known before.
func (r *round) foreign(before map[dataplane.VirtualServerID]dataplane.VirtualServer) map[dataplane.VirtualServerID]dataplane.VirtualServer {
	now := r.seen.Foreign
	for id := range r.touched.VirtualServers {
		delete(now, id)
		if v, was := before[id]; was {
			now[id] = v
		}
	}
	return now
}
