package dataplane

import (
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Fate is what becomes of an endpoint of a Service port on this node.
type Fate struct {
	cluster.Endpoint
	// Internal says why cluster IPs leave it out, External why all other front ends do; empty where they do not.
	Internal, External LeftOut
}

// Fates returns what becomes of the endpoints of a port, in their order. It asks what Compile asks: [choose].
func Fates(s *cluster.Service, port *cluster.ServicePort) []Fate {
	fates := make([]Fate, len(port.Endpoints))
	at := make(map[netip.AddrPort]*Fate, len(port.Endpoints))
	for i, e := range port.Endpoints {
		fates[i].Endpoint = e
		at[netip.AddrPortFrom(e.Addr, e.Port)] = &fates[i]
	}
	type reasons map[netip.AddrPort]LeftOut
	note := func(r reasons) listener {
		return func(e *cluster.Endpoint, why LeftOut) { r[netip.AddrPortFrom(e.Addr, e.Port)] = why }
	}
	for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		ofCluster, ofLocal := reasons{}, reasons{}
		c := choose(port.Endpoints, family, note(ofCluster), note(ofLocal))
		internal, external := ofCluster, ofCluster
		if s.InternalLocal {
			internal = ofLocal
		}
		if _, noLocal := c.external(s.ExternalLocal); s.ExternalLocal && !noLocal {
			external = ofLocal
		}
		for where, why := range internal {
			at[where].Internal = why
		}
		for where, why := range external {
			at[where].External = why
		}
	}
	return fates
}
