//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestMasqueradingKeepsPorts: a masqueraded client of TCP keeps its source port where that lies in --masquerade-ports
// and is free, and gets another one there where it is not. So a client that asks again and again does not get a port
// that the endpoint still has in TIME_WAIT. One of UDP gets a random port there. By default every port may be kept.
func TestMasqueradingKeepsPorts(t *testing.T) {
	c := newCluster(t)
	r := c.backend(2, 10, "r")
	c.write("web.yaml", with(web(nodePort), r))
	const first = 32768
	c.run("--masquerade-ports", "32768-65535")
	// Each question has a port of its own: connections stay, and one that listens to no family in particular takes the
	// port of both.
	kept, outOfRange := uint16(40000), uint16(20000)
	keeps := func(network string, seen, port uint16) bool { return seen == port || network == "udp" && seen >= first }
	for _, network := range []string{"tcp", "udp"} {
		for _, clusterIP := range []netip.AddrPort{web4, web6} {
			kept, outOfRange = kept+2, outOfRange+1
			port := at(hostAddr(c.Node1, clusterIP.Addr()), webNodePort)
			if seen := c.portSeen(c.Node1, network, kept, clusterIP); !keeps(network, seen, kept) {
				t.Errorf("%s, the node asks %s from port %d: the endpoint sees %d", network, clusterIP, kept, seen)
			}
			if seen := c.portSeen(c.Node1, network, outOfRange, clusterIP); seen < first {
				t.Errorf("%s, the node asks %s from port %d: the endpoint sees %d, want %d or more",
					network, clusterIP, outOfRange, seen, first)
			}
			// Two clients with one port, both of which become the node.
			if seen := c.portSeen(c.Outside, network, kept+1, port); !keeps(network, seen, kept+1) {
				t.Errorf("%s, %s from port %d: the endpoint sees %d", network, port, kept+1, seen)
			}
			if seen := c.portSeen(c.Denied, network, kept+1, port); network == "tcp" && seen == kept+1 || seen < first {
				t.Errorf("%s, %s from port %d, which another client has: the endpoint sees %d", network, port, kept+1, seen)
			}
		}
	}
	c.must(c.proxier.Stop())
	c.run()
	for _, clusterIP := range []netip.AddrPort{web4, web6} {
		outOfRange++
		if seen := c.portSeen(c.Node1, "tcp", outOfRange, clusterIP); seen != outOfRange {
			t.Errorf("by default, the node asks %s from port %d: the endpoint sees %d", clusterIP, outOfRange, seen)
		}
	}
	// Half of the ports lie above: of fifty random ones some do, but for one time in 2 to the power of 50.
	above := 0
	for range 50 {
		outOfRange++
		if c.portSeen(c.Node1, "udp", outOfRange, web4) >= first {
			above++
		}
	}
	if above == 0 {
		t.Error("none of 50 clients of UDP from ports below 32768 has got one above: ports are not random")
	}
}

// TestStraightIsNotMasqueraded: what does not go through a Service keeps its address and port, also where a hostNetwork
// endpoint asks itself, which looks like a hairpin, and where the kernel has not loaded what tells both apart: the
// proxier's container may load no module, and has the kernel do it.
func TestStraightIsNotMasqueraded(t *testing.T) {
	c := newCluster(t)
	c.await(func() error { // rules of earlier tests use it until their namespaces are gone
		out, err := exec.Command("modprobe", "-r", "xt_ipvs").CombinedOutput()
		if err != nil {
			return fmt.Errorf("unload xt_ipvs: %w: %s", err, out)
		}
		return nil
	})
	pod := c.backend(1, 10, "pod")
	c.serve(c.Node1, "host")
	c.write("services.yaml", with(web(nodePort), pod, c.Node1))
	c.run("--masquerade-ports", "32768-65535")
	port := uint16(20000) // masquerading would move it to these
	for _, network := range []string{"tcp", "udp"} {
		for _, like := range []netip.Addr{web4.Addr(), web6.Addr()} {
			for _, endpoint := range []*topology.Host{pod, c.Node1} {
				for _, from := range []*topology.Host{c.Node1, c.Outside} {
					if from == c.Outside && endpoint == pod {
						continue // has no way there
					}
					port++
					if seen := c.portSeen(from, network, port, at(hostAddr(endpoint, like), 8080)); seen != port {
						t.Errorf("%s, %s asks %s straight from port %d: it sees %d", network, from.Name, endpoint.Name, port, seen)
					}
				}
			}
		}
	}
	// By the Service both answer the node, the one on the node itself too.
	for _, clusterIP := range []netip.AddrPort{web4, web6} {
		if got, want := c.outcome(c.Node1, "tcp", clusterIP, 2), "host node, pod gw"; got != want {
			t.Errorf("the node asks %s: %s, want %s", clusterIP, got, want)
		}
	}
}

// portSeen asks from a port and returns the one that the server sees. The connection stays until the test ends.
func (c *cluster) portSeen(from *topology.Host, network string, port uint16, to netip.AddrPort) uint16 {
	c.t.Helper()
	conn, err := harness.DialFrom(from, network, port, to)
	if err != nil {
		c.t.Fatalf("%s dials %s %s from port %d: %v", from.Name, network, to, port, err)
	}
	c.t.Cleanup(func() { conn.Close() })
	answer, err := harness.AskOn(conn)
	if err != nil {
		c.t.Fatalf("%s asks %s %s from port %d: %v", from.Name, network, to, port, err)
	}
	return answer.Port
}
