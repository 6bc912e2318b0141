package dataplane

import (
	"math"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Clip returns the first of the ordered operations, which are to be applied now, and the virtual servers to which the
// rest belongs. A virtual server may have thousands of real servers; no more than room of them change at once. The next
// Diff returns what is left out, by the list as it is then: each operation leaves a list that serves. Operations behind
// it on the same virtual server wait with it, such as a change of the scheduler, which is to begin with its final list.
//
// whole are virtual servers of which nothing is left out: after a failed operation the next try reaches the operations
// behind it too, and not the same first ones alone.
//
// Where the kernel builds a table for each change, a change counts as [tableWeight] others. But a virtual server that
// is created with such a scheduler gets all of its real servers at once, because then the table is built once.
func Clip(ops []Op, have *State, room int, whole map[VirtualServerID]struct{}) (now []Op, rest []VirtualServerID) {
	c := clipper{have: have, room: room, whole: whole}
	if !c.clips(ops) {
		return ops, nil
	}
	c.left = map[VirtualServerID]*allowance{}
	for len(ops) > 0 {
		n := max(1, sameVirtualServer(ops))
		now = append(now, c.some(ops[:n])...)
		ops = ops[n:]
	}
	return now, c.rest
}

type clipper struct {
	have  *State
	room  int
	whole map[VirtualServerID]struct{}
	left  map[VirtualServerID]*allowance
	rest  []VirtualServerID
}

// allowance is how many operations on real servers of a virtual server may still be done, and whether something was
// left out.
type allowance struct {
	room int
	cut  bool
}

// clips reports whether something may have to be left out. Nearly always nothing has to be.
func (c *clipper) clips(ops []Op) bool {
	for len(ops) > 0 {
		n := sameVirtualServer(ops)
		if n > c.room/tableWeight && n > c.roomOf(ops[0].Object.(RealServerObject).VirtualServer) {
			return true
		}
		ops = ops[max(1, n):]
	}
	return false
}

func (c *clipper) roomOf(id VirtualServerID) int {
	if _, is := c.whole[id]; is {
		return math.MaxInt
	}
	if c.have.VirtualServers[id].costly() {
		return max(1, c.room/tableWeight)
	}
	return c.room
}

// some returns which of the operations are to be done now: one, or several on real servers of one virtual server.
func (c *clipper) some(ops []Op) []Op {
	switch o := ops[0].Object.(type) {
	case VirtualServerObject:
		if s, _ := scheduler.OfKernel(o.Scheduler); s.CostlyTable && ops[0].Verb == Create {
			c.left[o.ID] = &allowance{room: math.MaxInt}
		}
		if c.cut(o.ID) {
			return nil
		}
	case SetEntry:
		// One that a failure has left behind goes all the same: nobody may ask for the exchange any more when its turn
		// comes.
		if o.holds() && c.cut(o.FrontEnd()) && (ops[0].Verb != Delete || !c.have.Entries.Has(o)) {
			return nil
		}
	case RealServerObject:
		return c.realServers(o.VirtualServer, ops)
	}
	return ops
}

func (c *clipper) cut(id VirtualServerID) bool { return c.left[id] != nil && c.left[id].cut }

func (c *clipper) realServers(id VirtualServerID, ops []Op) []Op {
	left := c.left[id]
	if left == nil {
		left = &allowance{room: c.roomOf(id)}
		c.left[id] = left
	}
	if n := min(left.room, len(ops)); n < len(ops) {
		if !left.cut {
			left.cut = true
			c.rest = append(c.rest, id)
		}
		ops = ops[:n]
	}
	left.room -= len(ops)
	return ops
}
