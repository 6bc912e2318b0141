package dataplane

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Fragment is what one Service wants of this node's kernel.
type Fragment struct {
	Owner cluster.Name
	// Created decides conflicts between Services, see merge.go.
	Created time.Time
	// FrontEnds are in the order of the Service: by port and family, then by kind.
	FrontEnds []FrontEnd
	// LocalReady is what the health check node port reports.
	LocalReady LocalReady
	// Entries are set entries that belong to no single front end. Several Services may want the same one.
	Entries EntryList
	// Beyond says what is left out, because it is beyond a budget.
	Beyond Beyond
	// Anywhere says that there are endpoints without the name of a node: they may be at an address of this one.
	Anywhere bool
}

// Beyond is what a Service wants on this node beyond its budget.
type Beyond struct {
	// FrontEnds are not served; First is the first of them.
	FrontEnds int
	First     VirtualServerID
	// Hairpins are endpoints that cannot reach themselves by way of the Service.
	Hairpins int
	// Full is the set in the kernel that is too full for them, "" where the Service's own budget is the limit. Lacking
	// is for how many entries.
	Full    string
	Lacking int
}

// FrontEnd is one virtual server with what belongs to it. It is won or lost as a whole when two Services want it.
type FrontEnd struct {
	ID            VirtualServerID
	VirtualServer VirtualServer
	Kind          FrontEndKind
	// Port is the index of the Service port.
	Port int32
	// Bind says that the address is made local to the node; Route that it is by a route, and not by an address on our
	// link.
	Bind, Route bool
	// NoLocal says that the traffic policy is Local, and that all endpoints there are are on other nodes.
	NoLocal bool
	// Entries are the set entries that decide how its packets are treated.
	Entries EntryList
	// DrainTimeout is how long connections of an endpoint that is gone may go on.
	DrainTimeout time.Duration
	// SlowStart is how long the weight of a new endpoint grows; with it, Identities say of each real server whether it
	// is new.
	SlowStart  time.Duration
	Identities []string
}

// FrontEndKind says from which field of the Service the front end comes.
type FrontEndKind uint8

// The kinds of front ends.
const (
	ClusterIP FrontEndKind = iota + 1
	ExternalIP
	LoadBalancer
	NodePort
)

// rank orders kinds by the origin of their addresses and ports, lowest first. Cluster IPs and node ports come from the
// API server, which allocates each once. The others are chosen by those who may write the Service or its status.
func (k FrontEndKind) rank() int {
	switch k {
	case ClusterIP:
		return 0
	case NodePort:
		return 1
	}
	return 2
}

// Allocated reports whether the API gives out such addresses and ports, each once.
func (k FrontEndKind) Allocated() bool { return k == ClusterIP || k == NodePort }

// String returns ClusterIP, ExternalIP, LoadBalancer or NodePort.
func (k FrontEndKind) String() string {
	switch k {
	case ClusterIP:
		return "ClusterIP"
	case ExternalIP:
		return "ExternalIP"
	case LoadBalancer:
		return "LoadBalancer"
	case NodePort:
		return "NodePort"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Node is what the dataplane needs to know of the node itself.
type Node struct {
	Name string
	// Zone is the node's zone, "" when it has none.
	Zone string
	// Addresses are those of the node's links but ours, without loopback and IPv6 link-local ones.
	Addresses []netip.Addr
	// Primary are the addresses by which the cluster knows the node, at most one of each family; empty when unknown.
	Primary []netip.Addr
}

// Compile returns what the Service wants on this node. It depends on nothing but its arguments.
func Compile(s cluster.Service, node Node, c Config) Fragment {
	return CompilePausing(s, node, c, func() {})
}

// CompilePausing is Compile. It calls pause now and then, so that other goroutines can run where it takes long.
func CompilePausing(s cluster.Service, node Node, c Config, pause func()) Fragment {
	f := Fragment{Owner: s.Name, Created: s.Created}
	entries, left := map[SetEntry]struct{}{}, newServiceBudget()
	may, counts := restrictions(&s, &node, &c), map[cluster.Family]asked{}
	for i, port := range s.Ports {
		for _, clusterIP := range s.ClusterIPs {
			family := cluster.FamilyOf(clusterIP)
			if !c.Serves(family) {
				continue
			}
			k := compiler{
				service: &s, port: &s.Ports[i], index: i, family: family, node: &node, config: &c, clients: may[family],
			}
			if f.Beyond.FrontEnds > 0 {
				// What is left out is counted and not made: it may be a million.
				if _, counted := counts[family]; !counted {
					counts[family] = k.asked()
				}
				f.Beyond.FrontEnds += counts[family].of(port)
			} else {
				k.choice = choose(port.Endpoints, family, nil, nil)
				k.add(&f, clusterIP, &left, pause)
			}
			for _, e := range port.Endpoints {
				f.Anywhere = f.Anywhere || !e.Local && !e.Remote
				if cluster.FamilyOf(e.Addr) != family || !c.mayBeHere(e, node) {
					continue
				}
				if hairpin := hairpinEntry(e, port.Protocol); len(entries) < budget.Hairpins {
					entries[hairpin] = struct{}{}
				} else if _, has := entries[hairpin]; !has {
					f.Beyond.Hairpins++
				}
			}
			if s.HealthCheckNodePort != 0 {
				entries[healthCheckEntry(s.HealthCheckNodePort, family)] = struct{}{}
			}
		}
	}
	f.Entries = EntriesOf(slices.SortedFunc(maps.Keys(entries), SetEntry.compare)...)
	f.LocalReady = localReady(s)
	return f
}

// add adds the front ends of the port to the Fragment, as many as the budget allows, and counts the others.
func (k compiler) add(f *Fragment, clusterIP netip.Addr, left *serviceBudget, pause func()) {
	all := k.wanted(clusterIP)
	for i, want := range all {
		pause()
		front := k.make(want)
		if !left.spend(&front) {
			f.Beyond.First, f.Beyond.FrontEnds = front.ID, len(all)-i
			return
		}
		f.FrontEnds = append(f.FrontEnds, front)
	}
}

// LocalReady is the number of addresses of ready endpoints on this node, over all ports.
type LocalReady struct{ IPv4, IPv6 int }

func localReady(s cluster.Service) (n LocalReady) {
	addrs := map[netip.Addr]struct{}{}
	for _, port := range s.Ports {
		for _, e := range port.Endpoints {
			if e.Local && e.Ready {
				addrs[e.Addr] = struct{}{}
			}
		}
	}
	for addr := range addrs {
		if addr.Is4() {
			n.IPv4++
		} else {
			n.IPv6++
		}
	}
	return n
}

// compiler makes the front ends of one port in one family.
type compiler struct {
	service *cluster.Service
	port    *cluster.ServicePort
	index   int
	family  cluster.Family
	node    *Node
	config  *Config
	choice  choice
	// clients are those of restricted front ends; nil where all may come.
	clients *clients
}

// wanted is a front end that a Service asks for.
type wanted struct {
	kind FrontEndKind
	addr netip.Addr
	port uint16
}

func (k compiler) wanted(clusterIP netip.Addr) (fronts []wanted) {
	if !k.service.ClusterIPHidden {
		fronts = append(fronts, wanted{ClusterIP, clusterIP, k.port.Port})
	}
	for _, addr := range k.service.ExternalIPs {
		if cluster.FamilyOf(addr) == k.family {
			fronts = append(fronts, wanted{ExternalIP, addr, k.port.Port})
		}
	}
	for _, addr := range k.service.LoadBalancerIPs {
		if cluster.FamilyOf(addr) == k.family {
			fronts = append(fronts, wanted{LoadBalancer, addr, k.port.Port})
		}
	}
	if k.port.NodePort == 0 {
		return fronts
	}
	for _, addr := range k.node.Addresses {
		if cluster.FamilyOf(addr) == k.family && k.config.ServesNodePortsOn(addr, *k.node) {
			fronts = append(fronts, wanted{NodePort, addr, k.port.NodePort})
		}
	}
	return fronts
}

// asked is how many front ends each port of a Service wants in one family, and how many more if it has a node port.
type asked struct{ always, nodePorts int }

// asked counts what wanted returns.
func (k compiler) asked() asked {
	port := *k.port
	k.port = &port
	port.NodePort = 0
	n := asked{always: len(k.wanted(netip.Addr{}))}
	port.NodePort = 1
	n.nodePorts = len(k.wanted(netip.Addr{})) - n.always
	return n
}

// of is for how many front ends the port asks.
func (n asked) of(port cluster.ServicePort) int {
	if port.NodePort == 0 {
		return n.always
	}
	return n.always + n.nodePorts
}

func (k compiler) make(w wanted) FrontEnd {
	if w.kind == ClusterIP {
		return k.clusterIP(w.addr)
	}
	return k.external(w.kind, w.addr, w.port)
}

// clusterIP is reached from inside of the cluster.
func (k compiler) clusterIP(addr netip.Addr) FrontEnd {
	endpoints, noLocal := k.choice.internal(k.service.InternalLocal)
	front := k.frontEnd(ClusterIP, addr, k.port.Port, endpoints, noLocal)
	front.Entries = EntriesOf(k.entries(front)...)
	return front
}

// external is reached from outside, too.
func (k compiler) external(kind FrontEndKind, addr netip.Addr, port uint16) FrontEnd {
	endpoints, noLocal := k.choice.external(k.service.ExternalLocal)
	front := k.frontEnd(kind, addr, port, endpoints, noLocal)
	set := SetExternalIP
	switch {
	case k.service.ExternalLocal:
		set = SetLocal
	case kind == NodePort:
		set = SetNodePort
	}
	entries := append(k.entries(front), frontEndEntry(set, front.ID))
	if noLocal {
		entries = append(entries, frontEndEntry(SetNoLocal, front.ID))
	}
	if kind == LoadBalancer && k.clients != nil {
		entries = append(entries, frontEndEntry(SetRestricted, front.ID))
		entries = append(entries, k.clients.of(front.ID)...)
	}
	front.Entries = EntriesOf(entries...)
	return front
}

// entries returns those that every front end has: its own, and that of its address where that is ours.
func (k compiler) entries(front FrontEnd) []SetEntry {
	entries := []SetEntry{frontEndEntry(SetFrontEnd, front.ID)}
	if front.Bind {
		entries = append(entries, vipEntry(front.ID.Addr))
	}
	return entries
}

// frontEnd makes the address local to the node, unless it is the node's own already: then only this port of it is ours.
func (k compiler) frontEnd(
	kind FrontEndKind, addr netip.Addr, port uint16, endpoints []cluster.Endpoint, noLocal bool,
) FrontEnd {
	endpoints = k.ordered(endpoints)
	front := FrontEnd{
		ID:            VirtualServerID{Addr: addr, Port: port, Protocol: k.port.Protocol},
		VirtualServer: k.virtualServer(addr, endpoints),
		Kind:          kind,
		NoLocal:       noLocal,
		Port:          int32(k.index),
		DrainTimeout:  k.port.DrainTimeout,
		SlowStart:     k.port.SlowStart,
	}
	if front.SlowStart > 0 {
		for _, e := range endpoints {
			front.Identities = append(front.Identities, e.Identity)
		}
	}
	if kind != NodePort && !slices.Contains(k.node.Addresses, addr) {
		front.Bind, front.Route = true, k.config.VIPs == ByRoute
	}
	return front
}

// identity returns the addresses that stand for the node where clients are distinguished.
func (n Node) identity() []netip.Addr {
	if len(n.Primary) > 0 {
		return n.Primary
	}
	return n.Addresses
}

// ServesNodePortsOn reports whether node ports are served on the address. Networks of one family only leave the other
// family without a limit, as kube-proxy has it.
func (c Config) ServesNodePortsOn(addr netip.Addr, node Node) bool {
	if c.NodePortsOnPrimary && slices.Contains(node.Primary, addr) {
		return true
	}
	limited := c.NodePortsOnPrimary
	for _, cidr := range c.NodePortAddresses {
		if cidr.Addr().Is4() != addr.Is4() {
			continue
		}
		if cidr.Contains(addr) {
			return true
		}
		limited = true
	}
	return !limited
}

func vipEntry(addr netip.Addr) SetEntry {
	return SetEntry{Set: SetName(SetVIP, cluster.FamilyOf(addr)), Type: ipset.HashIP, Entry: ipset.Entry{Addr: addr}}
}

func healthCheckEntry(port uint16, family cluster.Family) SetEntry {
	return SetEntry{Set: SetName(SetHealthChecks, family), Type: ipset.BitmapPort, Entry: ipset.Entry{Port: port}}
}

// mayBeHere reports whether the endpoint can be one of this node: it is said to be, or nobody says where it is and it
// has an address of the node, or one that can be a pod's. Where the networks of the pods are not known every address
// can.
func (c Config) mayBeHere(e cluster.Endpoint, node Node) bool {
	if e.Local || e.Remote {
		return e.Local
	}
	known := false
	for _, cidr := range c.Pods.CIDRs {
		if cidr.Contains(e.Addr) {
			return true
		}
		known = known || cidr.Addr().Is4() == e.Addr.Is4()
	}
	return !known || slices.Contains(node.Addresses, e.Addr)
}

// hairpinEntry matches the packets of an endpoint that reached itself by way of a Service. Every endpoint that may be
// on this node has one, ready or not: it may get connections again before the set is changed.
func hairpinEntry(e cluster.Endpoint, protocol cluster.Protocol) SetEntry {
	return SetEntry{
		Set:   SetName(SetHairpin, cluster.FamilyOf(e.Addr)),
		Type:  ipset.HashIPPortIP,
		Entry: ipset.Entry{Addr: e.Addr, Protocol: protocol, Port: e.Port, Peer: e.Addr},
	}
}
