//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// plan returns what the program would do on node1 now, a line for each operation, without the summary.
func (c *cluster) plan(args ...string) (operations []string, summary string) {
	c.t.Helper()
	text, err := c.Node1.Run(programs.Path("ipvs-proxier"), c.planning(args...)...)
	c.must(err)
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "time=") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		c.t.Fatal("plan prints nothing")
	}
	return lines[:len(lines)-1], lines[len(lines)-1]
}

// planning are the arguments of plan that correspond to those of run.
func (c *cluster) planning(args ...string) []string {
	return append([]string{
		"plan", "--manifests", c.manifests, "--node-name", c.Node1.Name, "--cluster-cidr", topology.PodCIDRs,
	}, args...)
}

// TestPlanIsWhatRunDoes: plan changes nothing; after run has done it there is nothing to do, beside a living proxier
// and without one; and what somebody else has changed, or other flags would, is what is planned.
func TestPlanIsWhatRunDoes(t *testing.T) {
	c := newCluster(t)
	c.write("many.yaml", manyOfAllKinds(12)...)
	clean := c.sorted()
	first, summary := c.plan()
	if len(first) < 12*4*4 || !strings.Contains(summary, "create virtual-server") {
		t.Errorf("on a clean node %d operations are planned: %s", len(first), summary)
	}
	if now := c.sorted(); !slices.Equal(now, clean) {
		t.Errorf("plan has changed the node: too much: %q, missing: %q", without(now, clean), without(clean, now))
	}
	c.run("--audit-period", "0s")
	c.awaitRest()
	if operations, _ := c.plan(); len(operations) > 0 {
		t.Errorf("beside a proxier that is at rest there is something to do: %q", operations)
	}
	for _, command := range []string{
		"ipvsadm -D -t 10.96.20.1:80", "ip addr del 10.96.20.2/32 dev kube-ipvs0",
		"ipset del IPVSP-FRONT-END 10.96.20.3,tcp:80",
		"iptables -w -F IPVSP-CLIENTS", "sysctl -qw net.ipv4.vs.conntrack=0",
	} {
		_, err := c.Node1.Run("sh", "-c", command)
		c.must(err)
	}
	harmed := c.sorted()
	drift, summary := c.plan()
	for _, want := range []string{
		"create virtual-server tcp 10.96.20.1:80 rr", "create address 10.96.20.2",
		"create entry IPVSP-FRONT-END 10.96.20.3,tcp:80",
		"update chain ipv4 filter IPVSP-CLIENTS", "update sysctl net.ipv4.vs.conntrack=1",
	} {
		if !slices.Contains(drift, want) {
			t.Errorf("%q is not planned: %q", want, drift)
		}
	}
	if len(drift) != 5+3 { // the virtual server has three real servers
		t.Errorf("%s: %q", summary, drift)
	}
	if now := c.sorted(); !slices.Equal(now, harmed) {
		t.Errorf("plan has changed the node: too much: %q, missing: %q", without(now, harmed), without(harmed, now))
	}
	c.must(c.proxier.Stop())
	if operations, _ := c.plan(); !slices.Equal(operations, drift) {
		t.Errorf("without a proxier something else is planned: %q", operations)
	}
	c.again()
	c.awaitRest()
	if operations, _ := c.plan(); len(operations) > 0 {
		t.Errorf("after a start there is something to do: %q", operations)
	}
	routes, _ := c.plan("--vip-mode", "route")
	if !slices.ContainsFunc(routes, func(o string) bool { return strings.HasPrefix(o, "create route 10.96.20.1") }) {
		t.Errorf("with routes this is planned: %q", routes)
	}
	if text, err := c.Node1.Run(
		programs.Path("ipvs-proxier"), c.planning("--vip-mode", "route", "--exit-code")...,
	); err == nil {
		t.Errorf("--exit-code with something to do ends with 0: %s", text)
	}
}
