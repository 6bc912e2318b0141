package engine

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Cause is why an operation came. Where several apply, the first one in this order counts, and Changed counts where no
// other one does.
type Cause uint8

// The causes.
const (
	// Started: a start goes over all Services for the first time.
	Started Cause = iota + 1
	// Drifted: an audit has found that the kernel is not as the mirror has it.
	Drifted
	// Retried: an operation on the same object had failed.
	Retried
	// Timed: a drain, or a slow start, went on.
	Timed
	// Changed: a Service, its endpoints, or this node has changed.
	Changed
)

var causeNames = [...]string{Started: "start", Drifted: "drift", Retried: "retry", Timed: "timer", Changed: "change"}

// String returns one word.
func (c Cause) String() string {
	if int(c) < len(causeNames) && causeNames[c] != "" {
		return causeNames[c]
	}
	return fmt.Sprintf("cause(%d)", uint8(c))
}

// Operation is one that a pass has carried out, or left out.
type Operation struct {
	Op    dataplane.Op
	Cause Cause
	// Contested says that the object was so before the pass: others undo it again and again.
	Contested bool
	// Err is nil where it succeeded.
	Err   error
	owner func(dataplane.Op) cluster.Name
}

// Owner returns the Service that the object belongs to, of several the first one; the zero Name for the foundation, and
// for what no Service wants any more.
func (o Operation) Owner() cluster.Name { return o.owner(o.Op) }

// operations are those of a pass, in their order. They are the slice that the pass has made anyway; what is said of
// each is found out when somebody asks.
type operations struct {
	ops []dataplane.Op
	// errs are those of the operations that failed, by their places.
	errs   map[int]error
	owner  func(dataplane.Op) cluster.Name
	causes causes
}

// Operations returns what the pass has carried out, or left out, in that order. It is to be called within
// [Observer.Observe]; after that there are none, so that a Report that is kept does not keep them.
func (r Report) Operations() iter.Seq[Operation] {
	return func(yield func(Operation) bool) {
		if r.operations == nil {
			return
		}
		for i, op := range r.operations.ops {
			causes := &r.operations.causes
			contested := causes.contested != nil && causes.contested[dataplane.IdentityOf(op.Object)]
			if !yield(Operation{op, causes.of(op), contested, r.operations.errs[i], r.operations.owner}) {
				return
			}
		}
	}
}

// Drift returns the Operations that have repaired what had drifted.
func (r Report) Drift() iter.Seq[Operation] {
	return func(yield func(Operation) bool) {
		if r.operations == nil || !r.operations.causes.whole && r.operations.causes.drifted.Empty() {
			return
		}
		for o := range r.Operations() {
			if o.Cause == Drifted && o.Err == nil && !yield(o) {
				return
			}
		}
	}
}

// release lets go of the operations, in all copies of the Report.
func (r Report) release() {
	if r.operations != nil {
		*r.operations = operations{}
	}
}

// failed reports whether the operation at that place has failed, or was left out.
func (o *operations) failed(at int) bool {
	if o == nil {
		return false
	}
	_, is := o.errs[at]
	return is
}

func (o *operations) fail(at int, err error) {
	if o == nil {
		return
	}
	if o.errs == nil {
		o.errs = map[int]error{}
	}
	o.errs[at] = err
}

// causes are the keys that a pass touches, by what brought them. Those that changes bring are not kept.
type causes struct {
	starting bool
	// drifted are keys that an audit beside the passes has found, retried those of what had failed.
	drifted, retried dataplane.Touched
	// timed are the virtual servers of drains and slow starts, sorted. A list takes less room than a map.
	timed []dataplane.VirtualServerID
	// whole says that everything was compared. Then what is not in asked, which are the keys that the pass would have
	// touched anyway, has drifted.
	whole bool
	asked dataplane.Touched
	// contested are the objects that were so before the pass.
	contested map[dataplane.Identity]bool
}

// addPiece adds the keys of a piece.
func (c *causes) addPiece(kind pieceKind, keys dataplane.Touched) {
	var to *dataplane.Touched
	switch kind {
	case pieceOfTries:
		to = &c.retried
	case pieceOfDrift:
		to = &c.drifted
	default:
		return
	}
	all := dataplane.NewTouched()
	all.Add(*to)
	all.Add(keys)
	*to = all
}

func (c *causes) of(op dataplane.Op) Cause {
	switch {
	case c.starting:
		return Started
	case touchedBy(c.drifted, op):
		return Drifted
	case touchedBy(c.retried, op):
		return Retried
	case c.isTimed(op):
		return Timed
	case c.whole && !touchedBy(c.asked, op):
		return Drifted
	}
	return Changed
}

func (c *causes) isTimed(op dataplane.Op) bool {
	id, is := virtualServerOf(op)
	if o, entry := op.Object.(dataplane.SetEntry); entry { // what holds a front end has no key of its own
		id, is = o.FrontEnd(), true
	}
	if is {
		_, is = slices.BinarySearchFunc(c.timed, id, dataplane.VirtualServerID.Compare)
	}
	return is
}

// touchTimed touches virtual servers of drains and slow starts, and returns, sorted, those that nothing else had
// touched.
func (e *Engine) touchTimed(ids []dataplane.VirtualServerID, touched dataplane.Touched) []dataplane.VirtualServerID {
	ids = slices.DeleteFunc(ids, func(id dataplane.VirtualServerID) bool {
		_, already := touched.VirtualServers[id]
		if !already {
			touched.VirtualServers[id] = e.want.Owner(id)
		}
		return already
	})
	slices.SortFunc(ids, dataplane.VirtualServerID.Compare)
	return ids
}

// touchedBy reports whether the object's key is among those.
func touchedBy(t dataplane.Touched, op dataplane.Op) (is bool) {
	switch o := op.Object.(type) {
	case dataplane.VirtualServerObject:
		_, is = t.VirtualServers[o.ID]
	case dataplane.RealServerObject:
		_, is = t.VirtualServers[o.VirtualServer]
	case dataplane.SetEntry:
		if _, is = t.Entries[o]; !is { // what holds a front end while its scheduler is exchanged has no key of its own
			_, is = t.VirtualServers[o.FrontEnd()]
		}
	case dataplane.Address:
		_, is = t.Addresses[o.Addr]
	case dataplane.Route:
		_, is = t.Addresses[o.Addr]
	default:
		is = t.Foundation
	}
	return is
}

// ownerOf returns what Operation.Owner says, of a pass that has touched these keys. VIPs that nobody was named for have
// the first Service that has a front end there.
func (e *Engine) ownerOf(touched dataplane.Touched) func(dataplane.Op) cluster.Name {
	return func(op dataplane.Op) (owner cluster.Name) {
		if owner = e.owner(op, touched); owner != (cluster.Name{}) {
			return owner
		}
		vip, is := vipOf(op)
		if !is {
			return owner
		}
		for id := range e.want.State.VirtualServers {
			if id.Addr != vip {
				continue
			}
			if other := e.want.Owner(id); owner == (cluster.Name{}) || other.Compare(owner) < 0 {
				owner = other
			}
		}
		return owner
	}
}

func vipOf(op dataplane.Op) (vip netip.Addr, is bool) {
	switch o := op.Object.(type) {
	case dataplane.Address:
		return o.Addr, true
	case dataplane.Route:
		return o.Addr, true
	}
	return vip, false
}
