package engine

import (
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// The kernel may have refused all that one Service has. What is more than a piece is tried again piece by piece, and
// what changes meanwhile goes ahead. To such a try belong the real servers that are beyond a piece of their virtual
// server ([dataplane.Clip]). When everything was tried the try is over: its Service is reported, and what has failed
// waits for the next one.

// triesOfPass is how many pieces the small retries of a pass may be together.
const triesOfPass = 4

// takeRetries returns the keys that are to be tried again with this pass, and whether one of them asks for an audit.
// What a Service has, and is no more than a piece, is taken at once, in the order in which it is due, until there is no
// room in the pass; of all others a try begins. What all Services stand on is always taken.
func (e *Engine) takeRetries(now time.Time) (due dataplane.Touched, audit bool) {
	due, piece := dataplane.NewTouched(), e.pieces.room()
	room := triesOfPass * piece
	for _, name := range e.retries.dueBy(now) {
		r := e.retries[name]
		weight := 0
		if name != (cluster.Name{}) {
			weight = r.keys.Weigh(e.weigh)
		}
		switch {
		case weight > piece:
			r.pieces, r.keys = r.keys.Split(piece, e.weigh), dataplane.NewTouched()
			e.pieces.tries = append(e.pieces.tries, name)
			e.beginTry(name)
		case weight > room:
			room = 0 // those behind it are due later
			continue
		default:
			room -= weight
			due.Add(r.keys)
		}
		audit, r.taken = audit || r.audit, true
	}
	return due, audit
}

// weigh returns how much of a piece a virtual server takes.
func (e *Engine) weigh(id dataplane.VirtualServerID) int {
	weight := e.want.State.VirtualServers[id].Weight()
	if e.have != nil {
		weight = max(weight, e.have.VirtualServers[id].Weight())
	}
	return weight
}

// nextTry returns the next piece of a try. Services have their turns one after another.
func (e *Engine) nextTry(now time.Time) dataplane.Touched {
	p := &e.pieces
	name := p.tries[0]
	p.tries = p.tries[1:]
	r := e.retries[name]
	piece := r.pieces[0]
	if r.pieces = r.pieces[1:]; len(r.pieces) > 0 {
		p.tries = append(p.tries, name)
	}
	for id := range piece.VirtualServers {
		p.hold(now, id)
	}
	return piece
}

func (e *Engine) beginTry(name cluster.Name) {
	e.retries[name].trying = true
	e.pieces.trying[name] = struct{}{}
}

// tries reports whether a try of the Service is not over.
func (e *Engine) tries(name cluster.Name) bool {
	r := e.retries[name]
	if r == nil || !r.trying {
		return false
	}
	for _, of := range e.pieces.refused {
		if of.owner == name {
			return true
		}
	}
	return len(r.pieces) > 0
}

// noteTries records what has failed in tries, and adds to affected the Services whose tries are over.
func (e *Engine) noteTries(failures map[cluster.Name][]Failure, affected map[cluster.Name]struct{}) {
	for _, of := range e.pieces.refused {
		if e.retries[of.owner] != nil {
			e.beginTry(of.owner)
		}
	}
	for name := range e.pieces.trying {
		if r := e.retries[name]; r != nil {
			r.failed = append(r.failed, failures[name]...)
		}
		if !e.tries(name) {
			affected[name] = struct{}{}
		}
	}
}

// endTries forgets the tries that are over, and were reported.
func (e *Engine) endTries() {
	for name := range e.pieces.trying {
		if e.tries(name) {
			continue
		}
		delete(e.pieces.trying, name)
		if r := e.retries[name]; r != nil {
			r.trying, r.failed = false, nil
		}
	}
}

// failuresOf returns what has failed of a Service: in its try, or in this pass.
func (e *Engine) failuresOf(name cluster.Name, r *Report) []Failure {
	if of := e.retries[name]; of != nil && of.trying {
		return of.failed
	}
	return r.Failures[name]
}
