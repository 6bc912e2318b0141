//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestClearedByAnother: another program takes away everything of IPVS while we run. All of it is back without an audit
// by time: the end of our link starts one, and where the link stays, the next change of any Service does. The real
// kube-proxy is one of those programs.
func TestClearedByAnother(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	other := service("other", []string{"10.96.0.11", "fd00:10:96::11"})
	c.write("web.yaml", with(web(nodePort), one, two))
	c.write("other.yaml", with(other, one))
	c.run("--audit-period", "1h")
	whole := c.dataplane()
	back := func(after string) {
		t.Helper()
		c.await(func() error {
			if now := c.dataplane(); now != whole {
				return fmt.Errorf("after %s the dataplane is\n%s\nwant\n%s", after, now, whole)
			}
			return nil
		})
		c.ask(client, "tcp", web4)
		c.ask(client, "tcp", web6)
		c.ask(client, "tcp", at(c.Node1.IPv4, webNodePort))
	}
	kubeProxy := filepath.Join(peers, "kube-proxy") + " --cleanup"
	for _, damage := range []string{
		"ipvsadm -C; ip link del kube-ipvs0", "ip link del kube-ipvs0; ipvsadm -C", "ip link del kube-ipvs0", kubeProxy,
	} {
		output, err := c.Node1.Run("sh", "-c", damage)
		if err != nil {
			t.Fatalf("%s: %v\n%s", damage, err, output)
		}
		back(damage)
	}
	if n := strings.Count(c.proxier.Output(), "our link has been deleted"); n != 4 {
		t.Errorf("the log reports the link's end %d times, want 4", n)
	}
	for _, pods := range [][]*topology.Host{{one}, {one, two}} { // one endpoint less, and one more
		_, err := c.Node1.Run("ipvsadm", "-C")
		c.must(err)
		c.write("web.yaml", with(web(nodePort), pods...))
		c.awaitVirtualServer("tcp", netip.MustParseAddrPort("10.96.0.11:80"), "rr 10.244.1.10:8080/1")
	}
	back("ipvsadm -C and a change")
}
