package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

func v4(prefix byte, i int) netip.Addr {
	return netip.AddrFrom4([4]byte{prefix, byte(i >> 16), byte(i >> 8), byte(i)})
}

// wide returns a Service on some addresses of load balancers and one cluster IP, with ports and endpoints.
func wide(ports, balancers, endpoints int) cluster.Service {
	s := cluster.Service{Name: cluster.Name{Namespace: "ns", Name: "wide"}, ClusterIPs: []netip.Addr{v4(11, 1)}}
	for i := range balancers {
		s.LoadBalancerIPs = append(s.LoadBalancerIPs, v4(12, i))
	}
	for i := range ports {
		port := cluster.ServicePort{Name: fmt.Sprint("p", i), Protocol: cluster.TCP, Port: uint16(i + 1), Scheduler: "rr"}
		for e := range endpoints {
			port.Endpoints = append(port.Endpoints,
				cluster.Endpoint{Addr: v4(10, e), Port: uint16(8000 + i), Ready: true, Serving: true, Remote: true, Weight: 1})
		}
		s.Ports = append(s.Ports, port)
	}
	return s
}

func (f *Fragment) size() (frontEnds, realServers, entries int) {
	for _, front := range f.FrontEnds {
		realServers += len(front.VirtualServer.RealServers)
		entries += len(front.Entries)
	}
	return len(f.FrontEnds), realServers, entries
}

// TestFragmentsHaveABudget: a Service has its first front ends, as many as its budget allows, and what is left out is
// counted. At the budget nothing is left out.
func TestFragmentsHaveABudget(t *testing.T) {
	ranges := func(s cluster.Service, n int) cluster.Service {
		for i := range n {
			s.SourceRanges = append(s.SourceRanges, netip.PrefixFrom(v4(172, i), 32))
		}
		return s
	}
	mh := func(s cluster.Service) cluster.Service {
		for i := range s.Ports {
			s.Ports[i].Scheduler = "mh"
		}
		return s
	}
	for name, c := range map[string]struct {
		service cluster.Service
		served  int
	}{
		"as many front ends as there may be": {wide(budget.FrontEnds/4, 3, 1), budget.FrontEnds},
		"one port more":                      {wide(budget.FrontEnds/4+1, 3, 1), budget.FrontEnds},
		"with large tables":                  {mh(wide(budget.FrontEnds/4, 3, 1)), budget.FrontEnds / budget.FrontEndsOfTable},
		"real servers":                       {wide(16, 1, 1024), 32},
		"more real servers":                  {wide(20, 1, 1024), 32},
		"the first one does not fit":         {wide(1, 1, budget.RealServers+1), 0},
		"clients":                            {ranges(wide(1, 200, 1), 1000), 1 + 65},
	} {
		t.Run(name, func(t *testing.T) {
			f := Compile(c.service, Node{Name: "n1"}, Config{Families: []cluster.Family{cluster.IPv4}})
			frontEnds, realServers, entries := f.size()
			asked := len(c.service.Ports) * (1 + len(c.service.LoadBalancerIPs))
			if frontEnds != c.served || f.Beyond.FrontEnds != asked-c.served {
				t.Errorf("%d front ends are served and %d not, want %d and %d",
					frontEnds, f.Beyond.FrontEnds, c.served, asked-c.served)
			}
			if frontEnds > budget.FrontEnds || realServers > budget.RealServers || entries > budget.Entries {
				t.Errorf("%d front ends, %d real servers, %d entries", frontEnds, realServers, entries)
			}
			if beyond := f.Beyond.First; beyond.Addr.IsValid() != (f.Beyond.FrontEnds > 0) ||
				slices.ContainsFunc(f.FrontEnds, func(front FrontEnd) bool { return front.ID == beyond }) {
				t.Errorf("the first one that is not served is %s", beyond)
			}
		})
	}
}

// TestClientsAreLinear: each source range makes one entry of each front end, however many there are twice.
func TestClientsAreLinear(t *testing.T) {
	cost := func(n int) float64 {
		s := wide(1, 4, 1)
		for i := range n {
			s.SourceRanges = append(s.SourceRanges, netip.PrefixFrom(v4(172, i/2), 32))
		}
		return testing.AllocsPerRun(
			2, func() { Compile(s, Node{Name: "n1"}, Config{Families: []cluster.Family{cluster.IPv4}}) },
		)
	}
	if once, twice := cost(1000), cost(2000); twice > 2*once+20 {
		t.Errorf("%.0f allocations become %.0f", once, twice)
	}
	s := wide(1, 2, 1)
	for i := range 100 {
		s.SourceRanges = append(s.SourceRanges, netip.PrefixFrom(v4(172, i/2), 32))
	}
	f := Compile(s, Node{Name: "n1"}, Config{Families: []cluster.Family{cluster.IPv4}})
	if networks, restricted := f.FrontEnds[1].Clients(); len(networks) != 50 || !restricted {
		t.Errorf("%d networks, want 50", len(networks))
	}
}

// TestHairpinsOfThisNode: an endpoint has an entry where it may be one of this node, and no more endpoints have than
// there is a budget for.
func TestHairpinsOfThisNode(t *testing.T) {
	node := Node{Name: "n1", Addresses: []netip.Addr{netip.MustParseAddr("192.168.50.1")}}
	pods := Pods{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}
	for name, c := range map[string]struct {
		pods     Pods
		endpoint cluster.Endpoint
		want     bool
	}{
		"on this node":                      {pods, cluster.Endpoint{Addr: v4(99, 1), Local: true}, true},
		"on another node":                   {pods, cluster.Endpoint{Addr: v4(10, 1), Remote: true}, false},
		"nobody says where, a pod's":        {pods, cluster.Endpoint{Addr: v4(10, 1)}, true},
		"nobody says where, the node's":     {pods, cluster.Endpoint{Addr: netip.MustParseAddr("192.168.50.1")}, true},
		"nobody says where, elsewhere":      {pods, cluster.Endpoint{Addr: v4(99, 1)}, false},
		"nobody says where, pods unknown":   {Pods{}, cluster.Endpoint{Addr: v4(99, 1)}, true},
		"nobody says where, IPv6 unknown":   {pods, cluster.Endpoint{Addr: netip.MustParseAddr("2001:db8::1")}, true},
		"nobody says where, a pod, by link": {Pods{InterfacePrefix: "cali"}, cluster.Endpoint{Addr: v4(99, 1)}, true},
	} {
		c.endpoint.Port, c.endpoint.Ready = 80, true
		s := cluster.Service{ClusterIPs: []netip.Addr{v4(11, 1), netip.MustParseAddr("fd00::1")},
			Ports: []cluster.ServicePort{{Protocol: cluster.TCP, Port: 80, Endpoints: []cluster.Endpoint{c.endpoint}}}}
		f := Compile(s, node, Config{Families: []cluster.Family{cluster.IPv4, cluster.IPv6}, Pods: c.pods})
		if got := len(f.Entries) == 1; got != c.want || f.Anywhere == (c.endpoint.Local || c.endpoint.Remote) {
			t.Errorf("%s: an entry is %v, want %v; anywhere is %v", name, got, c.want, f.Anywhere)
		}
	}
	s := wide(20, 0, 1024)
	for i := range s.Ports {
		for j := range s.Ports[i].Endpoints {
			s.Ports[i].Endpoints[j].Remote = false
		}
	}
	f := Compile(s, node, Config{Families: []cluster.Family{cluster.IPv4}})
	if len(f.Entries) != budget.Hairpins || f.Beyond.Hairpins != 20*1024-budget.Hairpins {
		t.Errorf("%d entries and %d beyond", len(f.Entries), f.Beyond.Hairpins)
	}
}

// small returns a Service of its own address.
func small(i int) Fragment {
	s := wide(1, 0, 3)
	s.Name.Name, s.ClusterIPs[0] = fmt.Sprint("small-", i), v4(13, i)
	return Compile(s, Node{Name: "n1"}, Config{Families: []cluster.Family{cluster.IPv4}})
}

// TestReserveOfSets: when all of a set but its reserve is taken, a Service that wants much of it gets none, whichever
// Services have taken it. Services that want little still get it. What a Service has counts once, also when it is
// compiled again. After another one is removed, the Service gets its entries.
func TestReserveOfSets(t *testing.T) {
	const limit, share = 500, 10
	w := NewWant(NewState())
	put := func(f Fragment) Fragment {
		w.ration(&f, limit, share)
		w.Set(f, map[cluster.Name]struct{}{})
		return f
	}
	big := func(name string, ports int) Fragment {
		s := wide(ports, 0, 3)
		s.Name.Name, s.ClusterIPs[0] = name, v4(14, int(name[0]))
		for i := range s.Ports {
			for j := range s.Ports[i].Endpoints {
				s.Ports[i].Endpoints[j].Addr, s.Ports[i].Endpoints[j].Remote = v4(name[0], j), false
			}
		}
		return Compile(s, Node{Name: "n1"}, Config{Families: []cluster.Family{cluster.IPv4}})
	}
	if f := put(big("a", 100)); f.Beyond != (Beyond{}) || len(f.Entries) != 300 {
		t.Fatalf("the first one: %+v", f.Beyond)
	}
	if f := put(big("a", 100)); f.Beyond != (Beyond{}) {
		t.Errorf("looked at again it is refused: %+v", f.Beyond)
	}
	b := put(big("b", 100))
	if b.Beyond.Hairpins != 100 || b.Beyond.Full != SetHairpin || b.Beyond.Lacking != 100 || b.Beyond.FrontEnds != 0 ||
		len(b.FrontEnds) != 100 {
		t.Errorf("the second one gets what is left of the hairpins: %+v, %d front ends", b.Beyond, len(b.FrontEnds))
	}
	if again := put(big("b", 100)); again.Beyond.Hairpins != 100 {
		t.Errorf("looked at again: %+v", again.Beyond)
	}
	for i := range 600 {
		if f := put(small(i)); f.Beyond != (Beyond{}) || len(f.FrontEnds) != 1 {
			t.Fatalf("number %d, which wants little, is refused: %+v", i, f.Beyond)
		}
	}
	c := put(big("c", 100))
	if len(c.FrontEnds) != share || c.Beyond.FrontEnds != 90 || c.Beyond.First.Port != share+1 || len(c.Entries) != share {
		t.Errorf("the third one has its share: %d front ends, %d hairpins, %+v", len(c.FrontEnds), len(c.Entries), c.Beyond)
	}
	for i := range 600 {
		w.Remove(cluster.Name{Namespace: "ns", Name: fmt.Sprint("small-", i)}, map[cluster.Name]struct{}{})
	}
	w.Remove(cluster.Name{Namespace: "ns", Name: "a"}, map[cluster.Name]struct{}{})
	if f := put(big("c", 100)); f.Beyond != (Beyond{}) {
		t.Errorf("when others are gone: %+v", f.Beyond)
	}
	sizes := make([]int, len(knownSets))
	for e := range w.State.Entries.All() {
		sizes[knownSetAt[e.Set]]++
	}
	if !slices.Equal(sizes, w.sizes) {
		t.Errorf("counted are %v, there are %v", w.sizes, sizes)
	}
}

// TestFrontEndsBeyondAreCounted: what a Service asks for beyond its budget is counted as if it were made, and costs
// nothing: with twice the ports and twice the addresses neither allocations nor pauses grow with their product.
func TestFrontEndsBeyondAreCounted(t *testing.T) {
	node := Node{Name: "n1", Addresses: []netip.Addr{v4(192, 1), v4(192, 2), netip.MustParseAddr("fd01::1")}}
	config := Config{Families: []cluster.Family{cluster.IPv4, cluster.IPv6}}
	const more = 300 // addresses in each family
	service := func(ports, addresses int) (s cluster.Service, asked int) {
		s = wide(ports, addresses, 1)
		s.ClusterIPs = append(s.ClusterIPs, netip.MustParseAddr("fd00::1"))
		for i := range addresses {
			ip := netip.MustParseAddr(fmt.Sprintf("fd02::%x", 1+i))
			s.LoadBalancerIPs, s.ExternalIPs = append(s.LoadBalancerIPs, ip), append(s.ExternalIPs, v4(15, i))
		}
		for i := range s.Ports {
			if asked += 3*addresses + 2; i%2 == 0 {
				s.Ports[i].NodePort = uint16(30_000 + i)
				asked += 3
			}
		}
		return s, asked
	}
	cost := func(ports, addresses int) (allocations float64, pauses int) {
		s, asked := service(ports, addresses)
		f := CompilePausing(s, node, config, func() { pauses++ })
		if n := len(f.FrontEnds) + f.Beyond.FrontEnds; n != asked || pauses != len(f.FrontEnds)+1 {
			t.Errorf("%d ports: %d front ends are served or not, want %d; %d pauses for %d that are served", ports, n, asked,
				pauses, len(f.FrontEnds))
		}
		return testing.AllocsPerRun(1, func() { Compile(s, node, config) }), pauses
	}
	allocations, pauses := cost(200, more)
	allocations2, pauses2 := cost(400, 2*more)
	if pauses2 > pauses || allocations2 > 1.2*allocations {
		t.Errorf("with four times the front ends %.0f allocations become %.0f, %d pauses %d", allocations, allocations2,
			pauses, pauses2)
	}
}
