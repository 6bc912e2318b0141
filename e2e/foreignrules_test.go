//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestRulesOfOthersAreTold (talos#9223, kubernetes#66103): a hostPort as the CNI's portmap writes it, for the port of a
// Service. Behind ours it does no harm, and nothing is reported. Ahead of ours it takes the Service's connections,
// which is a Problem until the rule is gone. The rules stay as they are.
func TestRulesOfOthersAreTold(t *testing.T) {
	c := newCluster(t)
	one, hostPort := c.backend(1, 10, "one"), c.backend(1, 11, "host-port")
	client := c.pod(1, 50, "client")
	other := service("other", []string{"10.96.1.2", "fd00:10:96::102"}, nodePort)
	for i := range other.Spec.Ports {
		other.Spec.Ports[i].Port = 81
	}
	c.write("services.yaml", with(web(), one), with(other, one))
	c.run("--audit-period", "1s")
	rules := func(format string) {
		t.Helper()
		for program, to := range map[string]netip.Addr{"iptables": hostPort.IPv4, "ip6tables": hostPort.IPv6} {
			for line := range strings.Lines(format) {
				line = strings.ReplaceAll(strings.TrimSpace(line), "TO", netip.AddrPortFrom(to, 8080).String())
				_, err := c.Node1.Run(program, strings.Fields("-w -t nat "+line)...)
				c.must(err)
			}
		}
	}
	reported := func(when string, want bool) {
		t.Helper()
		c.must(harness.Await(2*time.Minute, func() error {
			s, err := c.proxier.Status()
			if err != nil {
				return err
			}
			for _, of := range s.Services {
				var fields []string
				for _, p := range of.Problems {
					if p.Reason == "ForeignRule" && strings.Contains(p.Message, "-A CNI-DN-1 -p tcp -m tcp --dport 80 -j DNAT") &&
						strings.Contains(p.Message, "nat PREROUTING and OUTPUT") {
						fields = append(fields, p.Field)
					}
				}
				if n := map[bool]int{true: 2}[want && of.Name == "web"]; len(fields) != n || len(of.Problems) != n {
					return fmt.Errorf("%s: %s has the Problems %+v, want %d", when, of.Name, of.Problems, n)
				}
			}
			metric := `ipvs_proxier_problems\{namespace="default",reason="ForeignRule",service="web"\}`
			if n, err := c.proxier.Metric(metric); want && (err != nil || n != 2) {
				return fmt.Errorf("%s: the metric is %v, %v", when, n, err)
			}
			return nil
		}))
	}
	answers := func(when, want string) {
		t.Helper()
		for _, from := range []*topology.Host{client, c.Node1} {
			for _, to := range []netip.AddrPort{web4, web6} {
				if got, err := harness.Ask(from, "tcp", to); err != nil || got.ID != want {
					t.Errorf("%s: %s asks %s: %q %v, want %s", when, from.Name, to, got.ID, err, want)
				}
				if got := c.ask(from, "udp", to); got.ID != "one" {
					t.Errorf("%s: %s asks %s by UDP: %q, want one", when, from.Name, to, got.ID)
				}
			}
		}
	}
	rules(`-N CNI-HOSTPORT-DNAT
		-N CNI-DN-1
		-A CNI-DN-1 -p tcp --dport 80 -j DNAT --to-destination TO
		-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment id:1 -m multiport --dports 80 -j CNI-DN-1
		-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
		-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT`)
	c.awaitAudit()
	reported("behind ours", false)
	answers("behind ours", "one")
	rules(`-I PREROUTING 1 -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
		-I OUTPUT 1 -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT`)
	reported("ahead of ours", true)
	answers("ahead of ours", "host-port")
	rules(`-D PREROUTING 1
		-D OUTPUT 1`)
	reported("gone", false)
	answers("gone", "one")
}

// awaitAudit waits for an audit that began after now.
func (c *cluster) awaitAudit() {
	c.t.Helper()
	const name = "ipvs_proxier_audits_total"
	before, err := c.proxier.Metric(name)
	c.must(err)
	c.must(harness.Await(2*time.Minute, func() error {
		if n, err := c.proxier.Metric(name); err != nil || n < before+2 {
			return fmt.Errorf("%v audits, %v before: %v", n, before, err)
		}
		return nil
	}))
}
