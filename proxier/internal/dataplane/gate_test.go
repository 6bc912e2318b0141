package dataplane

import (
	"net/netip"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestGateLooksOnce: a Gate looks at virtual servers, chains and hooks once, however many sets and chains go, so that a
// pass costs their sum and not their product. What it has looked at is taken away behind its back, and it still knows.
func TestGateLooksOnce(t *testing.T) {
	for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		addr := map[cluster.Family]netip.Addr{
			cluster.IPv4: netip.MustParseAddr("10.96.0.1"), cluster.IPv6: netip.MustParseAddr("fd00:96::1"),
		}[family]
		have, id := NewState(), VirtualServerID{addr, 80, cluster.TCP}
		have.SetVirtualServer(id, VirtualServer{})
		have.Entries.Put(frontEndEntry(SetFrontEnd, id))
		chain := Chain{
			ID: ChainID{Family: family, Table: "filter", Name: Prefix + "OLD"}, Sets: []string{Prefix + "A", Prefix + "B"},
		}
		have.Chains[chain.ID], have.Hooks[Hook{Chain: chain.ID, Builtin: "INPUT"}] = chain, struct{}{}
		gone := func(name string) Op { return Op{Delete, Set{ipset.Set{Name: name}}} }

		gate := NewGate(have, nil, nil)
		if why := gate.Blocked(gone(Prefix+"C")) + gate.Blocked(Op{
			Delete, Chain{ID: ChainID{Family: family, Table: "nat", Name: Prefix + "OLD"}},
		}); why != "" {
			t.Errorf("%s: %s", family, why)
		}
		clear(have.VirtualServers)
		clear(have.Chains)
		clear(have.Hooks)
		for why, op := range map[string]Op{
			"chain IPVSP-OLD still refers to it":                                          gone(Prefix + "B"),
			"a virtual server is still there, and the set is how we know that it is ours": gone(SetName(SetFrontEnd, family)),
			"a hook still leads to it":                                                    {Delete, chain},
		} {
			if got := gate.Blocked(op); got != why {
				t.Errorf("%s: %s: %q, want %q", family, op, got, why)
			}
		}
		other := map[cluster.Family]cluster.Family{cluster.IPv4: cluster.IPv6, cluster.IPv6: cluster.IPv4}[family]
		if why := gate.Blocked(gone(SetName(SetFrontEnd, other))); why != "" {
			t.Errorf("the ledger of the other family: %s", why)
		}
	}
}
