package dataplane_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestSources: the preferred source is what the cluster and the node's links agree on, and nothing else.
func TestSources(t *testing.T) {
	a4, b4, a6, b6 := netip.MustParseAddr("192.168.50.1"), netip.MustParseAddr("10.244.0.1"), netip.MustParseAddr("fd00:50::1"), netip.MustParseAddr("fd00:244::1")
	for _, c := range []struct {
		name               string
		addresses, primary []netip.Addr
		want               dataplane.Sources
	}{
		{"both families", []netip.Addr{b4, a4, b6, a6}, []netip.Addr{a4, a6}, dataplane.Sources{IPv4: a4, IPv6: a6}},
		{"one family", []netip.Addr{b4, a4, b6, a6}, []netip.Addr{a6}, dataplane.Sources{IPv6: a6}},
		{"known to nobody", []netip.Addr{b4, a4, b6, a6}, nil, dataplane.Sources{}},
		{"on no link of the node", []netip.Addr{b4, b6}, []netip.Addr{a4, a6}, dataplane.Sources{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (dataplane.Node{Addresses: c.addresses, Primary: c.primary}).Sources(); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// vipStates are a node with one VIP by address, and by route.
func vipStates(sources dataplane.Sources) (vip netip.Addr, byAddress, byRoute *dataplane.State) {
	vip = netip.MustParseAddr("10.96.0.1")
	of := func(mode dataplane.VIPMode) *dataplane.State {
		c := config
		c.VIPs = mode
		w := dataplane.NewWant(dataplane.Foundation(c))
		w.Prefer(sources)
		w.Set(dataplane.Compile(cluster.Service{
			Name: cluster.Name{Namespace: "ns", Name: "a"}, ClusterIPs: []netip.Addr{vip},
			Ports: []cluster.ServicePort{{Protocol: cluster.TCP, Port: 80, Scheduler: "rr"}, {Protocol: cluster.UDP, Port: 80, Scheduler: "rr"}},
		}, node, c), map[cluster.Name]struct{}{})
		return w.State.Clone()
	}
	return vip, of(dataplane.ByAddress), of(dataplane.ByRoute)
}

// TestAnotherSourceIsOneOperation, in place, so that there is no moment without the route.
func TestAnotherSourceIsOneOperation(t *testing.T) {
	_, _, have := vipStates(dataplane.Sources{IPv4: node.Addresses[0]})
	_, _, want := vipStates(dataplane.Sources{IPv4: node.Addresses[1]})
	ops := dataplane.Diff(have, want, dataplane.All(nil, have, want))
	if len(ops) != 1 || ops[0].String() != "update route 10.96.0.1 source 192.168.50.2" {
		t.Errorf("%v, want one update", ops)
	}
}

// TestModeChangesInOrder: what is to come is there before what was goes; and when it did not come, nothing goes.
func TestModeChangesInOrder(t *testing.T) {
	vip, byAddress, byRoute := vipStates(dataplane.Sources{})
	for _, c := range []struct {
		from, to *dataplane.State
		want     []string
		missing  string
	}{
		{byAddress, byRoute, []string{
			"create route 10.96.0.1", "delete address 10.96.0.1",
		}, "the route that takes its place is missing"},
		{byRoute, byAddress, []string{
			"create address 10.96.0.1", "delete route 10.96.0.1",
		}, "the address that takes its place is missing"},
	} {
		ops := dataplane.Diff(c.from, c.to, dataplane.All(nil, c.from, c.to))
		if len(ops) != 2 || ops[0].String() != c.want[0] || ops[1].String() != c.want[1] {
			t.Fatalf("%v, want %v", ops, c.want)
		}
		have := c.from.Clone()
		if why := dataplane.NewGate(have, nil, ops).Blocked(ops[1]); why != c.missing {
			t.Errorf("%s, without the one before: %q, want %q", ops[1], why, c.missing)
		}
		have.Apply(ops[0])
		if why := dataplane.NewGate(have, nil, ops).Blocked(ops[1]); why != "" {
			t.Errorf("%s: %q", ops[1], why)
		}
		if !have.Local(vip) {
			t.Error("the VIP is not local")
		}
	}
}

// TestRouteNeedsItsVirtualServer, in both directions, like an address.
func TestRouteNeedsItsVirtualServer(t *testing.T) {
	vip, _, have := vipStates(dataplane.Sources{})
	id := func(p cluster.Protocol) dataplane.VirtualServerID {
		return dataplane.VirtualServerID{Addr: vip, Port: 80, Protocol: p}
	}
	drop := func(p cluster.Protocol) dataplane.Op {
		return dataplane.Op{Verb: dataplane.Delete, Object: dataplane.VirtualServerObject{ID: id(p)}}
	}
	gate := dataplane.NewGate(have, nil, nil)
	if why := gate.Blocked(drop(cluster.TCP)); why != "" {
		t.Errorf("one of two is kept: %s", why)
	}
	if why := gate.Blocked(drop(cluster.UDP)); !strings.Contains(why, "route") {
		t.Errorf("the last one goes before the route: %q", why)
	}
	have.DropVirtualServer(id(cluster.TCP))
	have.DropVirtualServer(id(cluster.UDP))
	if got := strings.Join(have.Violations(), "\n"); !strings.Contains(got, "route 10.96.0.1 has no virtual server") {
		t.Errorf("violations: %q", got)
	}
	if why := dataplane.NewGate(have, nil, nil).Blocked(dataplane.Op{
		Verb: dataplane.Create, Object: dataplane.Route{Addr: vip},
	}); why != "it has no virtual server" {
		t.Errorf("a route without a virtual server: %q", why)
	}
}

// TestClientsOnTheNode: which clients on the node itself may reach a restricted address, by their source in each mode.
func TestClientsOnTheNode(t *testing.T) {
	vip := netip.MustParseAddr("fd00:203::1")
	clients := func(mode dataplane.VIPMode, primary ...netip.Addr) []string {
		c, n := config, node
		c.VIPs, n.Primary = mode, primary
		f := dataplane.Compile(cluster.Service{
			ClusterIPs: []netip.Addr{netip.MustParseAddr("fd00:96::1")}, LoadBalancerIPs: []netip.Addr{vip}, SourceRanges: []netip.Prefix{netip.MustParsePrefix("fd00:50::1/128")},
			Ports: []cluster.ServicePort{{Protocol: cluster.TCP, Port: 80}},
		}, n, c)
		var found []string
		for _, front := range f.FrontEnds {
			for e := range front.Entries.All() {
				if strings.HasSuffix(e.Set, "CLIENTS") {
					found = append(found, e.Entry.Peer.String())
				}
			}
		}
		return found
	}
	other := netip.MustParseAddr("fd00:51::1")
	node.Addresses = append(node.Addresses, other)
	defer func() { node.Addresses = node.Addresses[:len(node.Addresses)-1] }()
	for _, c := range []struct {
		name string
		got  []string
		want string
	}{
		{"by address the VIP is the source", clients(dataplane.ByAddress, node.Addresses[2]), "fd00:50::1 fd00:203::1"},
		{"by route the node's address is; connections of before have the VIP", clients(dataplane.ByRoute, node.Addresses[2]), "fd00:50::1 fd00:203::1"},
		{"not the node", clients(dataplane.ByRoute, other), "fd00:50::1"},
		{"by route the kernel chooses among all addresses", clients(dataplane.ByRoute), "fd00:50::1 fd00:203::1 fd00:51::1"},
	} {
		if got := strings.Join(c.got, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
