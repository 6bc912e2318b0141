//go:build e2e

package e2e

import (
	"net/netip"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// TestTurnsOnTheKernel: with weights that have no common divisor the heavier endpoint has two turns in a row at most,
// and twice as many in all. With the weights as they are written it had 32,768 in a row.
func TestTurnsOnTheKernel(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	heavy, light := c.backend(1, 10, "heavy"), c.backend(2, 10, "light")
	s := web(scheduled("wrr"), annotated("ipvs-proxier.io/weight", "node=node1:65535,node=node2:32767"),
		func(s *v1.Service) { s.Spec.Ports = s.Spec.Ports[:1] })
	c.write("web.yaml", with(s, heavy, light))
	c.run()
	for family, to := range map[string]netip.AddrPort{"IPv4": web4, "IPv6": web6} {
		t.Run(family, func(t *testing.T) {
			const asks = 60
			counts, last, run := map[string]int{}, "", 0
			for i := range asks {
				answer, err := harness.Ask(client, "tcp", to)
				if err != nil {
					t.Fatal(err)
				}
				if answer.ID != last {
					last, run = answer.ID, 0
				}
				if run++; run > 2 {
					t.Fatalf("connection %d is the third in a row to %s; so far %v", i, last, counts)
				}
				counts[last]++
			}
			if counts["heavy"] != asks*2/3 || counts["light"] != asks/3 {
				t.Errorf("connections %v, want two to one", counts)
			}
		})
	}
}
