package dataplane_test

import (
	"slices"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// restrictedOf returns the front ends with source ranges.
func restrictedOf(s *dataplane.State) (ids []dataplane.VirtualServerID) {
	for e := range s.Entries.All() {
		if id := e.FrontEnd(); e.Set == dataplane.SetName(dataplane.SetRestricted, cluster.FamilyOf(id.Addr)) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, dataplane.VirtualServerID.Compare)
	return ids
}

// TestGuards: what is wanted keeps to the source ranges of every front end that has some, with chains of iptables or
// tables of our own. Without any one of the rules that it takes, or what leads to them, it does not, in that family.
func TestGuards(t *testing.T) {
	r, looked, lacking := seeded(t), 0, map[string]int{}
	for range 60 {
		c := anyMode(r)
		c.Facts.OwnTables = r.IntN(2) == 0
		w := dataplane.NewWant(dataplane.Foundation(c))
		for i := range 4 {
			w.Set(dataplane.Compile(anyService(r, i), node, c), map[cluster.Name]struct{}{})
		}
		want := w.State
		check := func(what string, have *dataplane.State, family cluster.Family, missing bool) {
			t.Helper()
			for _, id := range restrictedOf(want) {
				looked++
				open := missing && cluster.FamilyOf(id.Addr) == family
				if why := dataplane.Unguarded(have, want, id); (why != "") != open {
					t.Fatalf("%s: %s is unguarded %q, want %v", what, id, why, open)
				}
				if exposed := dataplane.Exposed(have, want, dataplane.All(nil, want)); slices.Contains(exposed, id) != open {
					t.Fatalf("%s: exposed are %v; %s is %v", what, exposed, id, open)
				}
				if open {
					lacking[what]++
				}
			}
		}
		check("all", want, cluster.IPv4, false)
		for id, chain := range want.Chains {
			needed := dataplane.Guards(chain)
			flushed, short := want.Clone(), want.Clone()
			flushed.Chains[id] = dataplane.Chain{ID: id}
			check("flushed "+id.Table+" "+id.Name, flushed, id.Family, needed)
			if id.Name == dataplane.ChainClients {
				rest := dataplane.Chain{ID: id, Rules: chain.Rules[:len(chain.Rules)-1]}
				rest.References()
				short.Chains[id] = rest
				check("without its last rule "+id.Table+" "+id.Name, short, id.Family, true)
			}
		}
		for hook := range want.Hooks {
			unhooked := want.Clone()
			delete(unhooked.Hooks, hook)
			own := hook.Match.Via == dataplane.Via{Link: "lo"} // packets from the node itself have passed OUTPUT
			check("without the hook of "+hook.Chain.Table+" "+hook.Chain.Name, unhooked, hook.Chain.Family,
				!own && (hook.Chain.Name == dataplane.ChainInput || hook.Chain.Name == dataplane.ChainOutput))
		}
		for _, id := range restrictedOf(want) {
			alone := want.Clone()
			for e := range want.Entries.All() {
				if e.FrontEnd() == id && e.Set == dataplane.SetName(dataplane.SetRestricted, cluster.FamilyOf(id.Addr)) {
					alone.Entries.Drop(e)
				}
			}
			if exposed := dataplane.Exposed(alone, want, dataplane.All(nil, want)); len(exposed) != 1 || exposed[0] != id {
				t.Fatalf("without its entry %s, exposed are %v", id, exposed)
			}
		}
	}
	// Six rules, the last ones of two chains, two hooks.
	if len(lacking) != 10 || looked < 500 {
		t.Errorf("%d looks; only %v were found missing", looked, lacking)
	}
}

// TestTakeDown: whichever front ends are taken down, they are gone afterwards, with the addresses that no other one
// has; no state between is one that must not be, and all else is as it was.
func TestTakeDown(t *testing.T) {
	r, m := seeded(t), newMemory()
	for range 200 {
		want := anyWant(r).State
		carryOut(t, m, dataplane.Diff(m.State(), want, dataplane.All(nil, m.State(), want)))
		left := m.State().Clone()
		var ids []dataplane.VirtualServerID
		touched := dataplane.NewTouched()
		for id := range want.VirtualServers {
			if r.IntN(2) == 0 {
				ids = append(ids, id)
				left.DropVirtualServer(id)
			}
			touched.VirtualServers[id], touched.Addresses[id.Addr] = cluster.Name{}, cluster.Name{}
		}
		for _, id := range ids {
			if !servedAt(left, id) {
				delete(left.Addresses, id.Addr)
				delete(left.Routes, id.Addr)
			}
		}
		carryOut(t, m, dataplane.TakeDown(m.State(), ids))
		same(t, "what is left", m.State(), left)
		carryOut(t, m, dataplane.Diff(m.State(), want, touched))
		if ops := dataplane.Diff(m.State(), want, dataplane.All(nil, m.State(), want)); len(ops) > 0 {
			t.Fatalf("made again, and there is still to be done: %v", ops)
		}
	}
}

// servedAt reports whether a virtual server has the front end's address.
func servedAt(s *dataplane.State, front dataplane.VirtualServerID) bool {
	for id := range s.VirtualServers {
		if id.Addr == front.Addr {
			return true
		}
	}
	return false
}
