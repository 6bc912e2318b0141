//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// TestWhatIsNotifiedIsMendedAtOnce: an address of ours, or a route, that somebody takes away is back without an audit
// by time, because the kernel sends a notification.
func TestWhatIsNotifiedIsMendedAtOnce(t *testing.T) {
	for mode, damages := range map[string][]string{
		"address": {
			"ip addr del 10.96.0.10/32 dev kube-ipvs0", "ip addr del fd00:10:96::10/128 dev kube-ipvs0",
			"ip addr flush dev kube-ipvs0",
		},
		"route": {
			"ip route del local 10.96.0.10/32 dev lo table local proto 73",
			"ip -6 route del local fd00:10:96::10/128 dev lo table local proto 73",
		},
	} {
		t.Run(mode, func(t *testing.T) {
			c := newCluster(t)
			client := c.pod(1, 50, "client")
			c.write("web.yaml", with(web(nodePort), c.backend(1, 10, "one")))
			c.run("--audit-period", "1h", "--vip-mode", mode)
			whole := c.dataplane()
			for _, damage := range damages {
				output, err := c.Node1.Run("sh", "-c", damage)
				if err != nil {
					t.Fatalf("%s: %v\n%s", damage, err, output)
				}
				c.await(func() error {
					if now := c.dataplane(); now != whole {
						return fmt.Errorf("after %s the dataplane is\n%s\nwant\n%s", damage, now, whole)
					}
					return nil
				})
				c.ask(client, "tcp", web4)
				c.ask(client, "tcp", web6)
			}
		})
	}
}

// TestWhatIsCountedIsMendedSoon: the loop reads from the kernel every few seconds how many virtual servers there are
// and whether rules have changed, and twice a minute how many set entries there are. So a wiped table, a rule and a set
// are back without an audit by time. Rules of iptables-legacy are read with audits only.
func TestWhatIsCountedIsMendedSoon(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	c.write("web.yaml", with(web(nodePort), c.backend(1, 10, "one")))
	c.run("--audit-period", "1h")
	c.awaitAudits(1) // the first one comes after half a minute
	whole := c.dataplane()
	damages := []string{"ipset flush IPVSP-FRONT-END"}
	if c.rulesHaveAGeneration() {
		damages = append(damages, "iptables -w -t nat -D PREROUTING 1; iptables -w -t nat -F IPVSP-POSTROUTING")
	}
	for _, damage := range append(damages, "ipvsadm -C") {
		output, err := c.Node1.Run("sh", "-c", damage)
		if err != nil {
			t.Fatalf("%s: %v\n%s", damage, err, output)
		}
		c.must(harness.Await(time.Minute, func() error {
			if now := c.dataplane(); now != whole {
				return fmt.Errorf("after %s the dataplane is\n%s\nwant\n%s", damage, now, whole)
			}
			return nil
		}))
		c.ask(client, "tcp", web4)
		c.ask(client, "tcp", web6)
	}
}

// rulesHaveAGeneration reports whether the node's iptables writes where the kernel counts changes.
func (c *cluster) rulesHaveAGeneration() bool {
	c.t.Helper()
	version, err := c.Node1.Run("iptables", "--version")
	c.must(err)
	if !strings.Contains(version, "nf_tables") {
		c.t.Logf("NOT TESTED with rules: %s", strings.TrimSpace(version))
		return false
	}
	return true
}

// TestNothingIsReadByProgramsWhenNothingChanges: audits start no program as long as rules are as they are.
func TestNothingIsReadByProgramsWhenNothingChanges(t *testing.T) {
	c := newCluster(t)
	if !c.rulesHaveAGeneration() {
		return
	}
	c.write("web.yaml", with(web(nodePort), c.backend(1, 10, "one")))
	c.run("--audit-period", "1s")
	c.awaitRest()
	c.awaitAudits(2)
	started := func() float64 {
		t.Helper()
		n, err := c.proxier.Metric("ipvs_proxier_processes_started_total")
		c.must(err)
		return n
	}
	before := started()
	c.awaitAudits(5)
	if n := started() - before; n != 0 {
		t.Errorf("%v programs were started in five audits, and nothing had changed", n)
	}
	_, err := c.Node1.Run("iptables", "-w", "-t", "nat", "-D", "PREROUTING", "1")
	c.must(err)
	c.awaitAudits(2)
	if n := started() - before; n == 0 {
		t.Error("the test shows nothing: a rule has changed, and no program was started")
	}
}
