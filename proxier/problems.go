package proxier

import (
	"fmt"
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// checkFrontEnds takes front ends out of the Fragment that cannot be had on this node, and notes what an operator should know
// about the others.
func (e *engine) checkFrontEnds(s *cluster.Service, f *dataplane.Fragment) {
	problem := func(reason cluster.Reason, front dataplane.FrontEnd, format string, args ...any) {
		s.Problems = append(s.Problems, cluster.Problem{Reason: reason, Field: front.Kind.String() + " " + front.ID.String(), Message: fmt.Sprintf(format, args...)})
	}
	keptOff := e.keptOff()
	f.FrontEnds = slices.DeleteFunc(f.FrontEnds, func(front dataplane.FrontEnd) bool {
		if _, others := keptOff[front.ID]; others {
			problem(cluster.ForeignVirtualServer, front, "somebody else has a virtual server there, and the address is in --ipvs-exclude-cidrs; this service is not served there")
			return true
		}
		if other := e.lister.NodeAt(front.ID.Addr); other != "" && other != e.node.Name && front.Kind != dataplane.NodePort {
			problem(cluster.AddressInUse, front, "this is the address of node %s, which this node could not reach any more; the service is not served there", other)
			return true
		}
		if (front.Kind == dataplane.ExternalIP || front.Kind == dataplane.LoadBalancer) && e.isAPIServer(front.ID.Addr) {
			problem(cluster.AddressInUse, front, "this is the address of an API server, which this node could not reach any more; the service is not served there")
			return true
		}
		if front.Kind != dataplane.NodePort && slices.Contains(e.node.Primary, front.ID.Addr) {
			problem(cluster.AddressInUse, front, "this is the node's own address: of its ports only this one goes to the service")
		}
		if !front.Bind && slices.ContainsFunc(e.listeners, func(l dataplane.Listener) bool { return l.Hears(front.ID) }) {
			problem(cluster.PortInUse, front, "a program of this node listens there, and gets no connections while the service has this address and port")
		}
		return false
	})
	for _, port := range s.Ports {
		if port.NodePort != 0 && e.settings.Dataplane.NodePortsOnPrimary && len(e.node.Primary) == 0 {
			s.Problems = append(s.Problems, cluster.Problem{
				Reason: cluster.NodeUnknown, Field: "spec.ports[" + port.Name + "].nodePort",
				Message: fmt.Sprintf("--nodeport-addresses limits node ports to the primary addresses of Node %s, which are not known: there is no such Node, or it has none", e.node.Name),
			})
		}
		if ports := e.settings.Dataplane.MasqueradePorts; port.NodePort != 0 && ports[0] <= port.NodePort && port.NodePort <= ports[1] {
			s.Problems = append(s.Problems, cluster.Problem{
				Reason: cluster.PortInUse, Field: "spec.ports[" + port.Name + "].nodePort",
				Message: fmt.Sprintf("%d is one of the ports %d to %d that masquerading takes: connections that are masqueraded with it fail; let --masquerade-ports hold no node ports", port.NodePort, ports[0], ports[1]),
			})
		}
	}
	s.Problems = cluster.SortProblems(s.Problems)
}

// isAPIServer tells whether an API server has the address: the endpoints of the Service default/kubernetes are where they are.
func (e *engine) isAPIServer(addr netip.Addr) bool {
	for _, slice := range e.lister.Slices(cluster.Name{Namespace: v1.NamespaceDefault, Name: "kubernetes"}) {
		for _, endpoint := range slice.Endpoints {
			if slices.Contains(endpoint.Addresses, addr.String()) {
				return true
			}
		}
	}
	return false
}
