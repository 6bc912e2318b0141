package proxier

import (
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// The delay before a failed key is tried again doubles from first to last.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// retries holds, for each Service with failed operations, what is to be tried again and when.
type retries map[cluster.Name]*retry

type retry struct {
	keys  dataplane.Touched
	audit bool
	// dirty says that the Service itself has not been looked at yet.
	dirty bool
	delay time.Duration
	due   time.Time
	// taken says that the keys were handed out for the pass that runs now.
	taken bool
}

// put notes keys of a Service that failed at time now.
func (rs retries) put(now time.Time, owner cluster.Name, keys dataplane.Touched, audit bool) {
	r := rs[owner]
	if r == nil {
		r = &retry{keys: dataplane.NewTouched(), delay: firstRetry / 2}
		rs[owner] = r
	}
	if r.taken {
		r.keys, r.audit, r.taken = dataplane.NewTouched(), false, false
	}
	r.keys.Add(keys)
	r.audit = r.audit || audit
	r.delay = min(2*r.delay, lastRetry)
	r.due = now.Add(r.delay)
}

// dirty notes a Service that could not be looked at, for the next pass.
func (rs retries) dirty(owner cluster.Name) {
	if rs[owner] == nil {
		rs[owner] = &retry{keys: dataplane.NewTouched(), delay: firstRetry / 2, taken: true}
	}
	rs[owner].dirty = true
}

// audited takes note of an audit: those who asked for one have it.
func (rs retries) audited() {
	for _, r := range rs {
		r.audit = false
	}
}

// take returns the keys that are due, and whether one of them asks for an audit.
func (rs retries) take(now time.Time) (dataplane.Touched, bool) {
	due, audit := dataplane.NewTouched(), false
	for _, r := range rs {
		if !r.due.After(now) {
			due.Add(r.keys)
			audit = audit || r.audit
			r.taken = true
		}
	}
	return due, audit
}

// takeDirty returns the Services that were noted by dirty.
func (rs retries) takeDirty() []cluster.Name {
	var names []cluster.Name
	for name, r := range rs {
		if r.dirty {
			r.dirty = false
			names = append(names, name)
		}
	}
	return names
}

// succeed forgets the retries that were taken and did not fail again, and adds those Services to affected: they are well again.
func (rs retries) succeed(failed map[cluster.Name][]Failure, affected map[cluster.Name]struct{}) {
	for name, r := range rs {
		if _, again := failed[name]; !again && r.taken && !r.dirty {
			delete(rs, name)
			affected[name] = struct{}{}
		}
	}
}

// next returns when the earliest retry is due; the zero time when there is none.
func (rs retries) next() (due time.Time) {
	for _, r := range rs {
		if due.IsZero() || r.due.Before(due) {
			due = r.due
		}
	}
	return due
}
