package dataplane

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Diff returns the operations, in order, that turn have into want for the touched keys. Diff of equal States is empty;
// a kernel that holds have and carries the operations out holds want afterwards. Want may be partial: only touched keys
// of it are read.
//
// Sysctls are never set back: what they were before is not known.
func Diff(have, want *State, t Touched) []Op {
	d := differ{ops: make([]Op, 0, 2*len(t.Entries)+4*len(t.VirtualServers)+len(t.Addresses))}
	if t.Foundation {
		d.foundation(have, want)
	}
	d.entries(have, want, sortedKeys(t.Entries, SetEntry.compare), t.VirtualServers)
	ids := sortedKeys(t.VirtualServers, VirtualServerID.Compare)
	for _, id := range ids {
		d.virtualServer(id, have, want)
	}
	for _, addr := range sortedKeys(t.Addresses, compareAddr) {
		d.diffVIP(addr, have, want)
	}
	order(d.ops)
	return d.ops
}

// All returns every key of the States: what a full Diff looks at. owner returns the Service to which a key belongs; nil
// is for none.
func All(owner func(VirtualServerID) cluster.Name, states ...*State) Touched {
	t := NewTouched()
	t.Foundation = true
	for _, s := range states {
		for id := range s.VirtualServers {
			t.VirtualServers[id] = cluster.Name{}
			if owner != nil {
				t.VirtualServers[id] = owner(id)
			}
		}
		for e := range s.Entries.All() {
			t.Entries[e] = cluster.Name{}
		}
		for addr := range s.Addresses {
			t.Addresses[addr] = cluster.Name{}
		}
		for addr := range s.Routes {
			t.Addresses[addr] = cluster.Name{}
		}
	}
	return t
}

// Unwanted returns the keys that have holds and want does not, and the foundation.
func Unwanted(have, want *State) Touched {
	t := NewTouched()
	t.Foundation = true
	for id := range have.VirtualServers {
		if _, wanted := want.VirtualServers[id]; !wanted {
			t.VirtualServers[id] = cluster.Name{}
		}
	}
	for e := range have.Entries.All() {
		if !want.Entries.Has(e) {
			t.Entries[e] = cluster.Name{}
		}
	}
	for addr := range have.Addresses {
		if _, wanted := want.Addresses[addr]; !wanted {
			t.Addresses[addr] = cluster.Name{}
		}
	}
	for addr := range have.Routes {
		if _, wanted := want.Routes[addr]; !wanted {
			t.Addresses[addr] = cluster.Name{}
		}
	}
	return t
}

type differ struct{ ops []Op }

func (d *differ) add(verb Verb, o Object) { d.ops = append(d.ops, Op{verb, o}) }

func diffPresence[K comparable](d *differ, have, want map[K]struct{}, key K, o Object) {
	_, present := have[key]
	_, wanted := want[key]
	switch {
	case wanted && !present:
		d.add(Create, o)
	case present && !wanted:
		d.add(Delete, o)
	}
}

// entries are deleted in the reverse order of their creation. Sets that limit come behind those that hold the clients
// that are let through (SetRestricted behind SetClients), so that no permitted client is shut out in between. An entry
// that holds a front end whose scheduler is exchanged is left to that.
func (d *differ) entries(have, want *State, keys []SetEntry, servers map[VirtualServerID]cluster.Name) {
	for _, e := range keys {
		if want.Entries.Has(e) && !have.Entries.Has(e) {
			d.add(Create, e)
		}
	}
	for _, e := range slices.Backward(keys) {
		if want.Entries.Has(e) || !have.Entries.Has(e) || renewed(e, have, want) {
			continue
		}
		if _, looked := servers[e.FrontEnd()]; looked && e.holds() && exchanges(e.FrontEnd(), have, want) {
			continue
		}
		d.add(Delete, e)
	}
}

func (d *differ) foundation(have, want *State) {
	for _, name := range sortedUnion(have.Links, want.Links, compareString) {
		diffPresence(d, have.Links, want.Links, name, Link{name})
	}
	for _, name := range sortedUnion(want.Sysctls, nil, compareString) {
		if value := want.Sysctls[name]; have.Sysctls[name] != value {
			d.add(Update, Sysctl{name, value})
		}
	}
	for _, name := range sortedUnion(have.Sets, want.Sets, compareString) {
		d.set(have, want, name)
	}
	chains := sortedUnion(have.Chains, want.Chains, ChainID.compare)
	for _, id := range chains {
		d.chain(have.Chains, want.Chains, id)
	}
	for _, id := range slices.Backward(chains) {
		if _, wanted := want.Chains[id]; !wanted {
			d.add(Delete, have.Chains[id])
		}
	}
	hooks := hooksUnder(have.Closed, want.Hooks)
	for _, hook := range sortedUnion(have.Hooks, hooks, Hook.compare) {
		diffPresence(d, have.Hooks, hooks, hook, hook)
	}
}

// hooksUnder returns the hooks that are wanted where these families are closed. There the last hook opens front ends
// for every packet; elsewhere it has nothing to open, and leads new connections only to its chain. These it leads there
// always, because a policy that changes is seen by the next audit.
func hooksUnder(closed map[cluster.Family]struct{}, wanted map[Hook]struct{}) map[Hook]struct{} {
	if len(closed) == 0 {
		return wanted
	}
	hooks := make(map[Hook]struct{}, len(wanted))
	for hook := range wanted {
		if _, is := closed[hook.Chain.Family]; is && hook.Last() {
			hook.Match = HookMatch{}
		}
		hooks[hook] = struct{}{}
	}
	return hooks
}

// set compares what can be compared. Sets change places only with those of their type and family (ip_set_core.c,
// ip_set_swap, Linux 6.1), and have no other name while a rule refers to them (ip_set_rename). So a name of ours never
// means another type: a set that gets another type gets another name, and stands beside the earlier one until the rules
// ask it (TestNamesOfSets). One of our name with another type is somebody else's, and is made anew unless a rule refers
// to it.
func (d *differ) set(have, want *State, name string) {
	h, present := have.Sets[name]
	w, wanted := want.Sets[name]
	switch {
	case wanted && !present:
		d.add(Create, Set{w})
	case wanted && !sameKind(h, w):
		d.add(Renew, Set{w})
	case wanted && h.MaxElem != w.MaxElem:
		d.add(Update, Set{w})
	case present && !wanted:
		d.add(Delete, Set{h})
	}
}

// sameKind reports whether one set can be given the size of the other.
func sameKind(a, b ipset.Set) bool { return a.Type == b.Type && a.Family == b.Family }

// renewed reports whether the entry goes with its set, which is made anew.
func renewed(e SetEntry, have, want *State) bool {
	h, present := have.Sets[e.Set]
	w, wanted := want.Sets[e.Set]
	return present && wanted && !sameKind(h, w)
}

func (d *differ) chain(have, want map[ChainID]Chain, id ChainID) {
	h, present := have[id]
	w, wanted := want[id]
	switch {
	case wanted && !present:
		d.add(Create, w)
	case wanted && !slices.EqualFunc(h.Rules, w.Rules, Rule.Equal):
		d.add(Update, w)
	}
}

func (d *differ) virtualServer(id VirtualServerID, have, want *State) {
	h, present := have.VirtualServers[id]
	w, wanted := want.VirtualServers[id]
	if present && !wanted {
		// The kernel takes the real servers along with their virtual server.
		d.add(Delete, VirtualServerObject{ID: id})
		return
	}
	if !wanted {
		return
	}
	o := VirtualServerObject{ID: id, Scheduler: w.Scheduler, Flags: w.Flags, OnePacket: w.OnePacket, Timeout: w.Timeout}
	switch {
	case !present:
		d.add(Create, o)
	case exchanges(id, have, want):
		d.exchange(o, have)
	case h.Flags != w.Flags || h.OnePacket != w.OnePacket || h.Timeout != w.Timeout:
		d.add(Update, o)
	}
	d.realServers(id, h, w)
}

// exchange gives a virtual server another scheduler. For the time of an RCU grace period, some 10 ms where there are
// several processors, the kernel has taken the old one away and not put the new one in place, and refuses new
// connections (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_edit_service, Linux 6.12). A refusal reaches the user; a lost SYN
// is sent again after a second. So the front end stands in a set meanwhile whose new connections are dropped, for its
// own exchange and no other's: the kernel makes one after the other, whichever program requests it. Should the entry
// fail, the exchange goes on without: a late exchange is worse than a refusal. A proxier that was killed here has left
// an entry; this, or the next audit, deletes it.
func (d *differ) exchange(o VirtualServerObject, have *State) {
	hold := frontEndEntry(SetHold, o.ID)
	if !have.Entries.Has(hold) {
		d.add(Create, hold)
	}
	d.add(Update, o)
	d.add(Delete, hold)
}

// exchanges reports whether the virtual server gets another scheduler.
func exchanges(id VirtualServerID, have, want *State) bool {
	h, present := have.VirtualServers[id]
	w, wanted := want.VirtualServers[id]
	return present && wanted && h.Scheduler != w.Scheduler
}

// realServers updates in place what stays where it is, and creates or renews the others in the reverse order of the
// list: the kernel puts each at the head. Between the two messages of a renewal the real server is gone for some
// microseconds, and packets of its connections are dropped; the others serve on.
//
// Where the scheduler goes by the last weight above 0, one that gets weight 0 is renewed, so that it has none; and so
// are all of weight 0 when the virtual server gets such a scheduler.
func (d *differ) realServers(id VirtualServerID, have, want VirtualServer) {
	list, placed := Arrange(want, have.RealServers)
	if len(have.RealServers) == 0 {
		for _, some := range [][]RealServer{list[placed:], list[:placed]} {
			for _, r := range slices.Backward(some) {
				d.add(Create, RealServerObject{id, r})
			}
		}
		return
	}
	at := positions(have.RealServers)
	renewed := make(map[netip.AddrPort]bool)
	for _, r := range renewals(list, placed, have.RealServers, func(r RealServer) bool {
		i, present := at[r.endpoint()]
		return present && r.Weight == 0 && want.List.Idle == scheduler.IdleRenewed &&
			(have.RealServers[i].Weight != 0 || have.Scheduler != want.Scheduler)
	}) {
		verb := Create
		if _, present := at[r.endpoint()]; present {
			verb = Renew
		}
		d.add(verb, RealServerObject{id, r})
		renewed[r.endpoint()] = true
	}
	wanted := positions(list)
	for _, r := range list {
		if i, present := at[r.endpoint()]; present && !renewed[r.endpoint()] && have.RealServers[i] != r {
			d.add(Update, RealServerObject{id, r})
		}
	}
	for _, r := range have.RealServers {
		if _, is := wanted[r.endpoint()]; !is {
			d.add(Delete, RealServerObject{id, r})
		}
	}
}

func sortedKeys[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	keys := slices.AppendSeq(make([]K, 0, len(m)), maps.Keys(m))
	slices.SortFunc(keys, compare)
	return keys
}

func sortedUnion[K comparable, V any](a, b map[K]V, compare func(a, b K) int) []K {
	keys := make([]K, 0, len(a)+len(b))
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, both := a[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, compare)
	return keys
}

// FrontEnd returns the front end for which the entry stands, if it stands for one.
func (e SetEntry) FrontEnd() VirtualServerID {
	return VirtualServerID{Addr: e.Entry.Addr, Port: e.Entry.Port, Protocol: e.Entry.Protocol}
}

// holds reports whether the entry holds a front end while its scheduler is exchanged.
func (e SetEntry) holds() bool { return e.Set == SetHold || e.Set == setHold6 }

// Held returns a front end that is held while its scheduler is exchanged, the first one; false is none.
func (s *State) Held() (first VirtualServerID, held bool) {
	for e := range s.Entries.All() {
		if e.holds() && (!held || e.FrontEnd().Compare(first) < 0) {
			first, held = e.FrontEnd(), true
		}
	}
	return first, held
}

// frontEndOf returns the front end for which an entry of the ledger stands.
func frontEndOf(e SetEntry) (VirtualServerID, bool) {
	id := e.FrontEnd()
	return id, e == frontEndEntry(SetFrontEnd, id)
}
