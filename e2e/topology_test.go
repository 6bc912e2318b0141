//go:build e2e

package e2e

import (
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestTopologyIsUsableAtOnce: no host has an address that cannot be used yet, not even the link-local ones that the
// kernel makes.
func TestTopologyIsUsableAtOnce(t *testing.T) {
	c := newCluster(t)
	pod := c.pod(2, 10, "pod")
	for _, h := range []*topology.Host{c.Node1, c.Node2, c.Outside, c.Denied, pod} {
		all, err := h.Run("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link")
		c.must(err)
		tentative, err := h.Run("ip", "-6", "-o", "addr", "show", "tentative")
		c.must(err)
		if all == "" || tentative != "" {
			t.Errorf("%s has the link-local addresses %q, and these cannot be used yet: %q", h.Name, all, tentative)
		}
	}
}
