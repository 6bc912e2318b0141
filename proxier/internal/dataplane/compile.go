package dataplane

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Fragment is what one Service wants of this node's kernel.
type Fragment struct {
	Owner cluster.Name
	// Created settles conflicts between Services, see merge.go.
	Created time.Time
	// FrontEnds are in the order of the Service: by port, then ClusterIPs before node ports.
	FrontEnds []FrontEnd
	// Entries are set entries that belong to no single front end. Several Services may want the same one.
	Entries []SetEntry
}

// FrontEnd is one virtual server with what belongs to it. It is won or lost as a whole when two Services want it.
type FrontEnd struct {
	ID            VirtualServerID
	VirtualServer VirtualServer
	Kind          FrontEndKind
	// Port is the index of the Service port.
	Port int
	// Bind tells that the address belongs on our link.
	Bind bool
	// Entries are the set entries that decide how its packets are treated.
	Entries []SetEntry
}

// FrontEndKind tells which field of the Service asks for the front end.
type FrontEndKind uint8

// The kinds of front ends.
const (
	ClusterIP FrontEndKind = iota + 1
	NodePort
)

// String returns ClusterIP or NodePort.
func (k FrontEndKind) String() string {
	if k == NodePort {
		return "NodePort"
	}
	return "ClusterIP"
}

// Node is what the dataplane needs to know of the node itself.
type Node struct {
	Name string
	// Addresses are those of the node's links, on which node ports are served.
	Addresses []netip.Addr
}

// Compile returns what the Service wants on this node. It looks at nothing but its arguments.
func Compile(s cluster.Service, node Node, c Config) Fragment {
	f := Fragment{Owner: s.Name, Created: s.Created}
	hairpins := map[SetEntry]struct{}{}
	for i, port := range s.Ports {
		for _, clusterIP := range s.ClusterIPs {
			family := cluster.FamilyOf(clusterIP)
			if !c.Serves(family) {
				continue
			}
			server := virtualServer(s, port, family)
			fronts := append([]FrontEnd{clusterIPFrontEnd(clusterIP, port)}, nodePortFrontEnds(family, port, node, c)...)
			for _, front := range fronts {
				front.Port, front.VirtualServer = i, server
				f.FrontEnds = append(f.FrontEnds, front)
			}
			for _, e := range port.Endpoints {
				if !e.Remote && cluster.FamilyOf(e.Addr) == family {
					hairpins[hairpinEntry(e, port.Protocol)] = struct{}{}
				}
			}
		}
	}
	for e := range hairpins {
		f.Entries = append(f.Entries, e)
	}
	slices.SortFunc(f.Entries, SetEntry.compare)
	return f
}

func virtualServer(s cluster.Service, port cluster.ServicePort, family cluster.Family) VirtualServer {
	chosen, known := scheduler.Lookup(port.Choice.Scheduler)
	if !known {
		chosen, _ = scheduler.Lookup(scheduler.Default)
	}
	v := VirtualServer{Scheduler: chosen.Kernel, Flags: chosen.Default, Timeout: uint32(s.Affinity / time.Second)}
	for _, e := range usable(port.Endpoints, family) {
		v.RealServers = append(v.RealServers, RealServer{Addr: e.Addr, Port: e.Port, Weight: 1})
	}
	return v
}

func clusterIPFrontEnd(addr netip.Addr, port cluster.ServicePort) FrontEnd {
	id := VirtualServerID{Addr: addr, Port: port.Port, Protocol: port.Protocol}
	return FrontEnd{ID: id, Kind: ClusterIP, Bind: true, Entries: []SetEntry{frontEndEntry(SetClusterIP, id), vipEntry(addr)}}
}

func nodePortFrontEnds(family cluster.Family, port cluster.ServicePort, node Node, c Config) []FrontEnd {
	if port.NodePort == 0 {
		return nil
	}
	var fronts []FrontEnd
	for _, addr := range node.Addresses {
		if cluster.FamilyOf(addr) == family && c.servesNodePortsOn(addr) {
			id := VirtualServerID{Addr: addr, Port: port.NodePort, Protocol: port.Protocol}
			fronts = append(fronts, FrontEnd{ID: id, Kind: NodePort, Entries: []SetEntry{frontEndEntry(SetNodePort, id)}})
		}
	}
	return fronts
}

// servesNodePortsOn tells whether node ports are served on the address. Networks of one family only leave the other family
// without a limit, as kube-proxy has it.
func (c Config) servesNodePortsOn(addr netip.Addr) bool {
	limited := false
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

// hairpinEntry matches the packets of an endpoint that reached itself by way of a Service. Every endpoint that is not known
// to be on another node has one, ready or not: it may be asked again before the set is.
func hairpinEntry(e cluster.Endpoint, protocol cluster.Protocol) SetEntry {
	return SetEntry{
		Set:   SetName(SetHairpin, cluster.FamilyOf(e.Addr)),
		Type:  ipset.HashIPPortIP,
		Entry: ipset.Entry{Addr: e.Addr, Protocol: ipset.Protocol(protocol), Port: e.Port, Peer: e.Addr},
	}
}
