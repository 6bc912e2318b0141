package dataplane

import (
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// HoldBack parts operations, which are in their order and lead from have to want. held are those that wait, and those
// that would be blocked or refused without them; now are the others. What is urgent is never held, nor is what it
// needs.
func HoldBack(ops []Op, have, want *State, waits, urgent func(Op) bool) (now, held []Op) {
	first := -1
	for i, op := range ops {
		if waits(op) {
			first = i
			break
		}
	}
	if first < 0 {
		return ops, nil
	}
	h := holdBack{have: have, want: want, missing: map[prerequisite]bool{}, made: map[netip.Addr]bool{}}
	needed := h.neededByUrgent(ops, urgent)
	now = append(make([]Op, 0, len(ops)), ops[:first]...)
	for _, op := range now {
		h.done(op)
	}
	for i, op := range ops[first:] {
		if !needed[first+i] && (waits(op) || h.lacks(op)) {
			held = append(held, op)
			for _, p := range gives(op) {
				h.missing[p] = true
			}
			continue
		}
		now = append(now, op)
		h.done(op)
	}
	return now, held
}

// holdBack is what is known of the operations ahead of the one that is looked at.
type holdBack struct {
	have, want *State
	// missing is what those that are held would have brought about.
	missing map[prerequisite]bool
	// made are addresses that get a virtual server.
	made map[netip.Addr]bool
}

func (h *holdBack) done(op Op) {
	if o, is := op.Object.(VirtualServerObject); is && op.Verb == Create {
		h.made[o.ID.Addr] = true
	}
}

// lacks reports whether the operation needs one that is held.
func (h *holdBack) lacks(op Op) bool {
	return slices.ContainsFunc(h.needs(op), func(p prerequisite) bool {
		return h.missing[p] && !(p.what == serverAt && h.made[p.of.(netip.Addr)]) // another virtual server there is enough
	})
}

// needs returns what the operation needs of those ahead of it, where there are such.
func (h *holdBack) needs(op Op) []prerequisite {
	need := needs(op)
	id, is := VirtualServerID{}, op.Verb == Create
	switch o := op.Object.(type) {
	case VirtualServerObject:
		id = o.ID
	case RealServerObject:
		id = o.VirtualServer
	case Address:
		return h.withServer(need, o.Addr)
	case Route:
		return h.withServer(need, o.Addr)
	default:
		is = false
	}
	if is && Unguarded(h.have, h.want, id) != "" {
		need = append(need, prerequisite{recorded, id})
		for _, g := range guards {
			need = append(need, prerequisite{rulesMade, tableID{cluster.FamilyOf(id.Addr), g.table}})
		}
	}
	return need
}

// withServer adds a virtual server of the VIP where there is none.
func (h *holdBack) withServer(need []prerequisite, vip netip.Addr) []prerequisite {
	if h.have.serversAt[vip] == 0 {
		need = append(need, prerequisite{serverAt, vip})
	}
	return need
}

// neededByUrgent returns the places of operations that are urgent, and of those that they need.
func (h *holdBack) neededByUrgent(ops []Op, urgent func(Op) bool) map[int]bool {
	places, wanted := map[int]bool{}, map[prerequisite]bool{}
	for i := len(ops) - 1; i >= 0; i-- {
		is := urgent(ops[i])
		for _, p := range gives(ops[i]) {
			is = is || wanted[p]
		}
		if !is {
			continue
		}
		places[i] = true
		for _, p := range h.needs(ops[i]) {
			wanted[p] = true
		}
	}
	return places
}

// prerequisite is what one operation brings about and another one needs ([Gate] and the kernel refuse it else).
type prerequisite struct {
	what aspect
	of   any // comparable
}

type aspect uint8

const (
	linkMade    aspect = iota + 1
	setMade            // of its name
	recorded           // of the VirtualServerID: the entries of a front end, of the ledger and of its source ranges
	rulesMade          // of the tableID
	serverMade         // of the VirtualServerID
	serverAt           // of the netip.Addr, which has a virtual server
	serverComes        // of the netip.Addr, which gets one
	vipGone            // of the netip.Addr
	serverGone         // of the VirtualServerID
	rulesGone          // of the tableID
	someGone           // a set may be needed by any rule, and be the ledger of any virtual server
)

// gives returns what the operation brings about.
func gives(op Op) []prerequisite {
	if op.Verb == Delete {
		switch o := op.Object.(type) {
		case Address:
			return []prerequisite{{vipGone, o.Addr}}
		case Route:
			return []prerequisite{{vipGone, o.Addr}}
		case VirtualServerObject:
			return []prerequisite{{serverGone, o.ID}, {someGone, nil}}
		case Chain, Hook:
			return []prerequisite{{rulesGone, IdentityOf(o).of}, {someGone, nil}}
		}
		return nil
	}
	switch o := op.Object.(type) {
	case Link:
		return []prerequisite{{linkMade, nil}}
	case Set:
		return []prerequisite{{setMade, o.Name}}
	case SetEntry:
		if !o.holds() {
			return []prerequisite{{recorded, o.FrontEnd()}}
		}
	case Chain, Hook:
		return []prerequisite{{rulesMade, IdentityOf(o).of}, {someGone, nil}}
	case VirtualServerObject:
		if op.Verb == Create {
			return []prerequisite{{serverMade, o.ID}, {serverAt, o.ID.Addr}, {serverComes, o.ID.Addr}}
		}
	}
	return nil
}

// needs returns what any such operation needs.
func needs(op Op) []prerequisite {
	if op.Verb == Delete {
		switch o := op.Object.(type) {
		case VirtualServerObject:
			return []prerequisite{{vipGone, o.ID.Addr}, {serverComes, o.ID.Addr}} // it may be the last one of its VIP
		case Chain, Hook:
			table := IdentityOf(o).of
			return []prerequisite{{rulesMade, table}, {rulesGone, table}}
		case SetEntry:
			return []prerequisite{{serverGone, o.FrontEnd()}}
		case Set:
			return []prerequisite{{someGone, nil}}
		}
		return nil
	}
	switch o := op.Object.(type) {
	case SetEntry:
		return []prerequisite{{setMade, o.Set}}
	case Chain:
		need := []prerequisite{{rulesMade, IdentityOf(o).of}}
		for _, name := range o.Sets {
			need = append(need, prerequisite{setMade, name})
		}
		return need
	case Hook:
		return []prerequisite{{rulesMade, IdentityOf(o).of}}
	case VirtualServerObject:
		if op.Verb == Create {
			return []prerequisite{{recorded, o.ID}}
		}
	case RealServerObject:
		return []prerequisite{{serverMade, o.VirtualServer}}
	case Address: // its virtual server: withServer
		return []prerequisite{{linkMade, nil}}
	}
	return nil
}
