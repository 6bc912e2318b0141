package engine

import (
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

// holdForgetting is how long connection tracking may wait to be notified of the front ends of Services that change
// piece by piece: its whole table is read each time.
const holdForgetting = time.Second

// pieces are what is left to be done of big Services.
type pieces struct {
	objects, servers int // of a pass
	// queue are the Services that go over to what they want by steps (dataplane.Want.Begin); each has its turn.
	queue []cluster.Name
	// rest are virtual servers of whose real servers not all have changed yet; each has its turn. whole are those of
	// which something failed meanwhile: with the next try of that all of their real servers change.
	rest  []dataplane.VirtualServerID
	whole map[dataplane.VirtualServerID]struct{}
	// passed says that the last pass has left the pieces to the next one; stepped that the last piece was a step.
	passed, stepped bool
	// held are front ends of which connection tracking is notified later, since when the first of them is.
	held  map[dataplane.VirtualServerID]struct{}
	since time.Time
}

func newPieces() pieces {
	return pieces{
		objects: pieceObjects, servers: pieceServers,
		whole: map[dataplane.VirtualServerID]struct{}{}, held: map[dataplane.VirtualServerID]struct{}{},
	}
}

// len counts the Services and virtual servers that are not done.
func (p *pieces) len() int { return len(p.queue) + len(p.rest) }

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

// big reports whether a Service has, or is to have, more than fits into a piece.
func (e *Engine) big(f dataplane.Fragment) bool {
	if e.want.Changing(f.Owner) || f.Weight() > e.pieces.objects {
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

// nextPiece takes the next piece. Services that have just changed go ahead of it, but not twice in a row.
func (e *Engine) nextPiece(now time.Time, changed bool, affected map[cluster.Name]struct{}) dataplane.Touched {
	p := &e.pieces
	if p.passed = p.len() > 0 && changed && !p.passed; p.passed {
		return dataplane.Touched{}
	}
	if len(p.rest) > 0 && (p.stepped || len(p.queue) == 0) {
		p.stepped = false
		touched := dataplane.NewTouched()
		touched.VirtualServers[p.rest[0]] = e.want.Owner(p.rest[0])
		return touched
	}
	if len(p.queue) == 0 {
		return dataplane.Touched{}
	}
	p.stepped = true
	name := p.queue[0]
	touched, over := e.want.Step(name, p.objects, e.losers.names)
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
	ops, rest := dataplane.Clip(ops, e.have, p.servers, p.whole)
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

// recordRest takes virtual servers of which something failed out of the rest: that is tried again later, and the rest
// with it.
func (e *Engine) recordRest(r *Report, touched dataplane.Touched) {
	p := &e.pieces
	if len(p.rest) == 0 && len(p.whole) == 0 {
		return
	}
	failed := map[dataplane.VirtualServerID]struct{}{}
	for _, failures := range r.Failures {
		for _, f := range failures {
			if id, is := virtualServerOf(f.Op); is {
				failed[id] = struct{}{}
			}
		}
	}
	for id := range p.whole {
		_, looked := touched.VirtualServers[id]
		if _, again := failed[id]; looked && !again {
			delete(p.whole, id)
		}
	}
	p.rest = slices.DeleteFunc(p.rest, func(id dataplane.VirtualServerID) bool {
		_, is := failed[id]
		if _, there := e.have.VirtualServers[id]; is && there {
			p.whole[id] = struct{}{}
		}
		return is
	})
}

// toForget lets go of what was held when nothing is left to be done, or it was held for long.
func (p *pieces) toForget(now time.Time) map[dataplane.VirtualServerID]struct{} {
	if p.len() == 0 || now.Sub(p.since) >= holdForgetting {
		clear(p.held)
	}
	return p.held
}

// waiting is how much there is to be done by the passes to come.
func (e *Engine) waiting() int { return e.backlog.len() + e.pieces.len() + e.losers.waiting() }

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
