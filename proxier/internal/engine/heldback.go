package engine

import (
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// touchWaiting touches what is held back: what a pass does may need it, and some of it may be due. What nothing else
// has touched counts as drift that is found now.
func (e *Engine) touchWaiting(now time.Time, why *causes, touched *dataplane.Touched) {
	cs := &e.contests
	cs.takeDue(now)
	if cs.waiting.Empty() {
		return
	}
	rest := dataplane.NewTouched()
	rest.Add(cs.waiting)
	rest.Remove(*touched)
	if why.drifted.Entries == nil {
		why.drifted = dataplane.NewTouched()
	}
	why.drifted.Add(rest)
	touched.Add(rest)
}

// holdBack leaves out what repairs contested objects before their time, and what cannot be done without it. A change of
// a Service is not held back, nor is what it needs.
func (e *Engine) holdBack(
	now time.Time, ops []dataplane.Op, why *causes, touched dataplane.Touched,
) (rest []dataplane.Op) {
	cs := &e.contests
	if !cs.any() && cs.waiting.Empty() {
		return ops
	}
	cs.waiting.Remove(touched)
	urgent := func(op dataplane.Op) bool {
		cause := why.of(op)
		return cause == Changed || cause == Started
	}
	many := map[dataplane.Kind]bool{}
	for _, root := range roots(ops, func(_ int, op dataplane.Op) bool { return !urgent(op) }) {
		many[root.Kind] = root.many
	}
	why.contested = map[dataplane.Identity]bool{}
	one := func(id dataplane.Identity) dataplane.Identity {
		if many[id.Kind] {
			return dataplane.Many(id.Kind)
		}
		return id
	}
	for _, op := range ops {
		id := dataplane.IdentityOf(op.Object)
		if with, is := op.GoesWith(); cs.is(one(id)) || is && cs.is(one(with)) {
			why.contested[id] = true
		}
	}
	waits := func(op dataplane.Op) bool {
		id := one(dataplane.IdentityOf(op.Object))
		// What time brings, such as the end of a drain, is no repair, unless the object is known to be undone.
		return cs.rests(id, now) && !urgent(op) && (why.of(op) != Timed || cs.tracked[id].held)
	}
	rest, held := dataplane.HoldBack(ops, e.have, e.want.State, waits, urgent)
	for _, op := range held {
		if id := one(dataplane.IdentityOf(op.Object)); cs.rests(id, now) {
			cs.hold(id, now)
		}
		cs.waiting.Add(keys(op, e.owner(op, touched)))
	}
	return rest
}

// countRepairs counts what a pass has repaired.
func (e *Engine) countRepairs(now time.Time, done *operations) {
	cs := &e.contests
	if cs.after == 0 {
		return
	}
	defer e.expireContests(now)
	if !done.causes.whole && done.causes.drifted.Empty() && !cs.any() {
		return
	}
	for _, root := range roots(done.ops, func(i int, op dataplane.Op) bool {
		cause := done.causes.of(op)
		again := (cause == Retried || cause == Timed) && cs.is(dataplane.IdentityOf(op.Object))
		return (cause == Drifted || again) && !done.failed(i)
	}) {
		owner := cluster.Name{}
		if !root.many {
			owner = done.owner(root.op)
		}
		cs.repaired(root.Identity, now, owner, root.IsIn(e.want.State) && !root.many)
	}
}

// expireContests ends contests that are over.
func (e *Engine) expireContests(now time.Time) {
	e.contests.expire(now, func(id dataplane.Identity) bool { return id.IsIn(e.want.State) })
}

// root is an object that is to be repaired, with the first operation on it; or many of one kind.
type root struct {
	dataplane.Identity
	op   dataplane.Op
	many bool
}

// roots returns the objects of those operations, but for what went only with another one: real servers with their
// virtual server, addresses with the link, entries with their set. Of a kind with very many there is one root.
func roots(ops []dataplane.Op, of func(int, dataplane.Op) bool) (all []root) {
	seen, count := map[dataplane.Identity]bool{}, map[dataplane.Kind]int{}
	made := map[dataplane.Identity]bool{}
	for i, op := range ops {
		if !of(i, op) {
			continue
		}
		id := dataplane.IdentityOf(op.Object)
		made[id] = made[id] || op.Verb == dataplane.Create || op.Verb == dataplane.Renew
		made[dataplane.Many(dataplane.KindLink)] = made[dataplane.Many(dataplane.KindLink)] || id.Kind == dataplane.KindLink
		if seen[id] {
			continue
		}
		seen[id] = true
		if with, is := op.GoesWith(); is && made[with] {
			continue
		}
		count[id.Kind]++
		all = append(all, root{Identity: id, op: op})
	}
	kept := all[:0]
	for _, r := range all {
		if count[r.Kind] > atOnce {
			if r.Identity, r.many = dataplane.Many(r.Kind), true; seen[r.Identity] {
				continue
			}
			seen[r.Identity] = true
		}
		kept = append(kept, r)
	}
	return kept
}
