//go:build e2e

package e2e

import (
	"net/netip"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// TestLinkLocalLoadBalancer: an IPv4 link-local address of a load balancer is served, to pods and to the node, in both
// VIP modes.
func TestLinkLocalLoadBalancer(t *testing.T) {
	for _, mode := range []string{"address", "route"} {
		t.Run(mode, func(t *testing.T) {
			c := newCluster(t)
			client := c.pod(1, 50, "client")
			vip := netip.MustParseAddrPort("169.254.1.1:80")
			s := web(func(s *v1.Service) {
				s.Spec.Type = v1.ServiceTypeLoadBalancer
				s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: vip.Addr().String()}}
			})
			c.write("web.yaml", with(s, c.backend(1, 10, "one"), c.backend(2, 10, "two")))
			c.run("--vip-mode", mode)
			for range 2 { // both endpoints
				for _, network := range []string{"tcp", "udp"} {
					c.ask(client, network, vip)
					c.ask(c.Node1, network, vip)
				}
			}
		})
	}
}
