package dataplane

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Gate tells, of the operations of one phase, which must not be done on a kernel that holds have. It is how an
// operation whose foundation failed is left out while the rest goes on.
type Gate struct {
	have *State
	ops  []Op
	// coming are the VIPs that ops give an address or a route; nil until it is asked for.
	coming map[netip.Addr]Kind
	// made are the chains that were let through to be made.
	made map[ChainID]bool
	// restricted are the front ends with source ranges among ops; nil until it is asked for.
	restricted map[VirtualServerID]bool
	// leaving counts the virtual servers of an address that were let through to be deleted.
	leaving map[netip.Addr]int
	// needed is what have needs of sets and chains; nil until it is asked for.
	needed *needed
}

// needed is what cannot go, because something else stands on it.
type needed struct {
	// hooked are the chains to which a hook leads; by tells of a set which chain refers to it.
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

// NewGate returns the Gate of one phase of the pass that does ops. have must not change before its last question.
func NewGate(have *State, ops []Op) *Gate {
	return &Gate{have: have, ops: ops, made: map[ChainID]bool{}, leaving: map[netip.Addr]int{}}
}

// Blocked says why the operation must not be done, or "" when it may and will. Real servers are not asked about their
// virtual server: it comes in the same batch, and the kernel refuses them itself.
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
	case Address:
		return g.unserved(o.Addr)
	case Route:
		return g.unserved(o.Addr)
	}
	return ""
}

// unguarded says what is missing of the rules that keep a front end to its source ranges: without them all clients
// would reach it (kubernetes#105742).
func (g *Gate) unguarded(id VirtualServerID) string {
	if g.restricted == nil {
		g.restricted = map[VirtualServerID]bool{}
		for _, op := range g.ops {
			if e, is := op.Object.(SetEntry); is && op.Verb == Create &&
				e.Set == SetName(SetRestricted, cluster.FamilyOf(e.Entry.Addr)) {
				g.restricted[e.FrontEnd()] = true
			}
		}
	}
	entry := frontEndEntry(SetRestricted, id)
	there := g.have.Entries.Has(entry)
	switch {
	case !there && !g.restricted[id]:
		return ""
	case !there:
		return "it has source ranges, and its entry in " + entry.Set + " is missing"
	}
	family := cluster.FamilyOf(id.Addr)
	for _, guard := range guards {
		id := ChainID{Family: family, Table: guard.table, Name: guard.chain}
		chain, there := g.have.Chains[id]
		// Another version's rules may ask another set (proxier/upgrade.go).
		if !there || guard.hook && !g.have.hooked(id) ||
			guard.set != "" && !slices.Contains(chain.Sets, SetName(guard.set, family)) {
			return fmt.Sprintf("it has source ranges, and the rules that keep to them are missing: chain %s of %s table %s",
				guard.chain, family, guard.table)
		}
	}
	return ""
}

// hooked tells whether a built-in chain leads to the chain, and not with the node's own packets alone.
func (s *State) hooked(id ChainID) bool {
	for hook := range s.Hooks {
		if hook.Chain == id && hook.Match.Via != fromItself {
			return true
		}
	}
	return false
}

// guards are the chains by which clients outside of source ranges are dropped, with the sets that they must ask.
var guards = [...]struct {
	table, chain string
	hook         bool
	set          string
}{
	{"filter", ChainClients, false, SetClients}, {"filter", ChainFrontEnd, false, SetRestricted}, {"filter", ChainInput, true, ""},
	{"mangle", ChainClients, false, SetClients}, {"mangle", ChainFrontEnd, false, SetRestricted}, {"mangle", ChainOutput, true, ""},
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
