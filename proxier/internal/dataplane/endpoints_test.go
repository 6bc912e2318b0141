package dataplane

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestUsable goes through every pair of conditions that two endpoints can have: ready ones are used; only where there is none,
// those that terminate and serve.
func TestUsable(t *testing.T) {
	var all []cluster.Endpoint
	for bits := range 8 {
		all = append(all, cluster.Endpoint{Ready: bits&1 != 0, Serving: bits&2 != 0, Terminating: bits&4 != 0})
	}
	words := func(endpoints []cluster.Endpoint) string {
		var text []string
		for _, e := range endpoints {
			text = append(text, e.Addr.String())
		}
		return strings.Join(text, " ")
	}
	for _, a := range all {
		for _, b := range all {
			a.Addr, b.Addr = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
			other := cluster.Endpoint{Addr: netip.MustParseAddr("fd00::1"), Ready: true}
			fallback := !a.Ready && !b.Ready
			var want []string
			for _, e := range []cluster.Endpoint{a, b} {
				if e.Ready || fallback && e.Serving && e.Terminating {
					want = append(want, e.Addr.String())
				}
			}
			t.Run(fmt.Sprintf("%+v and %+v", a, b), func(t *testing.T) {
				if got := words(usable([]cluster.Endpoint{a, other, b}, cluster.IPv4)); got != strings.Join(want, " ") {
					t.Errorf("used: %q, want %q", got, want)
				}
				// The ready one of the other family is no reason against the fallback of this one, and the other way round.
				if got := words(usable([]cluster.Endpoint{a, other, b}, cluster.IPv6)); got != "fd00::1" {
					t.Errorf("used of IPv6: %q", got)
				}
			})
		}
	}
}
