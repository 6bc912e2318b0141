package dataplane

import (
	"math"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Clip returns the first of the ordered operations, which are to be applied now, and the virtual servers to which the
// rest belongs. A virtual server may have thousands of real servers; no more than room of them change at once. The next
// Diff returns what is left out, by the list as it is then: each operation leaves a list that serves. Operations behind
// it on the same virtual server wait with it, such as a change of the scheduler, which is to begin with its final list.
//
// What refused says has failed of a real server is left out, and not counted: those behind it have their turn. It is
// the zero Verb where nothing has; nil is that nothing has anywhere.
//
// Where the kernel builds a table for each change, a change counts as [tableWeight] others. But a virtual server that
// is made with such a scheduler gets all of its real servers at once, because then the table is built once.
func Clip(
	ops []Op, have *State, room int, refused func(VirtualServerID, netip.AddrPort) Verb,
) (now []Op, rest []VirtualServerID) {
	c := clipper{have: have, room: room, refused: refused}
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
	have    *State
	room    int
	refused func(VirtualServerID, netip.AddrPort) Verb
	left    map[VirtualServerID]*allowance
	rest    []VirtualServerID
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
		if c.refused != nil && slices.ContainsFunc(ops[:n], c.wasRefused) {
			return true
		}
		ops = ops[max(1, n):]
	}
	return false
}

// wasRefused reports whether the operation, which is one on a real server, has failed before.
func (c *clipper) wasRefused(op Op) bool {
	o := op.Object.(RealServerObject)
	return c.refused(o.VirtualServer, netip.AddrPortFrom(o.RealServer.Addr, o.RealServer.Port)) == op.Verb
}

func (c *clipper) roomOf(id VirtualServerID) int {
	if c.have.VirtualServers[id].Costly() {
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
	if c.refused != nil && slices.ContainsFunc(ops, c.wasRefused) {
		ops = slices.DeleteFunc(slices.Clone(ops), c.wasRefused)
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
