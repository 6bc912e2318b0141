//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// external4 and external6 are the addresses of [topology.ExternalCIDRs] that end in n.
func external4(n int) string { return fmt.Sprintf("203.0.113.%d", n) }
func external6(n int) string { return fmt.Sprintf("fd00:203::%x", n) }

func loadBalancer(n int, nodePort int32) func(*v1.Service) {
	return func(s *v1.Service) {
		s.Spec.Type = v1.ServiceTypeLoadBalancer
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = nodePort
		}
		s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: external4(n)}, {IP: external6(n)}}
	}
}

func externalLocal(s *v1.Service) {
	s.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal
}

func internalLocal(s *v1.Service) {
	local := v1.ServiceInternalTrafficPolicyLocal
	s.Spec.InternalTrafficPolicy = &local
}

func sourceRanges(hosts ...*topology.Host) func(*v1.Service) {
	return func(s *v1.Service) {
		for _, h := range hosts {
			s.Spec.LoadBalancerSourceRanges = append(s.Spec.LoadBalancerSourceRanges, h.IPv4.String()+"/32", h.IPv6.String()+"/128")
		}
	}
}

// cell is what one client gets at one target: "refused", "timeout", or all the answers that it gets in turns, such as "p1 own, r node".
// The words behind the endpoint say which address it saw: the client's own, node1's on the pod network (gw), or node1's (node).
type cell struct {
	from   *topology.Host
	target string // "vip", "np" or "cip"
	want   string
}

// matrix asks for every cell, by TCP and UDP, in both families.
func (c *cluster) matrix(row string, s *v1.Service, cells ...cell) {
	c.t.Helper()
	var wait sync.WaitGroup
	running := make(chan struct{}, 8)
	for _, cell := range cells {
		for _, network := range []string{"tcp", "udp"} {
			for _, ip := range s.Spec.ClusterIPs {
				to := c.target(s, cell.target, netip.MustParseAddr(ip))
				wait.Go(func() {
					running <- struct{}{}
					defer func() { <-running }()
					if got := c.outcome(cell.from, network, to, len(strings.Split(cell.want, ", "))); got != cell.want {
						c.t.Errorf("row %s: %s asks %s %s (%s of %s): %s; want %s", row, cell.from.Name, network, to, cell.target, s.Name, got, cell.want)
					}
				})
			}
		}
	}
	wait.Wait()
}

func (c *cluster) target(s *v1.Service, target string, clusterIP netip.Addr) netip.AddrPort {
	switch target {
	case "cip":
		return at(clusterIP, 80)
	case "np":
		return at(hostAddr(c.Node1, clusterIP), uint16(s.Spec.Ports[0].NodePort))
	}
	addrs := s.Spec.ExternalIPs
	for _, ingress := range s.Status.LoadBalancer.Ingress {
		addrs = append(addrs, ingress.IP)
	}
	for _, text := range addrs {
		if addr := netip.MustParseAddr(text); addr.Is4() == clusterIP.Is4() {
			return at(addr, 80)
		}
	}
	panic("the Service has no address from outside")
}

// outcome asks until n different answers have come, and a few times more. Others ask at the same time, so that turns are not one's own.
func (c *cluster) outcome(from *topology.Host, network string, to netip.AddrPort, n int) string {
	var answers []string
	for i := 0; i < 4*n || len(answers) < n && i < 60; i++ {
		answer, err := harness.Ask(from, network, to)
		var slow net.Error
		switch {
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EPERM):
			return "refused"
		case errors.As(err, &slow) && slow.Timeout():
			return "timeout"
		case err != nil:
			return err.Error()
		}
		as := answer.Client.String()
		switch answer.Client {
		case gateway(to.Addr()):
			as = "gw"
		case hostAddr(c.Node1, to.Addr()):
			as = "node"
		case hostAddr(from, to.Addr()):
			as = "own"
		}
		if text := answer.ID + " " + as; !slices.Contains(answers, text) {
			answers = append(answers, text)
		}
	}
	slices.Sort(answers)
	return strings.Join(answers, ", ")
}

// TestExternalTraffic sends packets from inside and outside to every kind of address from outside; rows are those of the behaviour
// that users of kube-proxy know, see docs/differences.md.
func TestExternalTraffic(t *testing.T) {
	c := newCluster(t)
	p1, p2, r := c.backend(1, 10, "p1"), c.pod(1, 11, "p2"), c.backend(2, 10, "r")
	n, n2, x, d := c.Node1, c.Node2, c.Outside, c.Denied
	ips := func(n int) []string {
		return []string{fmt.Sprintf("10.96.1.%d", n), fmt.Sprintf("fd00:10:96::1%02x", n)}
	}

	lb := service("lb", ips(1), loadBalancer(1, 30081))
	local := service("local", ips(2), loadBalancer(2, 30082), externalLocal)
	remote := service("remote", ips(3), loadBalancer(3, 30083), externalLocal)
	nobody := service("nobody", ips(4), loadBalancer(4, 30084), externalLocal)
	inside := service("inside", ips(5), loadBalancer(5, 30085), internalLocal)
	ranges := service("ranges", ips(6), loadBalancer(6, 30086), sourceRanges(x))
	pods := service("ranges-pod", ips(7), loadBalancer(7, 30087), sourceRanges(p2))
	nodes := service("ranges-node", ips(8), loadBalancer(8, 30088), sourceRanges(n))
	both := service("ranges-local", ips(9), loadBalancer(9, 30089), sourceRanges(x), externalLocal)
	external := service("external", ips(10), func(s *v1.Service) { s.Spec.ExternalIPs = []string{external4(10), external6(10)} })
	externalL := service("external-local", ips(11), externalLocal, func(s *v1.Service) { s.Spec.ExternalIPs = []string{external4(11), external6(11)} })
	proxied := service("proxied", ips(12), loadBalancer(12, 30092), func(s *v1.Service) {
		mode := v1.LoadBalancerIPModeProxy
		for i := range s.Status.LoadBalancer.Ingress {
			s.Status.LoadBalancer.Ingress[i].IPMode = &mode
		}
	})
	c.write("services.yaml", with(lb, p1, r), with(local, p1, r), with(remote, r), with(nobody), with(inside, r), with(ranges, p1, r), with(pods, p1, r),
		with(nodes, p1, r), with(both, p1, r), with(external, p1, r), with(externalL, p1, r), with(proxied, p1, r))
	c.run("--external-ip-cidrs", topology.ExternalCIDRs)

	const all, own, masqueraded = "p1 own, r own", "p1 own", "p1 gw, r node"
	c.matrix("71", lb, cell{n, "vip", masqueraded}, cell{p2, "vip", masqueraded}, cell{x, "vip", masqueraded}, cell{n2, "vip", masqueraded})
	c.matrix("48, 40", local, cell{x, "vip", own}, cell{x, "np", own}, cell{n2, "np", own}, cell{d, "vip", own})
	c.matrix("41, 42", local, cell{n, "vip", "p1 gw"}, cell{n, "np", "p1 gw"}, cell{p2, "vip", own}, cell{p2, "np", own}, cell{p1, "vip", "p1 gw"})
	c.matrix("43", local, cell{p2, "cip", all}, cell{n, "cip", masqueraded}, cell{x, "cip", masqueraded})
	c.matrix("44", remote, cell{x, "vip", "timeout"}, cell{x, "np", "timeout"}, cell{n2, "vip", "timeout"}, cell{n2, "np", "timeout"}, cell{d, "np", "timeout"})
	c.matrix("46", remote, cell{n, "vip", "r node"}, cell{n, "np", "r node"}, cell{p2, "vip", "r own"}, cell{p2, "np", "r own"})
	c.matrix("47", nobody, cell{x, "vip", "refused"}, cell{x, "np", "refused"}, cell{n, "vip", "refused"}, cell{p2, "np", "refused"})
	c.matrix("54, 55", inside, cell{n, "cip", "refused"}, cell{p2, "cip", "refused"}, cell{x, "cip", "refused"}, cell{x, "vip", "r node"})
	c.matrix("78", ranges, cell{x, "vip", masqueraded})
	c.matrix("79", ranges, cell{d, "vip", "timeout"}, cell{n2, "vip", "timeout"}, cell{p2, "vip", "timeout"})
	c.matrix("80", ranges, cell{d, "np", masqueraded}, cell{p2, "cip", all})
	c.matrix("81", pods, cell{p2, "vip", masqueraded}, cell{p1, "vip", "timeout"}, cell{x, "vip", "timeout"})
	c.matrix("B35", nodes, cell{n, "vip", masqueraded}, cell{x, "vip", "timeout"})
	c.matrix("86", both, cell{x, "vip", own}, cell{d, "vip", "timeout"}, cell{p2, "vip", "timeout"})
	c.matrix("89", external, cell{x, "vip", masqueraded}, cell{p2, "vip", masqueraded}, cell{n, "vip", masqueraded})
	c.matrix("90", externalL, cell{x, "vip", own})
	c.matrix("73", proxied, cell{x, "np", masqueraded})
	// The node itself is told by the kernel that it may not send.
	for _, s := range []*v1.Service{ranges, pods, both} {
		for _, text := range []string{s.Status.LoadBalancer.Ingress[0].IP, s.Status.LoadBalancer.Ingress[1].IP} {
			for _, network := range []string{"tcp", "udp"} {
				if answer, err := harness.Ask(n, network, at(netip.MustParseAddr(text), 80)); err == nil {
					t.Errorf("row 79: node1 asks %s %s: %+v; want no answer", network, text, answer)
				}
			}
		}
	}
	for _, text := range []string{external4(12), external6(12)} {
		if v, err := c.kernel.VirtualServer("tcp", at(netip.MustParseAddr(text), 80)); err != nil || v.Text() != "none" {
			t.Errorf("row 73: the load balancer's own address %s is captured: %s, %v", text, v.Text(), err)
		}
	}
	if report := c.proxier.Output(); strings.Contains(report, "level=ERROR") {
		t.Errorf("the proxier logs errors:\n%s", report)
	}
}
