package engine

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// A pass takes no more of big Services than a piece, so that what changes meanwhile waits for that and no longer:
// pieceObjects of the kernel, or one front end where that has more, and of one virtual server pieceServers real
// servers. A Service that has less in all is no big one: it changes at once.
const (
	pieceObjects = 512
	pieceServers = 1024
)

// A piece is half as large as the last one where a pass took longer than passLong that had one, down to a
// 2^pieceHalves-th, and twice as large again where it took less than a quarter of that: an addition of a real server
// may take a thousand times as long as another one, while the kernel still has what was deleted of late
// (docs/benchmarking.md, BenchmarkTrash).
const pieceHalves = 5

// pieceTables is how many tables of schedulers the Services of a pass may have built anew, or one Service if that has
// more: each takes as long as some 15 additions of a real server (BenchmarkMaglev), so these are as much as a piece.
// The Services behind it wait for the next pass.
const pieceTables = 32

// startTables is how many times as many a pass of a start has.
const startTables = 4

// holdForgetting is how long connection tracking may wait to be notified of the front ends of Services that change
// piece by piece: its whole table is read each time.
const holdForgetting = time.Second

// pieces are what is left to be done of big Services.
type pieces struct {
	objects, servers int // of a pass
	// halved is how often they are halved now, by how long passes take on this clock.
	halved int
	clock  func() time.Time
	// queue are the Services that go over to what they want by steps (dataplane.Want.Begin); each has its turn.
	queue []cluster.Name
	// rest are virtual servers of whose real servers not all have changed yet; each has its turn. refused is what the
	// kernel has refused of these meanwhile.
	rest    []dataplane.VirtualServerID
	refused map[dataplane.VirtualServerID]*refused
	// tries are the Services that have pieces to be tried again; each has its turn. trying are those whose tries are
	// not over.
	tries  []cluster.Name
	trying map[cluster.Name]struct{}
	// drift are pieces of what an audit has found of Services that are big.
	drift []dataplane.Touched
	big   map[cluster.Name]struct{}
	// passed says that the last pass has left the pieces to the next one; last is of which kind the last piece was.
	passed bool
	last   pieceKind
	// held are front ends of which connection tracking is notified later, since when the first of them is.
	held  map[dataplane.VirtualServerID]struct{}
	since time.Time
}

// pieceKind is where a piece comes from. Kinds have their turns one after another.
type pieceKind int

const (
	noPiece pieceKind = iota
	pieceOfQueue
	pieceOfRest
	pieceOfTries
	// pieceOfDrift comes ahead of all others.
	pieceOfDrift
	pieceKinds
)

// refused is what the kernel has refused of a virtual server since it is one of the rest, and whose it is.
type refused struct {
	owner cluster.Name
	ops   map[netip.AddrPort]dataplane.Verb
}

func newPieces() pieces {
	return pieces{
		objects: pieceObjects, servers: pieceServers, clock: time.Now,
		refused: map[dataplane.VirtualServerID]*refused{}, trying: map[cluster.Name]struct{}{},
		big: map[cluster.Name]struct{}{}, held: map[dataplane.VirtualServerID]struct{}{},
	}
}

// len counts the Services and virtual servers that are not done.
func (p *pieces) len() int { return p.changing() + len(p.tries) + len(p.drift) }

// changing is len without what is tried again or repaired.
func (p *pieces) changing() int { return len(p.queue) + len(p.rest) }

// next returns which kind has its turn now; there is a piece of one.
func (p *pieces) next() pieceKind {
	if len(p.drift) > 0 {
		return pieceOfDrift
	}
	left := [...]int{pieceOfQueue: len(p.queue), pieceOfRest: len(p.rest), pieceOfTries: len(p.tries), pieceOfDrift: 0}
	kind := p.last
	for kind = (kind + 1) % pieceKinds; left[kind] == 0; {
		kind = (kind + 1) % pieceKinds
	}
	return kind
}

// put has the Fragment wanted: at once where that is little, else by steps, of which the first one is taken by next.
func (e *Engine) put(f dataplane.Fragment) dataplane.Touched {
	if !e.big(f) {
		return e.want.Set(f, e.losers.names)
	}
	e.goOver(f.Owner)
	e.want.Begin(f)
	return dataplane.Touched{}
}

// remove is put for a Service that is gone.
func (e *Engine) remove(name cluster.Name) dataplane.Touched {
	if !e.big(dataplane.Fragment{Owner: name}) {
		return e.want.Remove(name, e.losers.names)
	}
	e.goOver(name)
	e.want.BeginRemoval(name)
	return dataplane.Touched{}
}

// big reports whether a Service has, or is to have, more than fits into a piece, and records whether it is to.
func (e *Engine) big(f dataplane.Fragment) bool {
	more := f.Weight() > e.pieces.objects
	if more {
		e.pieces.big[f.Owner] = struct{}{}
	} else {
		delete(e.pieces.big, f.Owner)
	}
	if more || e.want.Changing(f.Owner) {
		return true
	}
	before, _ := e.want.Fragment(f.Owner)
	return before.Weight() > e.pieces.objects
}

// goOver queues a Service. What failed of it is tried again with the next pass, as all of it would be if it changed at
// once.
func (e *Engine) goOver(name cluster.Name) {
	if !e.want.Changing(name) {
		e.pieces.queue = append(e.pieces.queue, name)
	}
	e.retries.dueNow(name)
}

// room and serversRoom are objects and servers, as they are now.
func (p *pieces) room() int        { return max(1, p.objects>>p.halved) }
func (p *pieces) serversRoom() int { return max(1, p.servers>>p.halved) }

// took records how long a pass took that had a piece.
func (p *pieces) took(d time.Duration, starting bool) {
	long := passLong
	if starting {
		long = passLongStart
	}
	switch {
	case d > long:
		p.halved = min(p.halved+1, pieceHalves)
	case d < long/4:
		p.halved = max(p.halved-1, 0)
	}
}

// builds counts the tables of schedulers that are built anew for the keys.
func (e *Engine) builds(touched dataplane.Touched) (tables int) {
	for id := range touched.VirtualServers {
		v, wanted := e.want.State.VirtualServers[id]
		if have, there := e.have.VirtualServers[id]; wanted && v.Costly() && (!there || !have.Same(v)) {
			tables++
		}
	}
	return tables
}

// compileAll compiles the Services, until the tables of a piece are to be built anew. It puts back and returns those
// that are left.
func (e *Engine) compileAll(names []cluster.Name, touched *dataplane.Touched) (later []cluster.Name) {
	tables, most := 0, pieceTables
	if e.starting {
		most *= startTables
	}
	for i, name := range names {
		news := e.compile(name)
		touched.Add(news)
		if tables += e.builds(news); tables >= most && i+1 < len(names) {
			e.backlog.putBack(names[i+1:])
			return names[i+1:]
		}
	}
	return nil
}

// nextPiece takes the next piece. Services that have just changed go ahead of it, but not twice in a row.
func (e *Engine) nextPiece(
	now time.Time, changed bool, affected map[cluster.Name]struct{},
) (touched dataplane.Touched, kind pieceKind) {
	p := &e.pieces
	if p.passed = p.len() > 0 && changed && !p.passed; p.passed || p.len() == 0 {
		return dataplane.Touched{}, noPiece
	}
	switch p.last = p.next(); p.last {
	case pieceOfDrift:
		touched, p.drift = p.drift[0], p.drift[1:]
	case pieceOfTries:
		touched = e.nextTry(now)
	case pieceOfRest:
		touched = dataplane.NewTouched()
		touched.VirtualServers[p.rest[0]] = e.want.Owner(p.rest[0])
	default:
		touched = e.nextStep(now, affected)
	}
	return touched, p.last
}

// nextStep takes a Service's next step.
func (e *Engine) nextStep(now time.Time, affected map[cluster.Name]struct{}) dataplane.Touched {
	p := &e.pieces
	name := p.queue[0]
	touched, over := e.want.Step(name, p.room(), e.losers.names)
	p.queue = p.queue[1:]
	if over {
		affected[name] = struct{}{}
		return touched
	}
	p.queue = append(p.queue, name)
	for id := range touched.VirtualServers {
		p.hold(now, id)
	}
	return touched
}

func (p *pieces) hold(now time.Time, id dataplane.VirtualServerID) {
	if len(p.held) == 0 {
		p.since = now
	}
	p.held[id] = struct{}{}
}

// clip leaves out what is beyond a piece of one virtual server.
func (e *Engine) clip(now time.Time, ops []dataplane.Op, touched dataplane.Touched) []dataplane.Op {
	p := &e.pieces
	var before func(dataplane.VirtualServerID, netip.AddrPort) dataplane.Verb
	if len(p.refused) > 0 {
		before = p.refusedBefore
	}
	ops, rest := dataplane.Clip(ops, e.have, p.serversRoom(), before)
	p.rest = slices.DeleteFunc(p.rest, func(id dataplane.VirtualServerID) bool {
		_, looked := touched.VirtualServers[id]
		return looked
	})
	p.rest = append(p.rest, rest...)
	for _, id := range rest {
		p.hold(now, id)
	}
	return ops
}

// recordRest records what has failed of virtual servers that are among the rest, and takes out those that are not
// there at all: they are tried again as a whole. It returns the keys of the pass of which something has failed since it
// is one of the rest. That waits until all of the rest was tried, so that those behind it have their turn.
func (e *Engine) recordRest(r *Report, touched dataplane.Touched) map[cluster.Name]dataplane.Touched {
	p := &e.pieces
	if len(p.rest)+len(p.refused) == 0 {
		return nil
	}
	waits := map[dataplane.VirtualServerID]struct{}{}
	for _, id := range p.rest {
		waits[id] = struct{}{}
	}
	for owner, failures := range r.Failures {
		for _, f := range failures {
			id, is := virtualServerOf(f.Op)
			if _, of := waits[id]; !is || !of {
				continue
			}
			if _, there := e.have.VirtualServers[id]; !there {
				delete(waits, id)
			} else if o, real := f.Op.Object.(dataplane.RealServerObject); real {
				p.refuse(owner, f.Op.Verb, o)
			}
		}
	}
	p.rest = slices.DeleteFunc(p.rest, func(id dataplane.VirtualServerID) bool {
		_, still := waits[id]
		return !still
	})
	failed := map[cluster.Name]dataplane.Touched{}
	for id, of := range p.refused {
		_, still := waits[id]
		if _, looked := touched.VirtualServers[id]; looked {
			again, known := failed[of.owner]
			if !known {
				again = dataplane.NewTouched()
				failed[of.owner] = again
			}
			again.VirtualServers[id] = of.owner
		}
		if !still {
			delete(p.refused, id)
		}
	}
	return failed
}

func (p *pieces) refusedBefore(id dataplane.VirtualServerID, at netip.AddrPort) dataplane.Verb {
	if of := p.refused[id]; of != nil {
		return of.ops[at]
	}
	return 0
}

func (p *pieces) refuse(owner cluster.Name, verb dataplane.Verb, o dataplane.RealServerObject) {
	of := p.refused[o.VirtualServer]
	if of == nil {
		of = &refused{owner, map[netip.AddrPort]dataplane.Verb{}}
		p.refused[o.VirtualServer] = of
	}
	of.ops[netip.AddrPortFrom(o.RealServer.Addr, o.RealServer.Port)] = verb
}

// toForget lets go of what was held when nothing is left to be done, or it was held for long.
func (p *pieces) toForget(now time.Time) map[dataplane.VirtualServerID]struct{} {
	if p.len() == 0 || now.Sub(p.since) >= holdForgetting {
		clear(p.held)
	}
	return p.held
}

// waiting is how much there is to be done by the passes to come. The end of a start is something, too: the pass that
// has taken the last piece has not looked at what nobody wants.
func (e *Engine) waiting() int {
	n := e.backlog.len() + e.pieces.len() + e.losers.waiting()
	if n == 0 && e.starting && len(e.compiling) == 0 {
		n = 1
	}
	return n
}

// waits reports whether the Service is not in the kernel yet as it is to be, though nothing of it has failed.
func (e *Engine) waits(name cluster.Name) bool {
	if e.backlog.has(name) || e.compiling[name] != nil || e.want.Changing(name) {
		return true
	}
	for _, id := range e.pieces.rest {
		if e.want.Owner(id) == name {
			return true
		}
	}
	return false
}
