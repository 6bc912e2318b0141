package dataplane

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Rank is the place of an operation in a pass: lower ranks are done first. Up is built from the bottom, down is taken from
// the top, and all that comes is there before anything goes, so that a front end that moves never has a gap.
type Rank int

// The ranks.
const (
	RankBase          Rank = iota // the link, sysctls: everything rests on them
	RankCreateSet                 // a rule that names a missing set is refused
	RankCreateEntry               // rules match from their first packet
	RankCreateRules               // chains and the hooks that lead to them, a family after the other: each table gets its own as a whole
	RankVirtualServer             // create, each followed by its real servers: smallest window without servers
	RankCreateAddress             // an address or route without a virtual server answers from the host's own sockets
	RankUpdateServer              // what is new does not wait for exchanges of schedulers, each of which takes an RCU grace period
	RankDeleteAddress             // the mirror image
	RankDeleteServer              // real servers, then the virtual server: no traffic is left
	RankDeleteHook                // a chain that is jumped to cannot be deleted
	RankDeleteChain               // before its sets, which cannot be destroyed while a rule names them
	RankDeleteEntry               // no rule needs them now; and the ledger outlives what it accounts for
	RankDestroySet                // refused while referenced
	RankDeleteBase                // the link, which would take its addresses with it
)

// Rank returns the operation's place.
func (o Op) Rank() Rank {
	gone := o.Verb == Delete
	pick := func(up, down Rank) Rank {
		if gone {
			return down
		}
		return up
	}
	switch object := o.Object.(type) {
	case Link, Sysctl:
		return pick(RankBase, RankDeleteBase)
	case Set:
		return pick(RankCreateSet, RankDestroySet)
	case SetEntry:
		if object.holds() {
			return RankUpdateServer // each right before and after the exchange that it is for
		}
		return pick(RankCreateEntry, RankDeleteEntry)
	case Chain:
		return pick(RankCreateRules, RankDeleteChain)
	case Hook:
		return pick(RankCreateRules, RankDeleteHook)
	case VirtualServerObject:
		if o.Verb == Update {
			return RankUpdateServer
		}
		return pick(RankVirtualServer, RankDeleteServer)
	case RealServerObject:
		return pick(RankVirtualServer, RankDeleteServer)
	case Address, Route:
		return pick(RankCreateAddress, RankDeleteAddress)
	}
	panic(fmt.Sprintf("BUG: operation on unknown object %T", o.Object))
}

// order sorts operations by rank, rules by their family, and keeps the order otherwise.
func order(ops []Op) {
	slices.SortStableFunc(ops, func(a, b Op) int {
		rank := a.Rank()
		if c := cmp.Compare(rank, b.Rank()); c != 0 || rank != RankCreateRules {
			return c
		}
		return cmp.Compare(rulesFamily(a), rulesFamily(b))
	})
}

// rulesFamily returns the family of a chain or a hook.
func rulesFamily(op Op) cluster.Family {
	if hook, is := op.Object.(Hook); is {
		return hook.Chain.Family
	}
	return op.Object.(Chain).ID.Family
}

// Phases cuts ordered operations where the rank changes. What a phase needs is there when the one before it has succeeded.
func Phases(ops []Op) [][]Op {
	var phases [][]Op
	for start := 0; start < len(ops); {
		end := start + 1
		for end < len(ops) && ops[end].Rank() == ops[start].Rank() {
			end++
		}
		phases = append(phases, ops[start:end])
		start = end
	}
	return phases
}

// Gate tells, of the operations of one phase, which must not be done on a kernel that holds have. It is how an operation whose
// foundation failed is left out while the rest goes on.
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
}

// NewGate returns the Gate of one phase of the pass that does ops. have must not change before its last question.
func NewGate(have *State, ops []Op) *Gate {
	return &Gate{have: have, ops: ops, made: map[ChainID]bool{}, leaving: map[netip.Addr]int{}}
}

// Blocked says why the operation must not be done, or "" when it may and will. Real servers are not asked about their virtual
// server: it comes in the same batch, and the kernel refuses them itself.
func (g *Gate) Blocked(op Op) string {
	if op.Verb == Delete {
		return g.blockedDelete(op)
	}
	switch o := op.Object.(type) {
	case SetEntry:
		if _, found := g.have.Sets[o.Set]; !found {
			return "there is no set " + o.Set
		}
	case Chain:
		for _, set := range o.Sets {
			if _, found := g.have.Sets[set]; !found {
				return "there is no set " + set
			}
		}
		g.made[o.ID] = true
	case Hook:
		if _, found := g.have.Chains[o.Chain]; !found && !g.made[o.Chain] { // else the kernel refuses it where the chain has failed
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

// unguarded says what is missing of the rules that keep a front end to its source ranges: without them all clients would
// reach it (kubernetes#105742).
func (g *Gate) unguarded(id VirtualServerID) string {
	if g.restricted == nil {
		g.restricted = map[VirtualServerID]bool{}
		for _, op := range g.ops {
			if e, is := op.Object.(SetEntry); is && op.Verb == Create && e.Set == SetName(SetRestricted, cluster.FamilyOf(e.Entry.Addr)) {
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
		if _, there := g.have.Chains[id]; !there || guard.hook && !g.have.hooked(id) {
			return fmt.Sprintf("it has source ranges, and the rules that keep to them are missing: chain %s of %s table %s", guard.chain, family, guard.table)
		}
	}
	return ""
}

// hooked tells whether a built-in chain leads to the chain, and not with the node's own packets alone.
func (s *State) hooked(id ChainID) bool {
	for hook := range s.Hooks {
		if hook.Chain == id && !strings.HasPrefix(hook.Match, fromItself) {
			return true
		}
	}
	return false
}

// guards are the chains by which clients outside of source ranges are dropped.
var guards = [...]struct {
	table, chain string
	hook         bool
}{
	{"filter", ChainClients, false}, {"filter", ChainFrontEnd, false}, {"filter", ChainInput, true},
	{"mangle", ChainClients, false}, {"mangle", ChainFrontEnd, false}, {"mangle", ChainOutput, true},
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
		for hook := range have.Hooks {
			if hook.Chain == o.ID {
				return "a hook still leads to it"
			}
		}
	case SetEntry:
		if id, front := frontEndOf(o); front {
			if _, present := have.VirtualServers[id]; present {
				return "its virtual server is still there, and the entry is how we know that it is ours"
			}
		}
	case Set:
		for _, chain := range have.Chains {
			if slices.Contains(chain.Sets, o.Name) {
				return "chain " + chain.ID.Name + " still refers to it"
			}
		}
		for id := range have.VirtualServers {
			if o.Name == SetName(SetFrontEnd, cluster.FamilyOf(id.Addr)) && have.Recorded(id) {
				return "a virtual server is still there, and the set is how we know that it is ours"
			}
		}
	}
	return ""
}

// Violations returns what must never be true of a kernel at any moment, also between two operations.
func (s *State) Violations() []string {
	var found []string
	for addr := range s.Addresses {
		if s.serversAt[addr] == 0 {
			found = append(found, fmt.Sprintf("address %s has no virtual server", addr))
		}
	}
	for addr := range s.Routes {
		if s.serversAt[addr] == 0 {
			found = append(found, fmt.Sprintf("route %s has no virtual server", addr))
		}
	}
	for hook := range s.Hooks {
		if _, complete := s.Chains[hook.Chain]; !complete {
			found = append(found, fmt.Sprintf("hook %s leads to no chain", hook))
		}
	}
	for _, chain := range s.Chains {
		for _, set := range chain.Sets {
			if _, present := s.Sets[set]; !present {
				found = append(found, fmt.Sprintf("chain %s refers to set %s, which is missing", chain.ID, set))
			}
		}
	}
	for e := range s.Entries.All() {
		if _, present := s.Sets[e.Set]; !present {
			found = append(found, fmt.Sprintf("entry %s has no set", e))
		}
	}
	for id := range s.VirtualServers {
		if !s.Owns(id) {
			found = append(found, fmt.Sprintf("virtual server %s cannot be told from a foreign one", id))
		}
	}
	slices.Sort(found)
	return found
}
