package dataplane

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Rank is the place of an operation in a pass: lower ranks are done first. Up is built from the bottom, down is taken
// from the top, and all that comes is there before anything goes, so that a front end that moves never has a gap.
type Rank int

// The ranks.
const (
	RankBase        Rank = iota // the link, sysctls: everything rests on them
	RankCreateSet               // a rule that names a missing set is refused
	RankCreateEntry             // rules match from their first packet
	// Chains and the hooks that lead to them, a family after the other: each table gets its own as a whole.
	RankCreateRules
	RankVirtualServer // create, each followed by its real servers: smallest window without servers
	RankCreateAddress // an address or route without a virtual server answers from the host's own sockets
	// What is new does not wait for exchanges of schedulers, each of which takes an RCU grace period.
	RankUpdateServer
	RankDeleteAddress // the mirror image
	RankDeleteServer  // real servers, then the virtual server: no traffic is left
	RankDeleteHook    // a chain that is jumped to cannot be deleted
	RankDeleteChain   // before its sets, which cannot be destroyed while a rule names them
	RankDeleteEntry   // no rule needs them now; and the ledger outlives what it accounts for
	RankDestroySet    // refused while referenced
	RankDeleteBase    // the link, which would take its addresses with it
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
	// A type of object that was added without its rank: no input makes one, and every test of an operation on it fails.
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

// Phases cuts ordered operations where the rank changes. What a phase needs is there when the one before it has
// succeeded.
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
			found = append(found, fmt.Sprintf("virtual server %s cannot be distinguished from a foreign one", id))
		}
	}
	slices.Sort(found)
	return found
}
