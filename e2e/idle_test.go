//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// TestWhatIsNotifiedIsMendedAtOnce: an address of ours, or a route, that somebody takes away is back without an audit
// by time, because the kernel tells of it.
func TestWhatIsNotifiedIsMendedAtOnce(t *testing.T) {
	for mode, damages := range map[string][]string{
		"address": {"ip addr del 10.96.0.10/32 dev kube-ipvs0", "ip addr del fd00:10:96::10/128 dev kube-ipvs0", "ip addr flush dev kube-ipvs0"},
		"route":   {"ip route del local 10.96.0.10/32 dev lo table local proto 73", "ip -6 route del local fd00:10:96::10/128 dev lo table local proto 73"},
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
