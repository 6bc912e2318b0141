package dataplane

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestListing: each object of a State has its name and what it is set to, and each difference of two States is one of
// their Listings.
func TestListing(t *testing.T) {
	vip, end := netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("10.244.1.7")
	chain := ChainID{cluster.IPv4, "nat", "IPVSP-SERVICES"}
	s := NewState()
	s.Links["kube-ipvs0"] = struct{}{}
	s.Sysctls["net.ipv4.vs.conntrack"] = "1"
	s.Sets["IPVSP-VIP"] = ipset.Set{Name: "IPVSP-VIP", Type: ipset.HashIP, Family: ipset.IPv4}
	s.Chains[chain] = Chain{ID: chain}
	s.Hooks[Hook{Chain: chain, Builtin: "OUTPUT", Comment: "a"}] = struct{}{}
	s.Hooks[Hook{Chain: chain, Builtin: "OUTPUT", Comment: "b", Match: HookMatch{Unknown: "odd"}}] = struct{}{}
	s.Entries.Put(SetEntry{Set: "IPVSP-VIP", Type: ipset.HashIP, Entry: ipset.Entry{Addr: vip}})
	id := VirtualServerID{Protocol: cluster.TCP, Addr: vip, Port: 53}
	v := VirtualServer{RealServers: []RealServer{{Addr: end, Port: 8053, Weight: 3}}}
	v.Scheduler, v.Timeout = "rr", 60
	s.SetVirtualServer(id, v)
	s.Addresses[vip] = struct{}{}
	s.Routes[vip] = netip.MustParseAddr("192.0.2.1")
	want := Listing{
		"link kube-ipvs0":                                  "there",
		"sysctl net.ipv4.vs.conntrack":                     "1",
		"set IPVSP-VIP":                                    "hash:ip inet",
		"chain ipv4 nat IPVSP-SERVICES":                    "empty",
		"hook ipv4 nat OUTPUT -> IPVSP-SERVICES":           "all packets; odd",
		"entry IPVSP-VIP 10.96.0.10":                       "there",
		"virtual-server tcp 10.96.0.10:53":                 "rr persistent 60",
		"real-server tcp 10.96.0.10:53 -> 10.244.1.7:8053": "weight 3",
		"address 10.96.0.10":                               "there",
		"route 10.96.0.10":                                 "source 192.0.2.1",
	}
	if diff := cmp.Diff(want, s.Listing(plain{})); diff != "" {
		t.Errorf("want (-), is (+):\n%s", diff)
	}
}
