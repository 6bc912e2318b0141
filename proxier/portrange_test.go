package proxier

import (
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestProtectedPorts: a port without a protocol is one of TCP; each protocol has its own.
func TestProtectedPorts(t *testing.T) {
	c := Default()
	c.ProtectedPorts = []string{"22", " 4789/udp", "5000-5001/SCTP", "6000/tcp"}
	protects := c.protects()
	for _, p := range []struct {
		protocol cluster.Protocol
		port     uint16
		want     bool
	}{
		{cluster.TCP, 22, true}, {cluster.UDP, 22, false}, {cluster.SCTP, 22, false},
		{cluster.UDP, 4789, true}, {cluster.TCP, 4789, false}, {cluster.UDP, 4788, false},
		{cluster.SCTP, 5000, true}, {cluster.SCTP, 5001, true}, {cluster.TCP, 5001, false}, {cluster.SCTP, 5002, false},
		{cluster.TCP, 6000, true}, {cluster.TCP, 10256, true}, {cluster.UDP, 10256, false},
	} {
		if got := protects(p.protocol, p.port); got != p.want {
			t.Errorf("%s %d is protected: %v, want %v", p.protocol, p.port, got, p.want)
		}
	}
	for _, wrong := range []string{
		"", "/udp", "22/", "22/icmp", "22/udp/tcp", "22udp", "0/udp", "65536", "3-2/udp", "udp/22",
	} {
		if _, err := parsePorts([]string{"22", wrong}); err == nil ||
			!strings.Contains(err.Error(), `"`+wrong+`" is not a port`) ||
			!strings.Contains(err.Error(), "4789/udp") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// TestProtectedByDefault: what cuts a node off is; what Services serve at the nodes' own addresses is not.
func TestProtectedByDefault(t *testing.T) {
	c := Default()
	protects := c.protects()
	for _, port := range []uint16{68, 546, 4789, 6081, 8472, 51820, 51821, 51871} {
		if !protects(cluster.UDP, port) || protects(cluster.TCP, port) {
			t.Errorf("%d is not protected by UDP alone", port)
		}
	}
	for _, port := range []uint16{53, 123, 443, 22} {
		if protects(cluster.UDP, port) {
			t.Errorf("%d is protected by UDP", port)
		}
	}
	c.ProtectedPorts = nil
	if c.protects()(cluster.UDP, 4789) || c.protects()(cluster.TCP, 10256) {
		t.Error("no list, and something is protected")
	}
}
