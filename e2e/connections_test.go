//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// TestConnectionsAreShown: status and metrics report how many connections IPVS has and how large its table is, on
// kernels that count them and on those where audits do. Where the kernel limits them, a limit that is nearly reached is
// a Problem, and a higher one resolves it.
func TestConnectionsAreShown(t *testing.T) {
	const held = 12
	c := newCluster(t)
	client, one := c.pod(1, 50, "client"), c.backend(1, 10, "one")
	c.write("web.yaml", with(web(), one))
	c.run("--audit-period", "1s")
	c.hold(client, web4, held)
	var last *harness.Status
	c.await(func() error {
		s, err := c.proxier.Status()
		if last = s; err != nil {
			return err
		}
		if s.Connections.Connections < held || s.Connections.Buckets == 0 ||
			s.Connections.MaxBuckets < s.Connections.Buckets {
			return fmt.Errorf("%+v, want %d connections", s.Connections, held)
		}
		return nil
	})
	t.Logf("%+v", last.Connections)
	for name, want := range map[string]int{
		"connections": last.Connections.Connections, "connection_table_max_buckets": last.Connections.MaxBuckets,
	} {
		if n, err := c.proxier.Metric("ipvs_proxier_" + name); err != nil || int(n) < want {
			t.Errorf("%s is %v, %v; want %d", name, n, err, want)
		}
	}
	_, err := c.Node1.Run("cat", "/proc/net/ip_vs_status")
	if counts := err == nil; counts != (last.Connections.Counted == "kernel") {
		t.Errorf("the kernel counts: %v; status says %q", counts, last.Connections.Counted)
	}
	const limit = "net/ipv4/vs/conn_max"
	if _, err := c.Node1.Run("cat", "/proc/sys/"+limit); err != nil {
		t.Log("NOT TESTED: the limit, which this kernel lacks")
		return
	}
	limited := func(want bool) {
		t.Helper()
		c.must(harness.Await(2*time.Minute, func() error { // the table is looked at each 30 s
			s, err := c.proxier.Status()
			if err != nil {
				return err
			}
			n, err := c.proxier.Metric(`ipvs_proxier_problems\{namespace="",reason="ConnectionsLimited",service=""\}`)
			if err != nil && want {
				return err
			}
			shown := len(s.NodeProblems) == 1 && s.NodeProblems[0].Reason == "ConnectionsLimited"
			logged := strings.Contains(c.proxier.Output(), "reason=ConnectionsLimited")
			if shown != want || (n == 1) != want || !logged {
				return fmt.Errorf("problems %+v, metric %v, in the log %v; want it reported: %v", s.NodeProblems, n, logged, want)
			}
			return nil
		}))
	}
	c.must(c.Node1.Sysctl(limit, fmt.Sprint(held)))
	limited(true)
	c.must(c.Node1.Sysctl(limit, "1000000"))
	limited(false)
}
