package proxier

import (
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// checkFrontEnds takes front ends out of the Fragment that cannot be had on this node, and notes what an operator should know
// about the others.
func (e *engine) checkFrontEnds(s *cluster.Service, f *dataplane.Fragment) {
	problem := func(reason cluster.Reason, front dataplane.FrontEnd, format string, args ...any) {
		s.Problems.Addf(reason, front.Kind.String()+" "+front.ID.String(), format, args...)
	}
	keptOff, isAPIServer := e.keptOff(), sync.OnceValue(e.apiServers)
	f.FrontEnds = slices.DeleteFunc(f.FrontEnds, func(front dataplane.FrontEnd) bool {
		if _, others := keptOff[front.ID]; others {
			problem(cluster.ForeignVirtualServer, front, "somebody else has a virtual server there, and the address is in --ipvs-exclude-cidrs; this service is not served there")
			return true
		}
		if other := e.lister.NodeAt(front.ID.Addr); other != "" && other != e.node.Name && front.Kind != dataplane.NodePort {
			problem(cluster.AddressInUse, front, "this is the address of node %s, which this node could not reach any more; the service is not served there", other)
			return true
		}
		if (front.Kind == dataplane.ExternalIP || front.Kind == dataplane.LoadBalancer) && isAPIServer()[front.ID.Addr.String()] {
			problem(cluster.AddressInUse, front, "this is the address of an API server, which this node could not reach any more; the service is not served there")
			return true
		}
		if front.Kind != dataplane.NodePort && slices.Contains(e.node.Primary, front.ID.Addr) {
			problem(cluster.AddressInUse, front, "this is the node's own address: of its ports only this one goes to the service")
		}
		if !front.Bind && e.listeners.hear(front.ID) {
			problem(cluster.PortInUse, front, "a program of this node listens there, and gets no connections while the service has this address and port")
		}
		return false
	})
	for _, port := range s.Ports {
		if port.NodePort != 0 && e.settings.Dataplane.NodePortsOnPrimary && len(e.node.Primary) == 0 {
			s.Problems.Addf(cluster.NodeUnknown, "spec.ports["+port.Name+"].nodePort",
				"--nodeport-addresses limits node ports to the primary addresses of Node %s, which are not known: there is no such Node, or it has none", e.node.Name)
		}
		if ports := e.settings.Dataplane.MasqueradePorts; port.NodePort != 0 && ports[0] <= port.NodePort && port.NodePort <= ports[1] {
			s.Problems.Addf(cluster.PortInUse, "spec.ports["+port.Name+"].nodePort",
				"%d is one of the ports %d to %d that masquerading takes: connections that are masqueraded with it fail; let --masquerade-ports hold no node ports", port.NodePort, ports[0], ports[1])
		}
	}
}

// apiServers returns the addresses of API servers: the endpoints of the Service default/kubernetes are where they are.
func (e *engine) apiServers() map[string]bool {
	addresses := map[string]bool{}
	for _, slice := range e.lister.Slices(cluster.Name{Namespace: v1.NamespaceDefault, Name: "kubernetes"}) {
		for _, endpoint := range slice.Endpoints {
			for _, address := range endpoint.Addresses {
				addresses[address] = true
			}
		}
	}
	return addresses
}
