package dataplane

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Fragment is what one Service wants of this node's kernel.
type Fragment struct {
	Owner cluster.Name
	// Created settles conflicts between Services, see merge.go.
	Created time.Time
	// FrontEnds are in the order of the Service: by port and family, then by kind.
	FrontEnds []FrontEnd
	// LocalReady is what the health check node port tells.
	LocalReady LocalReady
	// Entries are set entries that belong to no single front end. Several Services may want the same one.
	Entries EntryList
}

// FrontEnd is one virtual server with what belongs to it. It is won or lost as a whole when two Services want it.
type FrontEnd struct {
	ID            VirtualServerID
	VirtualServer VirtualServer
	Kind          FrontEndKind
	// Port is the index of the Service port.
	Port int32
	// Bind tells that the address is made local to the node; Route that it is by a route, and not by an address on our link.
	Bind, Route bool
	// NoLocal tells that the traffic policy is Local, and that all endpoints there are are on other nodes.
	NoLocal bool
	// Entries are the set entries that decide how its packets are treated.
	Entries EntryList
	// DrainTimeout is how long connections of an endpoint that is gone may go on.
	DrainTimeout time.Duration
	// SlowStart is how long the weight of a new endpoint grows; with it, Identities tell of each real server whether it is new.
	SlowStart  time.Duration
	Identities []string
}

// FrontEndKind tells which field of the Service asks for the front end.
type FrontEndKind uint8

// The kinds of front ends.
const (
	ClusterIP FrontEndKind = iota + 1
	ExternalIP
	LoadBalancer
	NodePort
)

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

// Compile returns what the Service wants on this node. It looks at nothing but its arguments.
func Compile(s cluster.Service, node Node, c Config) Fragment {
	f := Fragment{Owner: s.Name, Created: s.Created}
	entries := map[SetEntry]struct{}{}
	for i, port := range s.Ports {
		for _, clusterIP := range s.ClusterIPs {
			family := cluster.FamilyOf(clusterIP)
			if !c.Serves(family) {
				continue
			}
			k := compiler{service: s, port: port, index: i, family: family, node: node, config: c, choice: choose(port.Endpoints, family)}
			f.FrontEnds = append(f.FrontEnds, k.frontEnds(clusterIP)...)
			for _, e := range port.Endpoints {
				if !e.Remote && cluster.FamilyOf(e.Addr) == family {
					entries[hairpinEntry(e, port.Protocol)] = struct{}{}
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
	service cluster.Service
	port    cluster.ServicePort
	index   int
	family  cluster.Family
	node    Node
	config  Config
	choice  choice
}

func (k compiler) frontEnds(clusterIP netip.Addr) []FrontEnd {
	var fronts []FrontEnd
	if !k.service.ClusterIPHidden {
		fronts = append(fronts, k.clusterIP(clusterIP))
	}
	for _, addr := range k.service.ExternalIPs {
		if cluster.FamilyOf(addr) == k.family {
			fronts = append(fronts, k.external(ExternalIP, addr, k.port.Port))
		}
	}
	for _, addr := range k.service.LoadBalancerIPs {
		if cluster.FamilyOf(addr) == k.family {
			fronts = append(fronts, k.external(LoadBalancer, addr, k.port.Port))
		}
	}
	if k.port.NodePort == 0 {
		return fronts
	}
	for _, addr := range k.node.Addresses {
		if cluster.FamilyOf(addr) == k.family && k.config.ServesNodePortsOn(addr, k.node) {
			fronts = append(fronts, k.external(NodePort, addr, k.port.NodePort))
		}
	}
	return fronts
}

// clusterIP is reached from inside of the cluster. With the policy Local and no endpoint on this node there is nobody to
// answer, whatever else the Service has: the client is refused at once, and no packet goes to another node (KEP-2086).
func (k compiler) clusterIP(addr netip.Addr) FrontEnd {
	endpoints, noLocal := k.choice.cluster, false
	if k.service.InternalLocal {
		noLocal = len(k.choice.local) == 0 && len(k.choice.cluster) > 0
		endpoints = k.choice.local
	}
	front := k.frontEnd(ClusterIP, addr, k.port.Port, endpoints, noLocal)
	front.Entries = EntriesOf(k.entries(front)...)
	return front
}

// external is reached from outside, too. With the policy Local clients keep their address and reach the endpoints of this node.
// When there are none, clients inside of the cluster reach the others, and those outside, whom an endpoint
// could not answer by way of this node, get no answer: SetNoLocal drops their packets (kubernetes#75262, #93456, #97081).
func (k compiler) external(kind FrontEndKind, addr netip.Addr, port uint16) FrontEnd {
	endpoints, noLocal := k.choice.cluster, false
	if k.service.ExternalLocal {
		noLocal = len(k.choice.local) == 0 && len(k.choice.cluster) > 0
		if !noLocal {
			endpoints = k.choice.local
		}
	}
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
	if kind == LoadBalancer && k.service.Restricted(k.family) {
		entries = append(entries, frontEndEntry(SetRestricted, front.ID))
		entries = append(entries, k.clients(front.ID)...)
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
func (k compiler) frontEnd(kind FrontEndKind, addr netip.Addr, port uint16, endpoints []cluster.Endpoint, noLocal bool) FrontEnd {
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

// clients returns who may reach a restricted front end. A client on the node itself may if the node's address may. Its source is that
// address when the front end has a route, else the front end's own. The latter is let in by both modes, so that connections live
// when the mode changes; nobody else can have it, because the kernel drops packets that come in with a local address.
func (k compiler) clients(id VirtualServerID) []SetEntry {
	var entries []SetEntry
	entry := func(network netip.Prefix) {
		for _, half := range splitZero(network) {
			e := frontEndEntry(SetClients, id)
			e.Type, e.Entry.Peer, e.Entry.Bits = ipset.HashIPPortNet, half.Masked().Addr(), uint8(half.Bits())
			if !slices.Contains(entries, e) {
				entries = append(entries, e)
			}
		}
	}
	nodeMay := false
	for _, network := range k.service.SourceRanges {
		if network.IsValid() && cluster.FamilyOf(network.Addr()) == k.family {
			entry(network)
			nodeMay = nodeMay || slices.ContainsFunc(k.node.identity(), network.Contains)
		}
	}
	if nodeMay {
		entry(netip.PrefixFrom(id.Addr, id.Addr.BitLen()))
		for _, addr := range k.kernelChoice() {
			entry(netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return entries
}

// kernelChoice returns the addresses among which the kernel chooses the source of the node's own clients: none where it is known.
func (k compiler) kernelChoice() (addrs []netip.Addr) {
	if k.config.VIPs != ByRoute || k.family != cluster.IPv6 || k.node.Sources().IPv6.IsValid() {
		return nil
	}
	for _, addr := range k.node.Addresses {
		if addr.Is6() {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// identity returns the addresses that stand for the node where clients are told apart.
func (n Node) identity() []netip.Addr {
	if len(n.Primary) > 0 {
		return n.Primary
	}
	return n.Addresses
}

// ServesNodePortsOn tells whether node ports are served on the address. Networks of one family only leave the other family
// without a limit, as kube-proxy has it.
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

// hairpinEntry matches the packets of an endpoint that reached itself by way of a Service. Every endpoint that is not known
// to be on another node has one, ready or not: it may be asked again before the set is.
func hairpinEntry(e cluster.Endpoint, protocol cluster.Protocol) SetEntry {
	return SetEntry{
		Set:   SetName(SetHairpin, cluster.FamilyOf(e.Addr)),
		Type:  ipset.HashIPPortIP,
		Entry: ipset.Entry{Addr: e.Addr, Protocol: ipset.Protocol(protocol), Port: e.Port, Peer: e.Addr},
	}
}
