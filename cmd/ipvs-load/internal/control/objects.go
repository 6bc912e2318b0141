package control

import (
	"fmt"
	"net/netip"
	"strings"
)

// Cluster is the Services that a proxy is given. Everything in it follows from its numbers.
type Cluster struct {
	Services  int
	Endpoints int // of each Service
	IPv6      bool
}

// Limits of a Cluster: its addresses come from 10.96.0.0/12 and 10.244.0.0/16, or from as large a part of
// fd00:10:96::/112 and fd00:10:244::/64.
const (
	MaxServices  = 65_000
	MaxEndpoints = 1000
)

const (
	servicePort  = 80
	endpointPort = 8080
)

// Validate says in one sentence what makes the cluster impossible, or returns nil.
func (c *Cluster) Validate() error {
	if c.Services < 1 || c.Services > MaxServices {
		return fmt.Errorf("services %d are out of range; allowed is 1 to %d", c.Services, MaxServices)
	}
	if c.Endpoints < 1 || c.Endpoints > MaxEndpoints {
		return fmt.Errorf("endpoints %d are out of range; allowed is 1 to %d", c.Endpoints, MaxEndpoints)
	}
	return nil
}

// clusterIP of a Service; the first 256 addresses are left to others.
func (c *Cluster) clusterIP(service int) netip.Addr {
	n := service + 256
	if c.IPv6 {
		a := netip.MustParseAddr("fd00:10:96::").As16()
		a[13], a[14], a[15] = byte(n>>16), byte(n>>8), byte(n)
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte{10, 96 + byte(n>>16), byte(n >> 8), byte(n)})
}

// endpoint of a Service in a generation: a change exchanges the first endpoint for that of the next generation.
// Endpoints are shared by Services, as there are not addresses enough for all.
func (c *Cluster) endpoint(service, number, generation int) netip.Addr {
	n := (service*c.Endpoints + number) % 60_000
	if number == 0 && generation%2 == 1 {
		n = 60_000 + service%5000
	}
	n += 16
	if c.IPv6 {
		a := netip.MustParseAddr("fd00:10:244::").As16()
		a[13], a[14], a[15] = byte(n>>16), byte(n>>8), byte(n)
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte{10, 244, byte(n >> 8), byte(n)})
}

// virtualServer is what the kernel shall have of a Service.
func (c *Cluster) virtualServer(service, generation int) virtualServer {
	v := virtualServer{at: netip.AddrPortFrom(c.clusterIP(service), servicePort)}
	for i := range c.Endpoints {
		v.real = append(v.real, netip.AddrPortFrom(c.endpoint(service, i, generation), endpointPort))
	}
	return v
}

// manifest is a Service and its EndpointSlice as YAML, as kubectl would apply them. Endpoints are pods of other nodes,
// with all the fields that the EndpointSlice controller sets.
func (c *Cluster) manifest(service, generation int) string {
	family := "IPv4"
	if c.IPv6 {
		family = "IPv6"
	}
	var b strings.Builder
	ip := c.clusterIP(service)
	fmt.Fprintf(&b, `apiVersion: v1
kind: Service
metadata: {name: load-%[1]d, namespace: default, uid: "00000000-0000-0000-0000-%012[1]d"}
spec:
  type: ClusterIP
  clusterIP: "%[2]s"
  clusterIPs: ["%[2]s"]
  ipFamilies: [%[3]s]
  ipFamilyPolicy: SingleStack
  ports: [{name: a, protocol: TCP, port: %[4]d, targetPort: %[5]d}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: load-%[1]d-a, namespace: default, labels: {kubernetes.io/service-name: load-%[1]d}}
addressType: %[3]s
ports: [{name: a, protocol: TCP, port: %[5]d}]
endpoints:
`, service, ip, family, servicePort, endpointPort)
	for i := range c.Endpoints {
		addr := c.endpoint(service, i, generation)
		pod := addr.As16()
		fmt.Fprintf(&b, `- {addresses: ["%s"], conditions: {ready: true, serving: true, terminating: false}, nodeName: node-%d, zone: zone-%d,`+
			` targetRef: {kind: Pod, namespace: default, name: load-%d-%x, uid: "00000000-0000-0000-0001-%x"}}`+"\n",
			addr, int(pod[15])%100, int(pod[15])%3, service, pod[13:], pod[10:])
	}
	return b.String()
}
