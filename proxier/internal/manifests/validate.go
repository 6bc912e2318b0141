package manifests

import (
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// complete fills in what the API server would have, and returns the object's name.
func complete(kind string, object Value) cluster.Name {
	if object.GetNamespace() == "" && kind != "Node" {
		object.SetNamespace(metav1.NamespaceDefault)
	}
	key := objectKey{kind, cluster.Name{Namespace: object.GetNamespace(), Name: object.GetName()}}
	if object.GetUID() == "" {
		hash := fnv.New128a()
		io.WriteString(hash, key.String())
		object.SetUID(types.UID(fmt.Sprintf("%x", hash.Sum(nil))))
	}
	if s, is := object.(*v1.Service); is {
		if s.Spec.ClusterIP == "" && len(s.Spec.ClusterIPs) > 0 {
			s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
		}
		if s.Spec.ClusterIP != "" && len(s.Spec.ClusterIPs) == 0 {
			s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
		}
	}
	return key.name
}

// wrongFunc takes what is wrong with a field.
type wrongFunc func(field, format string, args ...any)

// check looks for what the API server would have refused, as far as this program relies on it.
func check(object Value, wrong wrongFunc) {
	if object.GetName() == "" {
		wrong("metadata.name", "this is missing")
	}
	switch value := object.(type) {
	case *v1.Service:
		checkService(value, wrong)
	case *discovery.EndpointSlice:
		checkSlice(value, wrong)
	}
}

func checkService(s *v1.Service, wrong wrongFunc) {
	for i, ip := range s.Spec.ClusterIPs {
		if _, err := netip.ParseAddr(ip); err != nil && ip != v1.ClusterIPNone {
			wrong(fmt.Sprintf("spec.clusterIPs[%d]", i), "%s is not an IP address or None", budget.Quote(ip))
		}
	}
	if len(s.Spec.Ports) == 0 && s.Spec.ClusterIP != v1.ClusterIPNone && s.Spec.Type != v1.ServiceTypeExternalName {
		wrong("spec.ports", "there must be at least one")
	}
	for i, port := range s.Spec.Ports {
		if !inRange(port.Port, 1) {
			wrong(fmt.Sprintf("spec.ports[%d].port", i), "%d is not between 1 and 65535", port.Port)
		}
		if !inRange(port.NodePort, 0) {
			wrong(fmt.Sprintf("spec.ports[%d].nodePort", i), "%d is not between 0 and 65535", port.NodePort)
		}
		if port.Protocol != "" && !known(port.Protocol) {
			wrong(fmt.Sprintf("spec.ports[%d].protocol", i), notProtocol, budget.Quote(string(port.Protocol)))
		}
	}
}

func inRange(port, least int32) bool { return port >= least && port <= 65535 }

func known(p v1.Protocol) bool {
	return p == v1.ProtocolTCP || p == v1.ProtocolUDP || p == v1.ProtocolSCTP
}

const notProtocol = "%s is not TCP, UDP or SCTP"

func checkSlice(s *discovery.EndpointSlice, wrong wrongFunc) {
	for i, port := range s.Ports {
		if port.Port != nil && !inRange(*port.Port, 1) {
			wrong(fmt.Sprintf("ports[%d].port", i), "%d is not between 1 and 65535", *port.Port)
		}
		if port.Protocol != nil && *port.Protocol != "" && !known(*port.Protocol) {
			wrong(fmt.Sprintf("ports[%d].protocol", i), notProtocol, budget.Quote(string(*port.Protocol)))
		}
	}
	switch s.AddressType {
	case discovery.AddressTypeIPv4, discovery.AddressTypeIPv6:
	case discovery.AddressTypeFQDN:
		return
	default:
		wrong("addressType", "%s is not IPv4, IPv6 or FQDN", budget.Quote(string(s.AddressType)))
		return
	}
	for i, e := range s.Endpoints {
		for j, text := range e.Addresses {
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Is4() != (s.AddressType == discovery.AddressTypeIPv4) {
				wrong(fmt.Sprintf("endpoints[%d].addresses[%d]", i, j), "%s is not an %s address",
					budget.Quote(text), s.AddressType)
			}
		}
	}
}
