//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
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
			s.Spec.LoadBalancerSourceRanges = append(s.Spec.LoadBalancerSourceRanges, h.IPv4.String()+"/32",
				h.IPv6.String()+"/128")
		}
	}
}

// cell is what one client must get at one target of a Service (trafficCase).
type cell struct {
	from   *topology.Host
	target string
	want   string
}

// matrix asks for every cell, by TCP and UDP, in both families.
func (c *cluster) matrix(row string, s *v1.Service, cells ...cell) {
	c.t.Helper()
	hosts := map[string]*topology.Host{}
	var all []trafficCell
	for _, cell := range cells {
		hosts[cell.from.Name] = cell.from
		tc := trafficCase{rows: row, name: s.Name, cells: fmt.Sprintf("%s -> %s: %s", cell.from.Name, cell.target, cell.want)}
		all = append(all, tc.expand(c, s)...)
	}
	for i, got := range c.outcomes(all, hosts) {
		if !all[i].accepts(all[i].want, got) {
			c.t.Error(all[i].text(got))
		}
	}
}

// accepts reports whether the outcome is the one that is meant, or one of several that are.
func (trafficCell) accepts(want, got string) bool {
	return slices.Contains(strings.Split(want, " | "), got)
}

func (cell trafficCell) text(got string) string {
	return fmt.Sprintf("row %s: %s asks %s %s (%s of %s): %s; want %s",
		cell.rows, cell.from, cell.network, cell.to, cell.target, cell.service, got, cell.want)
}

// outcomes asks for all cells, several at a time.
func (c *cluster) outcomes(cells []trafficCell, hosts map[string]*topology.Host) []string {
	got := make([]string, len(cells))
	var wait sync.WaitGroup
	running := make(chan struct{}, 16)
	for i, cell := range cells {
		wait.Go(func() {
			running <- struct{}{}
			defer func() { <-running }()
			got[i] = c.outcome(hosts[cell.from], cell.network, cell.to, len(strings.Split(cell.want, ", ")))
		})
	}
	wait.Wait()
	return got
}

func (c *cluster) target(s *v1.Service, target string, clusterIP netip.Addr) netip.AddrPort {
	target, port, other := strings.Cut(target, ":")
	number := uint16(80)
	if other {
		n, err := strconv.ParseUint(port, 10, 16)
		c.must(err)
		number = uint16(n)
	}
	nodePort := uint16(s.Spec.Ports[0].NodePort)
	switch target {
	case "cip":
		return at(clusterIP, number)
	case "np":
		return at(hostAddr(c.Node1, clusterIP), nodePort)
	case "gw":
		return at(gateway(clusterIP), nodePort)
	case "lo":
		if clusterIP.Is4() {
			return at(netip.MustParseAddr("127.0.0.1"), nodePort)
		}
		return at(netip.IPv6Loopback(), nodePort)
	}
	addrs := s.Spec.ExternalIPs
	for _, ingress := range s.Status.LoadBalancer.Ingress {
		addrs = append(addrs, ingress.IP)
	}
	for _, text := range addrs {
		if addr := netip.MustParseAddr(text); addr.Is4() == clusterIP.Is4() {
			return at(addr, number)
		}
	}
	panic("the Service has no address from outside")
}

// outcome asks until n different answers have come, and a few times more, at least c.asks times. Others ask at the same
// time, so that turns are not one's own.
func (c *cluster) outcome(from *topology.Host, network string, to netip.AddrPort, n int) string {
	var answers []string
	for i := 0; i < max(4*n, c.asks) || len(answers) < n && i < 60; i++ {
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
		case to.Addr():
			as = "vip"
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

// caseExternalCIDRs are where the external IPs of the cases are, one of them on the LAN.
const caseExternalCIDRs = topology.ExternalCIDRs + ",192.168.50.150/32"

// TestTraffic sends packets from inside and outside by every way in, and compares what comes back with the cases.
func TestTraffic(t *testing.T) {
	traffic(t, func(trafficCell) bool { return false })
}

// traffic tries every cell with a proxier with these arguments. A cell that is not as it should be, and for which again
// is true, is tried once more, alone.
func traffic(t *testing.T, again func(trafficCell) bool, args ...string) *cluster {
	t.Helper()
	c := newCluster(t)
	hosts := c.caseHosts()
	cells := c.writeCases(hosts)
	c.run(append(args, "--external-ip-cidrs", caseExternalCIDRs)...)
	for i, got := range c.outcomes(cells, hosts) {
		if cells[i].accepts(cells[i].want, got) {
			continue
		}
		if again(cells[i]) {
			t.Logf("tried again, alone: %s", cells[i].text(got))
			got = c.outcomes(cells[i:i+1], hosts)[0]
		}
		if !cells[i].accepts(cells[i].want, got) {
			t.Error(cells[i].text(got))
		}
	}
	t.Logf("%d cells", len(cells))
	if strings.Contains(c.proxier.Output(), "level=ERROR") {
		t.Errorf("the proxier logs errors:\n%s", c.proxier.Output())
	}
	return c
}

// caseHosts makes the hosts that cases name, and servers on those that are endpoints.
func (c *cluster) caseHosts() map[string]*topology.Host {
	c.t.Helper()
	c.serve(c.Node1, "host")
	return map[string]*topology.Host{
		"p1": c.backend(1, 10, "p1"), "p2": c.backend(1, 11, "p2"), "r": c.backend(2, 10, "r"), "host": c.Node1,
		"node1": c.Node1, "node2": c.Node2, "outside": c.Outside, "denied": c.Denied,
	}
}

// writeCases writes the manifests of all cases and returns their cells.
func (c *cluster) writeCases(hosts map[string]*topology.Host) (cells []trafficCell) {
	c.t.Helper()
	texts := []string{manifest(thisNode(c.Node1))}
	for number, tc := range trafficCases(c.Node1, c.Outside, hosts["p2"]) {
		s, slices := tc.objects(number, hosts)
		texts = append(texts, manifest(s))
		for _, slice := range slices {
			texts = append(texts, manifest(slice))
		}
		cells = append(cells, tc.expand(c, s)...)
	}
	c.write("cases.yaml", texts...)
	return cells
}
