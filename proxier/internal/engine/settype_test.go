package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// guardedService is a Service that only clients of 192.0.2.0/24 may reach, at 203.0.113.n.
func guardedService(n int) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Service
metadata: {name: guarded%[1]d}
spec:
  {type: LoadBalancer, clusterIP: 10.96.7.%[1]d, clusterIPs: [10.96.7.%[1]d], loadBalancerSourceRanges: [192.0.2.0/24], ports: [{name: http, port: 80, nodePort: %[2]d, targetPort: 8080}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.%[1]d}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: guarded%[1]d-a, labels: {kubernetes.io/service-name: guarded%[1]d}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.9.9], nodeName: n1}]
`, n, 30000+n)
}

// earlier makes the state what a version has left in which this set had another name and another type. It returns that
// name.
func earlier(state *dataplane.State, name string) string {
	set := state.Sets[name]
	old := ipset.Set{Name: name + "-0", Type: ipset.HashNet, Family: ipset.IPv4, HashSize: 1024, MaxElem: 65536}
	if set.Type == ipset.HashNet {
		old.Type = ipset.HashIP
	}
	delete(state.Sets, name)
	state.Sets[old.Name] = old
	for e := range state.Clone().Entries.All() {
		if e.Set == name {
			state.Entries.Drop(e)
			state.Entries.Put(dataplane.SetEntry{Set: old.Name, Type: old.Type, Entry: e.Entry})
		}
	}
	for id, chain := range state.Chains {
		state.Chains[id] = asking(chain, name, old.Name)
	}
	return old.Name
}

// TestSetsOfAnotherType: in an upgrade a set gets another type, and with it another name. At every moment each set that
// rules in force ask holds all that it held before. No client that source ranges keep out reaches a Service, one that
// came meanwhile included.
func TestSetsOfAnotherType(t *testing.T) {
	names := slices.Sorted(maps.Keys(newScenario(t, 0, 0).engine.want.State.Sets))
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t, 0, 0)
			s.converge(append(s.apply([]byte(manyServices(12))), s.apply(guardedService(1))...), false)
			want, state := s.memory.State().Clone(), s.memory.State()
			full := map[string]int{}
			for e := range want.Entries.All() {
				full[e.Set]++
			}
			old := earlier(state, name)
			full[old] = full[name]
			next := newScenario(t, 0, 0)
			next.memory, next.limit, next.objects = s.memory, 2, s.objects
			next.faulty.Kernel = s.memory
			next.apply(guardedService(2))
			next.restart()
			s.memory.AfterEach = func(op dataplane.Op, now *dataplane.State) {
				holds := map[string]int{}
				for e := range now.Entries.All() {
					holds[e.Set]++
				}
				for id, chain := range now.Chains {
					for _, set := range chain.Sets {
						if holds[set] < full[set] {
							t.Errorf("after %s chain %s asks set %s, which holds %d of %d entries", op, id, set, holds[set], full[set])
						}
					}
				}
				unguarded(t, op, now)
			}
			next.converge(nil, true)
			if _, there := state.Sets[old]; there || len(state.VirtualServers) != len(want.VirtualServers)+3 {
				t.Errorf("after the upgrade:\n%s", state.Text())
			}
			next.converge(nil, true)
			if next.ops != 0 {
				t.Errorf("%d operations more", next.ops)
			}
		})
	}
}

// unguarded returns guarded front ends that the rules in force do not guard, whatever the sets are called that they
// ask.
func unguarded(t *testing.T, op dataplane.Op, now *dataplane.State) {
	t.Helper()
	for id := range now.VirtualServers {
		if !netip.MustParsePrefix("203.0.113.0/24").Contains(id.Addr) {
			continue
		}
		chain := now.Chains[dataplane.ChainID{Family: cluster.IPv4, Table: "filter", Name: dataplane.ChainFrontEnd}]
		asked := func(e dataplane.SetEntry) bool {
			return slices.Contains(chain.Sets, e.Set) && strings.HasPrefix(e.Set, dataplane.SetRestricted) && e.FrontEnd() == id
		}
		guarded := false
		for e := range now.Entries.All() {
			guarded = guarded || asked(e)
		}
		if !guarded {
			t.Errorf("after %s all clients reach %s", op, id)
		}
	}
}

// TestSetsOfOthers: somebody else has made a set of our name, of another type. It becomes ours, unless a rule of theirs
// asks it: then it is said what is there, and whose rule it is.
func TestSetsOfOthers(t *testing.T) {
	for _, asked := range []bool{false, true} {
		s := newScenario(t, 0, 0)
		state := s.memory.State()
		theirs := ipset.Set{Name: dataplane.SetVIP, Type: ipset.HashNet, Family: ipset.IPv4, HashSize: 1024, MaxElem: 65536}
		state.Sets[theirs.Name] = theirs
		state.Entries.Put(dataplane.SetEntry{
			Set: theirs.Name, Type: theirs.Type, Entry: ipset.Entry{Addr: netip.MustParseAddr("10.9.9.0"), Bits: 24},
		})
		rule := dataplane.Chain{ID: dataplane.ChainID{Family: cluster.IPv4, Table: "raw", Name: dataplane.Prefix + "THEIRS"},
			Rules: []dataplane.Rule{{
				Matches: []dataplane.Match{dataplane.InSet{Set: dataplane.SetVIP, By: dataplane.ByDestination}},
				Verdict: dataplane.Verdict{Action: dataplane.Drop},
			}}}
		rule.References()
		hook := dataplane.Hook{Chain: rule.ID, Builtin: "PREROUTING"}
		if asked {
			state.Chains[rule.ID], state.Hooks[hook] = rule, struct{}{}
		}
		names := s.apply([]byte(manyServices(3)))
		if asked {
			r := s.engine.Pass(s.now, names, false)
			for _, said := range []string{
				"IPVSP-VIP hash:net", "chain IPVSP-THEIRS refers to it", "set IPVSP-VIP is one of hash:net, not of hash:ip",
			} {
				if err := r.Error(); err == nil || !strings.Contains(err.Error(), said) {
					t.Errorf("%v does not say %q", err, said)
				}
			}
			continue
		}
		s.converge(names, false)
		clean := newScenario(t, 0, 0)
		clean.converge(clean.apply([]byte(manyServices(3))), false)
		if now, want := state.Text(), clean.memory.State().Text(); now != want {
			t.Errorf("the kernel has\n%s\nwant\n%s", now, want)
		}
	}
}
