package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// contests are the objects of the kernel that others undo again and again. An object that was repaired so many times
// within a window is contested: from then on it is repaired once in a tenth of the window only, until it has stayed as
// it is for a whole window. Two writers that both go by what they want would else undo each other's work for ever, as
// fast as they can.
//
// Times come from outside. What is remembered has a bound: mostTracked objects, of which the one that was repaired
// longest ago is forgotten first.
type contests struct {
	// after is how many repairs within the window make an object contested; 0 is that none is.
	after   int
	window  time.Duration
	tracked map[dataplane.Identity]*contest
	// waiting are the keys of what is held back.
	waiting dataplane.Touched
	// changed says that there is something else to be reported than there was.
	changed  bool
	reported Contested
}

// contest is what is known of one object.
type contest struct {
	// repairs are the times of the last ones, the oldest first.
	repairs []time.Time
	// began is when it became contested; zero while it is not. within is how long the repairs took that made it so.
	began  time.Time
	within time.Duration
	// due is when it may be repaired again; held says that something of it is held back until then.
	due  time.Time
	held bool
	// undone is when it was last found undone.
	undone time.Time
	// owner is the Service that it belongs to, or that is named first.
	owner cluster.Name
	// wanted says that a Service, or the foundation, wants it, rather than that somebody has added it.
	wanted bool
	// writer is who undoes it; "" is not known yet. unasked says that nobody has been asked since the last repair.
	writer  string
	known   bool
	unasked bool
}

const (
	// mostTracked bounds what is remembered.
	mostTracked = 1024
	// atOnce is how many objects of one kind, found undone at one time, count as one: who wipes a table of thousands
	// has to be recognized, too.
	atOnce = 100
	// restPart is the part of the window in which a contested object is repaired once; samePart is that within which
	// many objects of one kind count as undone once: they are found by more than one audit.
	restPart, samePart = 10, 60
)

func newContests(after int, window time.Duration) contests {
	return contests{
		after: after, window: window, tracked: map[dataplane.Identity]*contest{}, waiting: dataplane.NewTouched(),
	}
}

// is reports whether the object is contested.
func (cs *contests) is(id dataplane.Identity) bool {
	c := cs.tracked[id]
	return c != nil && !c.began.IsZero()
}

// rests reports whether the object is contested, and not to be repaired yet.
func (cs *contests) rests(id dataplane.Identity, now time.Time) bool {
	return cs.is(id) && now.Before(cs.tracked[id].due)
}

// hold notes that an object which rests is undone.
func (cs *contests) hold(id dataplane.Identity, now time.Time) {
	c := cs.tracked[id]
	if !c.held {
		c.undone = now
	}
	c.held = true
}

// repaired counts a repair.
func (cs *contests) repaired(id dataplane.Identity, now time.Time, owner cluster.Name, wanted bool) {
	c := cs.tracked[id]
	if c == nil {
		if len(cs.tracked) >= mostTracked && !cs.forgetOldest() {
			return
		}
		c = &contest{}
		cs.tracked[id] = c
	}
	if n := len(c.repairs); id == dataplane.Many(id.Kind) && n > 0 && now.Sub(c.repairs[n-1]) < cs.window/samePart {
		return
	}
	c.owner, c.wanted, c.undone, c.held = owner, wanted, now, false
	c.repairs = append(c.repairs[max(0, len(c.repairs)+1-cs.after):], now)
	if within := now.Sub(c.repairs[0]); c.began.IsZero() && len(c.repairs) == cs.after && within < cs.window {
		c.began, c.within, c.unasked, cs.changed = now, within, true, true
	}
	if !c.began.IsZero() {
		c.due = now.Add(cs.window / restPart)
		c.unasked = !c.known
	}
}

// forgetOldest forgets the object that was repaired longest ago and is not contested, if there is one.
func (cs *contests) forgetOldest() bool {
	var oldest dataplane.Identity
	var at time.Time
	for id, c := range cs.tracked {
		if last := c.repairs[len(c.repairs)-1]; c.began.IsZero() && (at.IsZero() || last.Before(at)) {
			oldest, at = id, last
		}
	}
	delete(cs.tracked, oldest)
	return !at.IsZero()
}

// expire forgets what nobody has undone for a window, and what was wanted and is not any more.
func (cs *contests) expire(now time.Time, wants func(dataplane.Identity) bool) {
	for id, c := range cs.tracked {
		gone := c.wanted && !wants(id)
		if c.held && !gone || !gone && now.Sub(c.undone) < cs.window {
			continue
		}
		cs.changed = cs.changed || !c.began.IsZero()
		delete(cs.tracked, id)
	}
}

// next returns when there is something to do: to repair what is held back, or to report that an object is contested no
// more; the zero time when there is nothing.
func (cs *contests) next() (next time.Time) {
	for _, c := range cs.tracked {
		due := c.undone.Add(cs.window)
		switch {
		case c.began.IsZero():
			continue
		case c.held:
			due = c.due
		}
		if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next
}

// takeDue lets go of what may be repaired now: the pass holds it again if it has to.
func (cs *contests) takeDue(now time.Time) {
	for _, c := range cs.tracked {
		c.held = c.held && now.Before(c.due)
	}
}

// any reports whether an object is contested.
func (cs *contests) any() bool {
	for _, c := range cs.tracked {
		if !c.began.IsZero() {
			return true
		}
	}
	return false
}

// unasked reports whether nobody has been asked who undoes an object.
func (cs *contests) unasked() bool {
	for _, c := range cs.tracked {
		if c.unasked {
			return true
		}
	}
	return false
}

// name takes the answer: who writes here, and whether that is more than a guess. An object keeps the first writer that
// is known, so that it is reported once.
func (cs *contests) name(writer string, known bool) {
	for _, c := range cs.tracked {
		if c.began.IsZero() || c.known {
			continue
		}
		c.unasked, c.known = false, known
		if c.writer == "" || known {
			c.writer, cs.changed = writer, true
		}
	}
}

// Contested is what others undo again and again, as a pass reports it.
type Contested struct {
	// Objects counts them by their kinds.
	Objects map[dataplane.Kind]int
	// First names one of them, Writer who undoes it; both are "" where there is none, and before the writer is known.
	First, Writer string
	// Problems are those of the node.
	Problems []cluster.Problem
}

// Count returns how many objects there are.
func (c Contested) Count() (n int) {
	for _, of := range c.Objects {
		n += of
	}
	return n
}

// contested is the reason of an object that somebody undoes again and again.
var contested = cluster.Reason{Name: "Contested", OfNode: true, Urgent: true}

// report returns what there is to report. It is made anew when it has changed.
func (cs *contests) report() Contested {
	if !cs.changed {
		return cs.reported
	}
	cs.changed = false
	var ids []dataplane.Identity
	r := Contested{}
	for id, c := range cs.tracked {
		if !c.began.IsZero() {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b dataplane.Identity) int {
		return cmp.Or(cs.tracked[a].began.Compare(cs.tracked[b].began), cmp.Compare(a.String(), b.String()))
	})
	var problems cluster.Problems
	for _, id := range ids {
		if r.Objects == nil {
			r.Objects, r.First = map[dataplane.Kind]int{}, id.String()
		}
		r.Objects[id.Kind]++
		c := cs.tracked[id]
		if c.writer == "" {
			continue // the answer is on its way
		}
		if r.Writer == "" || c.known {
			r.Writer = c.writer
		}
		of := ""
		if c.owner != (cluster.Name{}) {
			of = " of service " + c.owner.String()
		}
		problems.Addf(contested, budget.Cut(id.String()),
			"somebody has undone this object%s %d times within %s: %s; it is repaired once in %s only, until nobody has undone it "+
				"for %s; what the API changes is written at once", of, cs.after, max(c.within.Round(time.Second), time.Second),
			c.writer, cs.window/restPart, cs.window)
	}
	r.Problems = problems.Reported()
	cs.reported = r
	return r
}
