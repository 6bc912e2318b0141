package dataplane

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// guard is a rule by which clients outside of source ranges are dropped: in this chain one leads to another chain, for
// packets in a set where there is one. A chain that drops itself leads nowhere.
type guard struct {
	table, chain, to, set string
	// hook says that a built-in chain has to lead to the chain.
	hook bool
}

var guards = [...]guard{
	{table: "filter", chain: ChainInput, to: ChainFrontEnd, hook: true},
	{table: "filter", chain: ChainFrontEnd, to: ChainClients, set: SetRestricted},
	{table: "filter", chain: ChainClients, set: SetClients},
	{table: "mangle", chain: ChainOutput, to: ChainFrontEnd, hook: true},
	{table: "mangle", chain: ChainFrontEnd, to: ChainClients, set: SetRestricted},
	{table: "mangle", chain: ChainClients, set: SetClients},
}

// Unguarded says what have lacks of the entry and of the rules that keep a front end to the source ranges that it has
// in want; "" where nothing is missing, or all clients may come. Without them all would reach it (kubernetes#105742).
func Unguarded(have, want *State, id VirtualServerID) string {
	entry := frontEndEntry(SetRestricted, id)
	if want == nil || !want.Entries.Has(entry) {
		return ""
	}
	if !have.Entries.Has(entry) {
		return "it has source ranges, and its entry in " + entry.Set + " is missing"
	}
	if missing := have.missingGuard(cluster.FamilyOf(id.Addr)); missing != "" {
		return "it has source ranges, and the rules that keep to them are missing: " + missing
	}
	return ""
}

// missingGuard names a chain of the family whose guard is missing, or to which nothing leads.
func (s *State) missingGuard(family cluster.Family) string {
	for _, g := range guards {
		id := ChainID{Family: family, Table: g.table, Name: g.chain}
		if !g.in(s.Chains[id], family) || g.hook && !s.hooked(id) {
			return fmt.Sprintf("chain %s of %s table %s", g.chain, family, g.table)
		}
	}
	return ""
}

// in reports whether the guard is in the chain. Rules of another version count, too, when they do the same by our sets
// (engine/upgrade.go).
func (g *guard) in(chain Chain, family cluster.Family) bool {
	return slices.ContainsFunc(chain.Rules, func(r Rule) bool {
		sets, jumps := r.references()
		return (g.to == "" || slices.Contains(jumps, g.to)) && (g.set == "" || slices.Contains(sets, SetName(g.set, family)))
	}) && (g.to != "" || dropsRest(chain.Rules))
}

// dropsRest reports whether the last rule drops whatever comes to it, or may do so: what another version's says is not
// known.
func dropsRest(rules []Rule) bool {
	last := rules[len(rules)-1]
	return last.Unknown != "" || len(last.Matches) == 0 && last.Verdict.Action == Drop
}

// hooked reports whether a built-in chain leads to the chain, and not with the node's own packets alone.
func (s *State) hooked(id ChainID) bool {
	for hook := range s.Hooks {
		if hook.Chain == id && hook.Match.Via != fromItself {
			return true
		}
	}
	return false
}

// Guards reports whether the object is one of the rules that keep clients to source ranges, or leads to them.
func Guards(o Object) bool {
	var id ChainID
	switch o := o.(type) {
	case Chain:
		id = o.ID
	case Hook:
		id = o.Chain
	}
	return slices.ContainsFunc(guards[:], func(g guard) bool { return g.table == id.Table && g.chain == id.Name })
}

// Exposed returns those of the touched virtual servers, in order, that have has, and that all clients reach though want
// says that not all may. Where the foundation is touched every virtual server is.
func Exposed(have, want *State, t Touched) (ids []VirtualServerID) {
	exposed := map[VirtualServerID]struct{}{}
	look := func(id VirtualServerID) {
		_, served := have.VirtualServers[id]
		if _, wanted := want.VirtualServers[id]; served && wanted && Unguarded(have, want, id) != "" {
			exposed[id] = struct{}{}
		}
	}
	for id := range t.VirtualServers {
		look(id)
	}
	for e := range t.Entries {
		if e.Set == SetRestricted || e.Set == setRestricted6 {
			look(e.FrontEnd())
		}
	}
	if t.Foundation && have.missingGuard(cluster.IPv4)+have.missingGuard(cluster.IPv6) != "" {
		for id := range have.VirtualServers {
			look(id)
		}
	}
	return sortedKeys(exposed, VirtualServerID.Compare)
}

// TakeDown returns the operations, in order, that take these virtual servers of have down, with the addresses that no
// other one has. Should an address stay, its virtual server stays, too, without real servers, and refuses connections:
// without it the host's own sockets would answer.
func TakeDown(have *State, ids []VirtualServerID) []Op {
	d, leaving := differ{}, map[netip.Addr]int{}
	for _, id := range ids {
		for _, r := range have.VirtualServers[id].RealServers {
			d.add(Delete, RealServerObject{id, r})
		}
		d.add(Delete, VirtualServerObject{ID: id})
		if leaving[id.Addr]++; leaving[id.Addr] < have.serversAt[id.Addr] {
			continue
		}
		if _, there := have.Addresses[id.Addr]; there {
			d.add(Delete, Address{id.Addr})
		}
		if source, there := have.Routes[id.Addr]; there {
			d.add(Delete, Route{id.Addr, source})
		}
	}
	order(d.ops)
	return d.ops
}
