//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// countIn has one of our chains count the datagrams to a port, and returns how many there have been. No proxier may
// run, which would repair the chain.
func (c *cluster) countIn(to netip.AddrPort, table, chain string) (passed func() int) {
	c.t.Helper()
	program := "iptables"
	if to.Addr().Is6() {
		program = "ip6tables"
	}
	_, err := c.Node1.Run(program, "-t", table, "-I", chain, "-p", "udp", "--dport", strconv.Itoa(int(to.Port())))
	c.must(err)
	rule := regexp.MustCompile(fmt.Sprintf(`(?m)^\[(\d+):\d+\] -A %s -p udp -m udp --dport %d$`, chain, to.Port()))
	return func() int {
		c.t.Helper()
		out, err := c.Node1.Run(program+"-save", "-c", "-t", table)
		c.must(err)
		found := rule.FindStringSubmatch(out)
		if found == nil {
			c.t.Fatalf("no rule for port %d in %s:\n%s", to.Port(), chain, out)
		}
		n, err := strconv.Atoi(found[1])
		c.must(err)
		return n
	}
}

// TestOnlyFirstPacketsPassOurRules: a flow that is no Service's costs look-ups once, whether it is answered or not, and
// what is refused is refused each time.
func TestOnlyFirstPacketsPassOurRules(t *testing.T) {
	c := newCluster(t)
	one := c.backend(1, 10, "one")
	c.write("services.yaml", with(web(nodePort), one))
	c.run()
	c.proxier.Kill() // or it would repair the chains that count
	const datagrams = 5
	for i, like := range []netip.Addr{web4.Addr(), web6.Addr()} {
		port := uint16(9000 + 10*i) // a listener is for both families
		node, outside := hostAddr(c.Node1, like), hostAddr(c.Outside, like)
		for j, flow := range []struct {
			what         string
			from         *topology.Host
			to           netip.AddrPort
			listens      *topology.Host
			table, chain string
			want         int
		}{
			{"another host to the node", c.Outside, at(node, port), c.Node1, "filter", "IPVSP-INPUT", 1},
			{"another host to the node, last hook", c.Outside, at(node, port+1), c.Node1, "filter", "IPVSP-ACCEPT", 1},
			{"the node to itself", c.Node1, at(node, port+4), c.Node1, "filter", "IPVSP-ACCEPT", 0},
			{"the node to another host", c.Node1, at(outside, port+2), c.Outside, "mangle", "IPVSP-OUTPUT", 1},
			// It is refused, so that no packet is a later one.
			{"the node to another port of a service address", c.Node1, at(like, port+3), nil, "filter", "IPVSP-INPUT", datagrams},
		} {
			if flow.listens != nil {
				c.must(flow.listens.Do(func() error {
					deaf, err := net.ListenPacket("udp", fmt.Sprint(":", flow.to.Port()))
					if err == nil {
						t.Cleanup(func() { deaf.Close() })
					}
					return err
				}))
			}
			passed := c.countIn(flow.to, flow.table, flow.chain)
			sender, err := harness.DialFrom(flow.from, "udp", uint16(21000+10*i+j), flow.to)
			c.must(err)
			for range datagrams {
				// The next use of the socket returns a refusal, once, and that datagram is not sent.
				_, err := sender.Write([]byte("unanswered"))
				for flow.listens == nil && errors.Is(err, unix.ECONNREFUSED) {
					_, err = sender.Write([]byte("unanswered"))
				}
				c.must(err)
			}
			c.must(sender.Close())
			c.await(func() error {
				if n := passed(); n != flow.want {
					return fmt.Errorf("%s, %s: %d of %d datagrams passed the rules, want %d",
						flow.what, flow.to, n, datagrams, flow.want)
				}
				return nil
			})
		}
	}
}
