//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestRefusedEndpoint (kubernetes#101506): an endpoint that the API server takes and the kernel refuses is a Problem of
// its Service, whose other endpoints serve, and leaves the node healthy; once it is gone all is well.
func TestRefusedEndpoint(t *testing.T) {
	c := newCluster(t)
	one := c.backend(1, 10, "one")
	// The kernel refuses addresses that its local table has as broadcast (net/netfilter/ipvs/ip_vs_ctl.c,
	// __ip_vs_new_dest). One such address is refused before; of a whole network of them the proxier does not know.
	broadcast := &topology.Host{Node: "elsewhere", IPv4: netip.MustParseAddr("192.168.50.255"), IPv6: one.IPv6}
	network := &topology.Host{Node: "elsewhere", IPv4: netip.MustParseAddr("192.168.50.77"), IPv6: one.IPv6}
	_, err := c.Node1.Run("ip", "route", "add", "broadcast", "192.168.50.76/30", "dev", "eth0", "table", "local")
	c.must(err)
	pod := c.pod(1, 50, "client")
	c.write("services.yaml", with(web(nodePort), one, broadcast, network))
	c.start("--manifests", c.manifests)
	for _, reason := range []string{"BroadcastEndpoint", "KernelRefused"} {
		c.await(func() error {
			if _, text, err := c.proxier.Get("http://127.0.0.1:10249/status"); err != nil || !strings.Contains(text, reason) {
				return fmt.Errorf("no word of %s: %s, %w", reason, text, err)
			}
			return nil
		})
	}
	// Longer than a node may be unsound before load balancers are told.
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		for _, path := range []string{"healthz", "livez"} {
			if status, text, err := c.proxier.Get("http://127.0.0.1:10256/" + path); err != nil || status != 200 {
				t.Fatalf("/%s is %d %s, %v", path, status, text, err)
			}
		}
	}
	if answer := c.ask(pod, "tcp", web4); answer.ID != "one" {
		t.Errorf("%s answers, want one", answer.ID)
	}
	c.write("services.yaml", with(web(nodePort), one))
	c.must(c.proxier.AwaitReady())
	if answer := c.ask(pod, "tcp", web4); answer.ID != "one" {
		t.Errorf("%s answers, want one", answer.ID)
	}
}
