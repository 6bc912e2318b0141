package dataplane

import (
	"fmt"
	"net/netip"
)

// Gate says, of the operations of one phase, which must not be done on a kernel that holds have. It is how an
// operation whose foundation failed is left out while the rest goes on.
type Gate struct {
	have, want *State
	ops        []Op
	// coming are the VIPs that ops give an address or a route; nil until the first use.
	coming map[netip.Addr]Kind
	// made are the chains that were let through to be made.
	made map[ChainID]bool
	// exposed is why the virtual server asked, the last one checked, would be open to all clients.
	asked   VirtualServerID
	exposed string
	// leaving counts the virtual servers of an address that were let through to be deleted.
	leaving map[netip.Addr]int
	// needed is what have needs of sets and chains; nil until the first use.
	needed *needed
}

// needed is what cannot be deleted, because something else refers to it.
type needed struct {
	// hooked are the chains to which a hook leads; by says of a set which chain refers to it.
	hooked map[ChainID]struct{}
	by     map[string]string
	// ledgers are the sets by which we know that a virtual server is ours.
	ledgers map[string]struct{}
}

// neededOf looks at all chains, hooks and virtual servers.
func neededOf(have *State) *needed {
	n := &needed{map[ChainID]struct{}{}, map[string]string{}, map[string]struct{}{}}
	for hook := range have.Hooks {
		n.hooked[hook.Chain] = struct{}{}
	}
	for id, chain := range have.Chains {
		for _, set := range chain.Sets {
			n.by[set] = max(n.by[set], id.Name)
		}
	}
	for id := range have.VirtualServers {
		if entry := frontEndEntry(SetFrontEnd, id); have.Entries.Has(entry) {
			n.ledgers[entry.Set] = struct{}{}
		}
	}
	return n
}

// NewGate returns the Gate of one phase of the pass that does ops on the way to want. have and want must not change
// before its last question.
func NewGate(have, want *State, ops []Op) *Gate {
	return &Gate{have: have, want: want, ops: ops, made: map[ChainID]bool{}, leaving: map[netip.Addr]int{}}
}

// Blocked says why the operation must not be done, or "" when it may and will. For a real server, it does not check
// that its virtual server is there: that comes in the same batch, and the kernel refuses the real server itself.
func (g *Gate) Blocked(op Op) string {
	if op.Verb == Delete {
		return g.blockedDelete(op)
	}
	switch o := op.Object.(type) {
	case Set:
		if chain, refers := g.needs().by[o.Name]; refers && op.Verb == Renew {
			return fmt.Sprintf("there is %s instead, and chain %s refers to it", g.have.Sets[o.Name], chain)
		}
	case SetEntry:
		set, found := g.have.Sets[o.Set]
		switch {
		case !found:
			return "there is no set " + o.Set
		case set.Type != o.Type:
			return fmt.Sprintf("set %s is one of %s, not of %s", o.Set, set.Type, o.Type)
		}
	case Chain:
		for _, set := range o.Sets {
			if _, found := g.have.Sets[set]; !found {
				return "there is no set " + set
			}
		}
		g.made[o.ID] = true
	case Hook:
		// Else the kernel refuses it where the chain has failed.
		if _, found := g.have.Chains[o.Chain]; !found && !g.made[o.Chain] {
			return "there is no chain " + o.Chain.Name
		}
	case VirtualServerObject:
		if op.Verb == Create && !g.have.Recorded(o.ID) { // its address, if others stand there already, may go before it does
			return "its set entry is missing, by which we would know that it is ours"
		}
		if op.Verb == Create {
			return g.unguarded(o.ID)
		}
	case RealServerObject:
		// One that is served with inherited rules may get another endpoint.
		if op.Verb == Create && len(g.have.VirtualServers[o.VirtualServer].RealServers) == 0 {
			return g.unguarded(o.VirtualServer)
		}
	case Address:
		return g.unserved(o.Addr)
	case Route:
		return g.unserved(o.Addr)
	}
	return ""
}

// unguarded checks a virtual server once for all of its real servers.
func (g *Gate) unguarded(id VirtualServerID) string {
	if g.asked != id {
		g.asked, g.exposed = id, Unguarded(g.have, g.want, id)
	}
	return g.exposed
}

func (g *Gate) unserved(vip netip.Addr) string {
	if g.have.serversAt[vip] == 0 {
		return "it has no virtual server"
	}
	return ""
}

// unreplaced keeps the VIP local while its mode changes: what it has goes only when what it is to have is there.
func (g *Gate) unreplaced(vip netip.Addr) string {
	if g.coming == nil {
		g.coming = map[netip.Addr]Kind{}
		for _, op := range g.ops {
			switch o := op.Object.(type) {
			case Address:
				g.comes(op, o.Addr)
			case Route:
				g.comes(op, o.Addr)
			}
		}
	}
	switch g.coming[vip] {
	case KindRoute:
		if _, there := g.have.Routes[vip]; !there {
			return "the route that takes its place is missing"
		}
	case KindAddress:
		if _, there := g.have.Addresses[vip]; !there {
			return "the address that takes its place is missing"
		}
	}
	return ""
}

func (g *Gate) comes(op Op, vip netip.Addr) {
	if op.Verb == Create {
		g.coming[vip] = op.Object.Kind()
	}
}

func (g *Gate) blockedDelete(op Op) string {
	have := g.have
	switch o := op.Object.(type) {
	case VirtualServerObject:
		if have.Local(o.ID.Addr) && have.serversAt[o.ID.Addr]-g.leaving[o.ID.Addr] == 1 {
			return "it is the last one of an address or a route that is still there"
		}
		g.leaving[o.ID.Addr]++
	case Address:
		return g.unreplaced(o.Addr)
	case Route:
		return g.unreplaced(o.Addr)
	case Chain:
		if _, hooked := g.needs().hooked[o.ID]; hooked {
			return "a hook still leads to it"
		}
	case SetEntry:
		if id, front := frontEndOf(o); front {
			if _, present := have.VirtualServers[id]; present {
				return "its virtual server is still there, and the entry is how we know that it is ours"
			}
		}
	case Set:
		if chain, refers := g.needs().by[o.Name]; refers {
			return "chain " + chain + " still refers to it"
		}
		if _, accounts := g.needs().ledgers[o.Name]; accounts {
			return "a virtual server is still there, and the set is how we know that it is ours"
		}
	}
	return ""
}

func (g *Gate) needs() *needed {
	if g.needed == nil {
		g.needed = neededOf(g.have)
	}
	return g.needed
}
