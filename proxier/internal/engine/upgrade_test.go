package engine

import (
	"slices"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestUpgradeKeepsRulesUntilSetsAreFull: a version whose rules used another set has run. Its rules stay until all
// Services are in the set that ours use, however many passes and failures that takes; then they go, with their set.
// What they keep to source ranges by another set is served all the time.
func TestUpgradeKeepsRulesUntilSetsAreFull(t *testing.T) {
	for _, rate := range []float64{0, 0.1} {
		s := newScenario(t, 0, 0)
		s.converge(append(s.apply([]byte(manyServices(12))), s.apply(restrictedService("192.0.2.0/24"))...), false)
		state := s.memory.State()
		const old, limited = "IPVSP-CLUSTER-IP", "IPVSP-LIMITED"
		renamed := map[string]string{dataplane.SetFrontEnd: old, dataplane.SetRestricted: limited}
		for set, old := range renamed {
			state.Sets[old] = ipset.Set{Name: old, Type: ipset.HashIPPort, Family: ipset.IPv4}
			delete(state.Sets, set)
		}
		for e := range state.Clone().Entries.All() {
			if old, is := renamed[e.Set]; is {
				state.Entries.Drop(e)
				e.Set = old
				state.Entries.Put(e)
			}
		}
		inForce := func() bool {
			for _, chain := range state.Chains {
				if slices.Contains(chain.Sets, old) {
					return true
				}
			}
			return false
		}
		for id, chain := range state.Chains {
			if id.Family == cluster.IPv4 {
				state.Chains[id] = asking(asking(chain, dataplane.SetFrontEnd, old), dataplane.SetRestricted, limited)
			}
		}
		next := newScenario(t, rate, anySeed(t))
		next.memory, next.limit = s.memory, 2
		next.faulty.Kernel, next.objects = s.memory, s.objects
		next.restart()
		s.memory.AfterEach = func(op dataplane.Op, now *dataplane.State) {
			if o, is := op.Object.(dataplane.VirtualServerObject); is && op.Verb == dataplane.Delete && rate == 0 {
				t.Errorf("%s, which is wanted", o)
			}
			if rate > 0 || inForce() { // with faults an entry may be missing: that is a failure of its own Service
				return
			}
			for id := range now.VirtualServers {
				if !now.Recorded(id) {
					t.Errorf("after %s our rules are in force, and %s is not in the set that they ask", op, id)
				}
			}
		}
		next.converge(nil, true)
		_, there := state.Sets[old]
		if _, too := state.Sets[limited]; there || too || inForce() {
			t.Errorf("what another version left is still there:\n%s", state.Text())
		}
	}
}

// asking returns the chain with rules that ask another set.
func asking(chain dataplane.Chain, set, another string) dataplane.Chain {
	chain.Rules = slices.Clone(chain.Rules)
	for i, rule := range chain.Rules {
		rule.Matches = slices.Clone(rule.Matches)
		for j, match := range rule.Matches {
			if in, is := match.(dataplane.InSet); is && in.Set == set {
				in.Set = another
				rule.Matches[j] = in
			}
		}
		chain.Rules[i] = rule
	}
	chain.References()
	return chain
}
