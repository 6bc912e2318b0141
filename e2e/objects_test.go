//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"strings"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// The cluster IPs of the Service that most tests use, and its node port.
var (
	web4 = netip.MustParseAddrPort("10.96.0.10:80")
	web6 = netip.MustParseAddrPort("[fd00:10:96::10]:80")
)

const webNodePort = 30080

// service returns a Service with TCP and UDP port 80 to port 8080; ips are its cluster IPs, of either family.
func service(name string, ips []string, change ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Annotations: map[string]string{}},
		Spec: v1.ServiceSpec{
			Type: v1.ServiceTypeClusterIP, ClusterIP: ips[0], ClusterIPs: ips,
			Ports: []v1.ServicePort{
				{Name: "tcp", Protocol: v1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(8080)},
				{Name: "udp", Protocol: v1.ProtocolUDP, Port: 80, TargetPort: intstr.FromInt32(8080)},
			},
		},
	}
	for _, ip := range ips {
		s.Spec.IPFamilies = append(s.Spec.IPFamilies, familyOf(ip))
	}
	for _, f := range change {
		f(s)
	}
	return s
}

// web is the Service default/web.
func web(change ...func(*v1.Service)) *v1.Service {
	return service("web", []string{web4.Addr().String(), web6.Addr().String()}, change...)
}

func nodePort(s *v1.Service) {
	s.Spec.Type = v1.ServiceTypeNodePort
	for i := range s.Spec.Ports {
		s.Spec.Ports[i].NodePort = webNodePort
	}
}

func annotated(key, value string) func(*v1.Service) {
	return func(s *v1.Service) { s.Annotations[key] = value }
}

func scheduled(value string) func(*v1.Service) {
	return annotated("ipvs-proxier.io/scheduler", value)
}

func affinity(seconds int32) func(*v1.Service) {
	return func(s *v1.Service) {
		s.Spec.SessionAffinity = v1.ServiceAffinityClientIP
		s.Spec.SessionAffinityConfig = &v1.SessionAffinityConfig{ClientIP: &v1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
}

// endpointSlices returns one slice for each family that the Service has, with a ready endpoint for each pod.
func endpointSlices(s *v1.Service, pods ...*topology.Host) []*discovery.EndpointSlice {
	var slices []*discovery.EndpointSlice
	for _, f := range s.Spec.IPFamilies {
		slice := &discovery.EndpointSlice{
			TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
			ObjectMeta: metav1.ObjectMeta{
				Namespace: s.Namespace, Name: s.Name + "-" + strings.ToLower(string(f)),
				Labels: map[string]string{discovery.LabelServiceName: s.Name},
			},
			AddressType: discovery.AddressType(f),
		}
		for _, p := range s.Spec.Ports {
			port := p.TargetPort.IntVal
			slice.Ports = append(slice.Ports, discovery.EndpointPort{Name: new(p.Name), Protocol: new(p.Protocol), Port: &port})
		}
		for _, pod := range pods {
			addr := pod.IPv4
			if f == v1.IPv6Protocol {
				addr = pod.IPv6
			}
			slice.Endpoints = append(slice.Endpoints, discovery.Endpoint{
				Addresses:  []string{addr.String()},
				NodeName:   &pod.Node,
				Conditions: discovery.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
			})
		}
		slices = append(slices, slice)
	}
	return slices
}

// with returns the manifests of the Service and its slices.
func with(s *v1.Service, pods ...*topology.Host) string {
	text := manifest(s)
	for _, slice := range endpointSlices(s, pods...) {
		text += "---\n" + manifest(slice)
	}
	return text
}

func manifest(object any) string {
	text, err := yaml.Marshal(object)
	if err != nil {
		panic(fmt.Sprint("BUG: ", err))
	}
	return string(text)
}

func familyOf(ip string) v1.IPFamily {
	if netip.MustParseAddr(ip).Is4() {
		return v1.IPv4Protocol
	}
	return v1.IPv6Protocol
}
