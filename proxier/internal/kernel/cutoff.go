package kernel

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// CutOff implements dataplane.Kernel. It reads the table of a family once. Where all front ends have the same protocol,
// the kernel leaves out the others.
func (k *Linux) CutOff(allowed map[dataplane.VirtualServerID][]netip.Prefix) (deleted int, err error) {
	for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		protocol, any := protocolOf(allowed, family)
		if !any {
			continue
		}
		n, failed := k.conntrack.deleteIf(family, protocol, func(f Flow) bool { return f.denied(allowed) })
		deleted += n
		if failed != nil {
			err = cmp.Or(err, fmt.Errorf("cut off %s clients: %w", family, failed))
		}
	}
	return deleted, err
}

// denied reports whether the flow is one of a client outside of the networks that a front end is open to. The entry may
// have begun with an answer: then the client and the front end stand in its reply direction (ip_vs_nfct.c,
// ip_vs_update_conntrack, Linux 6.12).
func (f Flow) denied(allowed map[dataplane.VirtualServerID][]netip.Prefix) bool {
	outside := func(client, frontEnd netip.AddrPort) bool {
		networks, named := allowed[dataplane.VirtualServerID{
			Addr: frontEnd.Addr(), Port: frontEnd.Port(), Protocol: f.Protocol,
		}]
		return named && !slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(client.Addr()) })
	}
	return outside(f.Client, f.FrontEnd) || outside(f.Server, f.Answers)
}

// protocolOf returns the protocol of all the front ends of the family, 0 when there are several; any reports whether
// there is one.
func protocolOf(
	frontEnds map[dataplane.VirtualServerID][]netip.Prefix, family cluster.Family,
) (protocol cluster.Protocol, any bool) {
	for id := range frontEnds {
		switch {
		case cluster.FamilyOf(id.Addr) != family:
		case !any:
			protocol, any = id.Protocol, true
		case id.Protocol != protocol:
			return 0, true
		}
	}
	return protocol, any
}
