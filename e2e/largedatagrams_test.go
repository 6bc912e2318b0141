//go:build e2e

package e2e

import (
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestLargeDatagrams (cilium#8185): datagrams above the MTU reach a Service from pods and from outside, in both
// families and VIP modes. From the node itself they do so by IPv4 with routes: there the kernel can fragment them ahead
// of IPVS, or learn that it has to. What else gets through there is the kernel's affair, and only logged.
func TestLargeDatagrams(t *testing.T) {
	for _, mode := range []string{"address", "route"} {
		t.Run(mode, func(t *testing.T) {
			c := newCluster(t)
			client, here := c.pod(1, 50, "client"), c.serveSizes(c.pod(1, 10, "here"))
			c.write("web.yaml", manifest(thisNode(c.Node1)), with(web(), here))
			c.run("--vip-mode", mode)
			for _, from := range []*topology.Host{client, c.Outside, c.Node1} {
				for _, to := range []struct {
					family string
					err    error
				}{{"IPv4", harness.AskSizes(from, web4, 4000, 4000)}, {"IPv6", harness.AskSizes(from, web6, 4000, 4000)}} {
					if from == c.Node1 && (mode == "address" || to.family == "IPv6") {
						t.Logf("from the node by %s: %v", to.family, to.err)
					} else if to.err != nil {
						t.Errorf("from %s by %s: %v", from.Name, to.family, to.err)
					}
				}
			}
		})
	}
}
