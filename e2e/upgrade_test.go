//go:build e2e

package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// TestUpgrade goes from each earlier version below bin/earlier to this one, back, and here again, under load: no
// request fails, and no held connection breaks. An upgrade ends as a start on a clean node would, and one back does,
// too.
func TestUpgrade(t *testing.T) {
	// `make e2e-tests` builds them; EARLIER in the Makefile names their commits.
	earlier, err := filepath.Glob(programs.Path("earlier/*/ipvs-proxier"))
	if err != nil {
		t.Fatal(err)
	}
	if len(earlier) == 0 {
		t.Skipf("no earlier version is below %s: their commits are not in this clone", programs.Path("earlier"))
	}
	for _, program := range earlier {
		t.Run(filepath.Base(filepath.Dir(program)), func(t *testing.T) { upgrade(t, program) })
	}
}

func upgrade(t *testing.T, earlier string) {
	if by := os.Getenv("IPVSP_NETFILTER"); by != "" && by != "iptables" {
		t.Skipf("earlier versions have no backend %s", by)
	}
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	local, remote := c.backend(1, 10, "local"), c.backend(2, 10, "remote")
	c.write("upgrade.yaml",
		with(web(nodePort, affinity(3600), scheduled("lc")), local, remote),
		with(service("table", []string{"10.96.1.1", "fd00:10:96::101"}, scheduled("mh")), local, remote),
		with(service("hash", []string{"10.96.1.2", "fd00:10:96::102"}, scheduled("sh")), local),
		with(service("restricted", []string{"10.96.1.3", "fd00:10:96::103"}, loadBalancer(1, 30081),
			sourceRanges(c.Outside)), local, remote),
		with(service("empty", []string{"10.96.1.4", "fd00:10:96::104"})))

	version := func(program string) {
		c.t.Helper()
		if c.proxier != nil {
			c.must(c.proxier.Stop())
		}
		c.program = program
		c.run()
	}
	version(earlier)
	held := append(c.hold(client, web4, 2), c.hold(c.Outside, at(c.Node1.IPv6, webNodePort), 2)...)
	held = append(held, c.hold(c.Outside, at(netip.MustParseAddr(external6(1)), 80), 1)...)
	c.keepsOut("the earlier version")
	loads := []*harness.Load{
		c.untilStopped(client, "crr", 40, "tcp://"+web4.String()),
		c.untilStopped(c.Outside, "crr", 20, "tcp://"+at(netip.MustParseAddr(external4(1)), 80).String()),
		c.untilStopped(c.Outside, "udp-rr", 20, "udp://"+at(c.Node1.IPv4, webNodePort).String()),
	}
	for _, step := range []struct{ name, program string }{
		{"the upgrade", ""}, {"the way back", earlier}, {"the second upgrade", ""},
	} {
		version(step.program)
		stillUsable(t, held, step.name)
		c.keepsOut(step.name)
		if n := c.writes(); n > 0 {
			t.Logf("%s wrote %v times", step.name, n)
		}
	}
	for _, l := range loads {
		r, err := l.Stop()
		c.must(err)
		withoutErrors(t, r)
	}
	c.sameAsFresh(c.args...)
}

// keepsOut fails the test when a client outside of the source ranges reaches the load balancer's address.
func (c *cluster) keepsOut(when string) {
	c.t.Helper()
	for _, ip := range []string{external4(1), external6(1)} {
		if conn, err := harness.Dial(c.Denied, "tcp", at(netip.MustParseAddr(ip), 80)); err == nil {
			conn.Close()
			c.t.Errorf("with %s a client outside of the source ranges reaches %s", when, ip)
		}
	}
}
