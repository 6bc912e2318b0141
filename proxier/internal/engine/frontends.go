package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// The reasons that are found here.
var (
	// addressInUse: an address that another machine, or the node, has.
	addressInUse = cluster.Reason{Name: "AddressInUse", OfNode: true}
	// portInUse: a node port on which a program of the node listens.
	portInUse = cluster.Reason{Name: "PortInUse", OfNode: true}
	// nodeUnknown: what depends on this Node, of which too little is known.
	nodeUnknown = cluster.Reason{Name: "NodeUnknown", OfNode: true}
	// foreignVirtualServer: somebody else's virtual server in an excluded network.
	foreignVirtualServer = cluster.Reason{Name: "ForeignVirtualServer", OfNode: true}
	// foreignRule: somebody's rule takes packets before IPVS sees them.
	foreignRule = cluster.Reason{Name: "ForeignRule", OfNode: true}
)

// checkFrontEnds takes front ends out of the Fragment that this node cannot have, and notes what an operator should
// know about the others.
func (e *Engine) checkFrontEnds(s *cluster.Service, f *dataplane.Fragment) {
	problem := func(reason cluster.Reason, front dataplane.FrontEnd, format string, args ...any) {
		s.Problems.Addf(reason, front.Kind.String()+" "+front.ID.String(), format, args...)
	}
	keptOff, byNodes := e.excludedServers(), e.balancedByNodes(s)
	var claim nodeClaim
	f.FrontEnds = slices.DeleteFunc(f.FrontEnds, func(front dataplane.FrontEnd) bool {
		if _, others := keptOff[front.ID]; others {
			problem(foreignVirtualServer, front,
				"somebody else has a virtual server there, and the address is in --ipvs-exclude-cidrs; this service is not served there")
			return true
		}
		usual := byNodes && front.Kind == dataplane.LoadBalancer
		if !front.Kind.Allocated() {
			if other := e.otherNode(front.ID.Addr); other != "" {
				if !usual {
					claim = claim.first(nodeClaim{other, front.ID.Addr})
					problem(addressInUse, front,
						"this is the address of node %s, which this node could not reach any more; the service is not served there", other)
				}
				return true
			}
			if not := e.forbidden(front.ID); not != "" {
				problem(addressInUse, front, "%s; the service is not served there", not)
				return true
			}
		}
		if front.Kind != dataplane.NodePort && !usual && slices.Contains(e.node.Primary, front.ID.Addr) {
			problem(addressInUse, front, "this is the node's own address: of its ports only this one goes to the service")
		}
		if by := capturedBy(e.captures.Of(front.ID)); by != "" {
			problem(foreignRule, front, "somebody else's rule takes packets away before they come to this service: %s",
				by)
		}
		if !front.Bind && e.listeners.hear(front.ID) {
			problem(portInUse, front, "a program of this node listens there, and gets no connections while the service has this address and port")
		}
		return false
	})
	e.claims.noteOutside(s.Name, claim)
	for _, port := range s.Ports {
		if port.NodePort != 0 && e.settings.Dataplane.NodePortsOnPrimary && len(e.node.Primary) == 0 {
			s.Problems.Addf(nodeUnknown, "spec.ports["+port.Name+"].nodePort",
				"--nodeport-addresses limits node ports to the primary addresses of Node %s. They are not known: there is no such Node, or it has none", e.node.Name)
		}
		if ports := e.settings.Dataplane.MasqueradePorts; port.NodePort != 0 && ports[0] <= port.NodePort &&
			port.NodePort <= ports[1] {
			s.Problems.Addf(portInUse, "spec.ports["+port.Name+"].nodePort",
				"%d is one of the ports %d to %d that masquerading takes: connections that are masqueraded with it fail; let --masquerade-ports hold no node ports", port.NodePort, ports[0], ports[1])
		}
	}
}

// balancedByNodes reports whether all addresses of the Service's load balancer are Nodes' addresses. So they are where
// the nodes themselves are the load balancer, as with k3s' ServiceLB, and each node serves its own address and no other
// one. Where this node has none of them that is reported once: the Node that lists them need not have them.
func (e *Engine) balancedByNodes(s *cluster.Service) bool {
	var others []string
	for _, addr := range s.LoadBalancerIPs {
		if e.ownAddress(addr) || e.listed(addr) {
			continue
		}
		other := e.lister.NodeAt(addr)
		if other == "" {
			return false
		}
		others = append(others, fmt.Sprintf("%s (%s)", addr, other))
	}
	if len(others) > 0 && len(others) == len(s.LoadBalancerIPs) {
		s.Problems.Addf(addressInUse, "status.loadBalancer.ingress",
			"all addresses are of other nodes, which serve them, and this node does not: %s", budget.List(others))
	}
	return len(s.LoadBalancerIPs) > 0
}

// listed reports whether this Node lists the address, which may be one that a cloud translates and no link has.
func (e *Engine) listed(addr netip.Addr) bool {
	node := e.lister.Node()
	return node != nil && slices.ContainsFunc(node.Status.Addresses, func(a v1.NodeAddress) bool {
		at, is := addressOf(a)
		return is && at == addr
	})
}

// forbidden says why no external front end may be there, "" where it may. The address may be a broadcast address, which
// nobody connects to and which other programs need, or one of an API server. Or the port is one by which this node is
// managed or talks to others. Of the node's own addresses only the ports are taken, which is why an API server on this
// node keeps its port alone.
func (e *Engine) forbidden(id dataplane.VirtualServerID) string {
	if among(e.broadcasts, id.Addr) {
		return "this is a broadcast address of a network that the node is in"
	}
	own := e.ownAddress(id.Addr)
	ports, isServer := e.servers[id.Addr]
	switch {
	case isServer && !own:
		return "this is the address of an API server, which this node could not reach any more"
	case !own:
		return ""
	case id.Protocol == cluster.TCP && slices.Contains(ports, id.Port):
		return "this is the port of the API server on this node"
	case e.settings.Protected != nil && e.settings.Protected(id.Protocol, id.Port):
		return "this is the node's own address, and its port is one of --protected-ports"
	}
	return ""
}

// apiServers are the addresses of API servers with their ports.
type apiServers map[netip.Addr][]uint16

// serviceOfServers is the Service whose endpoints are the API servers.
var serviceOfServers = cluster.Name{Namespace: v1.NamespaceDefault, Name: "kubernetes"}

// readServers looks where API servers are, if one of the Services that have changed says so, and returns those that
// might have the address of one.
func (e *Engine) readServers(changed ...[]cluster.Name) (others []cluster.Name) {
	var reached []netip.AddrPort
	if e.settings.APIServers != nil {
		reached = e.settings.APIServers()
	}
	if e.servers != nil && len(reached) == e.reached &&
		!slices.ContainsFunc(changed, func(names []cluster.Name) bool { return slices.Contains(names, serviceOfServers) }) {
		return nil
	}
	before := e.servers
	e.servers, e.reached = e.apiServers(reached), len(reached)
	if maps.EqualFunc(before, e.servers, slices.Equal[[]uint16]) {
		return nil
	}
	for name, s := range e.services {
		if len(s.outside) > 0 {
			others = append(others, name)
		}
	}
	return others
}

// apiServers returns where API servers are: at the endpoints of the Service default/kubernetes, and where they were
// named or reached.
func (e *Engine) apiServers(reached []netip.AddrPort) apiServers {
	servers := apiServers{} // an address without a port counts, too
	add := func(addr netip.Addr, port uint16) {
		if at, known := slices.BinarySearch(servers[addr], port); !known {
			servers[addr] = slices.Insert(servers[addr], at, port)
		}
	}
	for _, slice := range e.lister.Slices(serviceOfServers) {
		for _, endpoint := range slice.Endpoints {
			for _, address := range endpoint.Addresses {
				addr, err := netip.ParseAddr(address)
				if err != nil {
					continue
				}
				addr = addr.Unmap()
				if _, known := servers[addr]; !known {
					servers[addr] = nil
				}
				for _, port := range slice.Ports {
					if port.Port != nil {
						add(addr, uint16(*port.Port))
					}
				}
			}
		}
	}
	for _, at := range reached {
		add(at.Addr(), at.Port())
	}
	return servers
}
