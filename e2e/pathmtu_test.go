//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// smallMTU is the least that IPv6 allows.
const smallMTU = 1280

// closeNode1 has INPUT and FORWARD of node 1 drop what no rule lets through, and lets through what IPv6 finds
// neighbours by.
func (c *cluster) closeNode1(more ...string) {
	c.t.Helper()
	for _, rule := range append(more,
		"iptables -A INPUT -i lo -j ACCEPT", "iptables -P INPUT DROP", "iptables -P FORWARD DROP",
		"ip6tables -A INPUT -i lo -j ACCEPT", "ip6tables -A INPUT -p ipv6-icmp --icmpv6-type 135 -j ACCEPT",
		"ip6tables -A INPUT -p ipv6-icmp --icmpv6-type 136 -j ACCEPT", "ip6tables -P INPUT DROP", "ip6tables -P FORWARD DROP",
	) {
		words := strings.Fields(rule)
		if out, err := c.Node1.Run(words[0], append([]string{"-w"}, words[1:]...)...); err != nil {
			c.t.Fatalf("%s: %v: %s", rule, err, out)
		}
	}
}

// serveSizes serves streams by TCP and datagrams of any size by UDP on port 8080.
func (c *cluster) serveSizes(h *topology.Host) *topology.Host {
	c.t.Helper()
	c.serve(h, h.Name, "--listen", "tcp://[::]:8080")
	for _, addr := range []netip.Addr{h.IPv4, h.IPv6} {
		socket, err := harness.AnswerSizes(h, at(addr, 8080))
		c.must(err)
		c.t.Cleanup(func() { _ = socket.Close() })
	}
	return h
}

// forgetMTU has the hosts forget what they have learned about paths.
func (c *cluster) forgetMTU(hosts ...*topology.Host) {
	c.t.Helper()
	for _, h := range hosts {
		c.must(errors.Join(h.Sysctl("net/ipv4/route/flush", "1"), h.Sysctl("net/ipv6/route/flush", "1")))
	}
}

// narrow has the host forward only packets of smallMTU at most to the other one.
func (c *cluster) narrow(on, to *topology.Host) {
	c.t.Helper()
	for _, words := range []string{"ip route|" + to.IPv4.String(), "ip -6 route|" + to.IPv6.String()} {
		command, addr, _ := strings.Cut(words, "|")
		_, err := on.Run("sh", "-ec", fmt.Sprintf("%s replace $(%s show %s) mtu lock %d", command, command, addr, smallMTU))
		c.must(err)
	}
}

// TestSmallerMTUBehindAClosedNode (kube-router#685): INPUT and FORWARD drop by policy, and no rule of the operator's
// lets ICMP through. A path takes less than the links at its ends, between a client and the node or between the node
// and an endpoint. What a router says of that belongs to the Service's connection and gets through. So large answers
// and requests do, too.
func TestSmallerMTUBehindAClosedNode(t *testing.T) {
	for _, mode := range []string{"address", "route"} {
		t.Run(mode, func(t *testing.T) {
			c := newCluster(t)
			far, err := c.AddBehind(c.Outside, 10, smallMTU, "far")
			c.must(err)
			here, there := c.serveSizes(c.pod(1, 10, "here")), c.serveSizes(c.pod(2, 10, "there"))
			cases := []struct {
				name     string
				endpoint *topology.Host
				change   func(*v1.Service)
				requests bool // large ones, too
			}{
				{"pod-here", here, nil, false},
				{"pod-there", there, nil, true},
				{"host-network", c.serveSizes(c.Node1), nil, false},
				{"client-kept", here, externalLocal, false},
			}
			objects, services := []string{manifest(thisNode(c.Node1))}, make([]*v1.Service, len(cases))
			for i, of := range cases {
				services[i] = service(of.name, []string{fmt.Sprintf("10.96.1.%d", i+1), fmt.Sprintf("fd00:10:96::10%d", i+1)},
					loadBalancer(i+1, int32(30081+i)))
				if of.change != nil {
					of.change(services[i])
				}
				objects = append(objects, with(services[i], of.endpoint))
			}
			c.write("services.yaml", objects...)
			c.closeNode1()
			c.run("--vip-mode", mode)
			c.narrow(c.Node2, there)
			for i, of := range cases {
				for _, target := range []string{"cip", "vip", "np"} {
					for _, ip := range services[i].Spec.ClusterIPs {
						to := c.target(services[i], target, netip.MustParseAddr(ip))
						for what, err := range c.large(far, to, of.requests, c.Outside, c.Node1, c.Node2, here, there) {
							t.Errorf("%s by %s %s: a large %s: %v", of.name, target, to, what, err)
						}
					}
				}
			}
		})
	}
}

// large returns why large answers, and with requests large requests, do not get through, by what they are. Before each
// all hosts forget what they know about paths.
func (c *cluster) large(
	from *topology.Host, to netip.AddrPort, requests bool, others ...*topology.Host,
) map[string]error {
	c.t.Helper()
	asks := map[string]func() error{
		"answer by TCP": func() error { return stream(from, to, harness.Download) },
		"answer by UDP": func() error { return harness.AskSizes(from, to, 10, 1400) },
	}
	if requests {
		asks["request by TCP"] = func() error { return stream(from, to, harness.Upload) }
		asks["request by UDP"] = func() error { return harness.AskSizes(from, to, 1400, 10) }
	}
	failed := map[string]error{}
	for what, ask := range asks {
		c.forgetMTU(append(others, from)...)
		if err := ask(); err != nil {
			failed[what] = err
		}
	}
	return failed
}

// stream moves more than one packet at a time.
func stream(from *topology.Host, to netip.AddrPort, move func(net.Conn, int) error) error {
	conn, err := harness.Dial(from, "tcp", to)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer conn.Close()
	return move(conn, 1<<17)
}
