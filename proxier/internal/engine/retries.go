package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// The delay before a failed key is tried again doubles from first to last. What one Service asks for and the kernel
// refuses is tried ever more rarely; what all of them stand on, soon.
const (
	firstRetry   = 100 * time.Millisecond
	lastRetry    = 30 * time.Second
	lastOfOne    = 5 * time.Minute
	refusedAfter = time.Second // a refusal that lasts so long is a Problem of the Service
)

// retries holds, for each Service with failed operations, what is to be tried again and when.
type retries map[cluster.Name]*retry

type retry struct {
	keys  dataplane.Touched
	audit bool
	// unread says that the kernel, or a part of it, could not be read.
	unread bool
	// dirty says that the Service itself has not been looked at yet.
	dirty bool
	delay time.Duration
	due   time.Time
	// began is when it failed first; zero when it has not.
	began time.Time
	// taken says that the keys were handed out for the pass that runs now.
	taken bool
	// pieces are what is still to be tried of what was due; trying says that this try is not over, failed is what has
	// failed of it so far (tries.go).
	pieces []dataplane.Touched
	trying bool
	failed []Failure
}

// put notes keys of a Service that failed at time now.
func (rs retries) put(now time.Time, owner cluster.Name, keys dataplane.Touched, audit bool) {
	r := rs[owner]
	fresh := r == nil
	if fresh {
		r = &retry{keys: dataplane.NewTouched(), delay: firstRetry / 2}
		rs[owner] = r
	}
	if r.began.IsZero() {
		r.began = now
	}
	again := fresh || r.taken || r.dirty // and not one more piece of the same try
	if r.taken {
		r.keys, r.audit, r.unread, r.taken = dataplane.NewTouched(), false, false, false
	}
	r.keys.Add(keys)
	r.audit = r.audit || audit
	last := lastRetry
	if owner != (cluster.Name{}) {
		last = lastOfOne
	}
	if again {
		r.delay = min(2*r.delay, last)
	}
	r.due = now.Add(r.delay)
}

// putUnread notes that the kernel could not be read, and what was to be looked at.
func (rs retries) putUnread(now time.Time, keys dataplane.Touched) {
	rs.put(now, cluster.Name{}, keys, true)
	rs[cluster.Name{}].unread = true
}

// foundationFailed reports whether what all Services stand on is to be tried again: the kernel was not read, or it
// lacks a link, a parameter, a set or a chain.
func (rs retries) foundationFailed() bool {
	r := rs[cluster.Name{}] // as no Service owns such an object
	return r != nil && (r.unread || r.keys.Foundation)
}

// allDueNow has everything tried again at once: what all Services stand on is there again.
func (rs retries) allDueNow(now time.Time) {
	for _, r := range rs {
		r.delay, r.due = firstRetry, now.Add(firstRetry)
	}
}

// longDue is due at any time.
var longDue = time.Unix(0, 0)

// dueNow has what failed of a Service tried again with the next pass.
func (rs retries) dueNow(name cluster.Name) {
	if r := rs[name]; r != nil {
		r.due = longDue
	}
}

// refused counts the Services of which something is to be tried again.
func (rs retries) refused() (services int) {
	if services = len(rs); rs[cluster.Name{}] != nil {
		services--
	}
	return services
}

// persists reports whether the Service's retries go on for so long that it is no chance.
func (rs retries) persists(name cluster.Name) bool {
	r := rs[name]
	return r != nil && r.delay >= refusedAfter
}

// dirty notes a Service that could not be looked at, for the next pass.
func (rs retries) dirty(owner cluster.Name) {
	if rs[owner] == nil {
		rs[owner] = &retry{keys: dataplane.NewTouched(), delay: firstRetry / 2, taken: true}
	}
	rs[owner].dirty = true
}

// audited records that an audit has been made: no retry waits for one any more.
func (rs retries) audited() {
	for _, r := range rs {
		r.audit = false
	}
}

// dueBy returns those whose keys are due, in the order in which they are.
func (rs retries) dueBy(now time.Time) []cluster.Name {
	var names []cluster.Name
	for name, r := range rs {
		if !r.due.After(now) && len(r.pieces) == 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b cluster.Name) int { return cmp.Or(rs[a].due.Compare(rs[b].due), a.Compare(b)) })
	return names
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

// succeed forgets the retries that were taken and did not fail again, and adds those Services to affected: they are
// well again. So is a Service whose failed keys were all looked at for another reason: it, or the kernel, has changed.
func (rs retries) succeed(
	failed map[cluster.Name]dataplane.Touched, looked dataplane.Touched, affected map[cluster.Name]struct{},
) {
	for name, r := range rs {
		if _, again := failed[name]; again || r.dirty || len(r.pieces) > 0 {
			continue
		}
		if !r.taken && !r.audit {
			r.keys.Remove(looked)
		}
		if r.taken || !r.audit && r.keys.Empty() {
			delete(rs, name)
			affected[name] = struct{}{}
		}
	}
}

// next returns when the earliest retry is due; the zero time when there is none. What is tried now does not count.
func (rs retries) next() (due time.Time) {
	for _, r := range rs {
		if len(r.pieces) == 0 && (due.IsZero() || r.due.Before(due)) {
			due = r.due
		}
	}
	return due
}
