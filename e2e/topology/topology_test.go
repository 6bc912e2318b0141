package topology

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestNodesHaveAddressesInBothFamilies(t *testing.T) {
	for n := 3; n <= 97; n++ {
		for _, text := range []string{fmt.Sprintf("192.168.50.%x", digits(n)), fmt.Sprintf("fd00:50::%x", digits(n))} {
			if _, err := netip.ParseAddr(text); err != nil {
				t.Errorf("node %d: %v", n, err)
			}
		}
		if got := fmt.Sprintf("%x", digits(n)); got != fmt.Sprint(n) {
			t.Errorf("node %d ends in %s", n, got)
		}
	}
}
