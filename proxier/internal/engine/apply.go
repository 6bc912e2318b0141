package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Failure is an operation that was not done.
type Failure struct {
	Op  dataplane.Op
	Err error
}

// errBlocked marks operations that were left out because one that they need had failed.
var errBlocked = errors.New("left out")

// apply carries out ops phase by phase. What a failed operation would have carried is left out, the rest goes on.
func (e *Engine) apply(r *Report, ops []dataplane.Op, touched dataplane.Touched) {
	e.applyFrom(r, 0, ops, touched)
}

// applyFrom is apply for operations that have their places in the Report from first on.
func (e *Engine) applyFrom(r *Report, first int, ops []dataplane.Op, touched dataplane.Touched) {
	var want *dataplane.State
	if e.want != nil { // cleanup wants nothing
		want = e.want.State
	}
	guarded := false // anew
	for _, phase := range dataplane.Phases(ops) {
		ready, gate := make([]dataplane.Op, 0, len(phase)), dataplane.NewGate(e.have, want, ops)
		for i, op := range phase {
			if why := gate.Blocked(op); why != "" {
				err := fmt.Errorf("%s: %w: %s", op, errBlocked, why)
				r.fail(e.owner(op, touched), op, err)
				r.operations.fail(first+i, err)
				continue
			}
			ready = append(ready, op)
		}
		done := ready[:0] // what is read again stands behind it
		at := first - 1
		for i, err := range e.kernel.Apply(ready) {
			for at++; r.operations.failed(at); at++ { // was left out
				continue
			}
			e.stale.note(ready[i], err != nil)
			e.cutoffs.note(ready[i], err != nil, e.want)
			if err != nil {
				r.fail(e.owner(ready[i], touched), ready[i], err)
				r.operations.fail(at, err)
				if mayBeLocal(ready[i], err) {
					done = append(done, ready[i])
				}
				continue
			}
			guarded = guarded || ready[i].Verb != dataplane.Delete && dataplane.Guards(ready[i].Object)
			if o, is := ready[i].Object.(dataplane.Sysctl); is {
				r.Sysctls = append(r.Sysctls, dataplane.SysctlChange{Name: o.Name, Old: e.have.Sysctls[o.Name], New: o.Value})
			}
			done = append(done, ready[i])
			r.done(ready[i])
		}
		e.have.ApplyAll(done)
		first += len(phase)
	}
	if guarded && !e.starting {
		e.cutoffs.noteAll(e.want)
	}
}

// mayBeLocal reports whether the operation may have made a VIP local, and nobody knows: for the rest of the pass it
// counts as done, so that the VIP keeps its last virtual server. The next pass reads the kernel before it does
// anything.
func mayBeLocal(op dataplane.Op, err error) bool {
	switch op.Object.(type) {
	case dataplane.Address, dataplane.Route:
		return op.Verb == dataplane.Create && outcomeUnknown(err)
	}
	return false
}

// owner returns the Service on whose behalf the operation's object was looked at; where that was nobody, as after an
// audit, the Service that wants it. The zero Name is for what belongs to none.
func (e *Engine) owner(op dataplane.Op, t dataplane.Touched) cluster.Name {
	of := func(id dataplane.VirtualServerID) cluster.Name {
		if name := t.VirtualServers[id]; name != (cluster.Name{}) {
			return name
		}
		if e.want == nil { // cleanup wants nothing
			return cluster.Name{}
		}
		return e.want.Owner(id)
	}
	switch o := op.Object.(type) {
	case dataplane.VirtualServerObject:
		return of(o.ID)
	case dataplane.RealServerObject:
		return of(o.VirtualServer)
	case dataplane.SetEntry:
		if name := t.Entries[o]; name != (cluster.Name{}) {
			return name
		}
		// Entries of front ends, and what holds one while its scheduler is exchanged.
		return of(o.FrontEnd())
	case dataplane.Address:
		return t.Addresses[o.Addr]
	case dataplane.Route:
		return t.Addresses[o.Addr]
	}
	return cluster.Name{}
}

// keys returns the key of the operation's object.
func keys(op dataplane.Op, owner cluster.Name) dataplane.Touched {
	t := dataplane.NewTouched()
	switch o := op.Object.(type) {
	case dataplane.VirtualServerObject:
		t.VirtualServers[o.ID] = owner
	case dataplane.RealServerObject:
		t.VirtualServers[o.VirtualServer] = owner
	case dataplane.SetEntry:
		t.Entries[o] = owner
	case dataplane.Address:
		t.Addresses[o.Addr] = owner
	case dataplane.Route:
		t.Addresses[o.Addr] = owner
	default:
		t.Foundation = true
	}
	return t
}

// scheduleRetries puts what failed back, with the Service it belongs to. An unexpected errno shows that the mirror is
// wrong: a virtual server is inspected before it is tried again, for all else there is an audit. Where something
// is gone, everything may be: the next pass audits. failed are keys of which something has failed before, and was left
// out now. Services that are better or worse off than before are added to affected.
func (e *Engine) scheduleRetries(
	now time.Time, r *Report, looked dataplane.Touched, failed map[cluster.Name]dataplane.Touched,
	affected map[cluster.Name]struct{},
) {
	missing, foundationFailed := false, e.retries.foundationFailed()
	if failed == nil {
		failed = map[cluster.Name]dataplane.Touched{}
	}
	for owner, failures := range r.Failures {
		again, audit := dataplane.NewTouched(), false
		again.Add(failed[owner])
		failed[owner] = again
		for _, f := range failures {
			again.Add(keys(f.Op, owner))
			missing = missing || e.missingInKernel(f.Op, f.Err)
			if id, is := virtualServerOf(f.Op); is && unexpected(f.Err) {
				e.doubts[id] = struct{}{}
			} else if unexpected(f.Err) {
				audit = true
				e.auditDue = e.auditDue || outcomeUnknown(f.Err)
			}
		}
		e.retries.put(now, owner, again, audit)
		affected[owner] = struct{}{}
	}
	for owner, again := range failed {
		if len(r.Failures[owner]) == 0 {
			e.retries.put(now, owner, again, false)
		}
	}
	if missing {
		e.auditNext(now)
	}
	e.noteTries(r.Failures, affected)
	e.retries.succeed(failed, looked, affected)
	if foundationFailed && !e.retries.foundationFailed() {
		e.retries.allDueNow(now)
	}
}
