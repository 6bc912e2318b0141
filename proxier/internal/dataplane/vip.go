package dataplane

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// VIPMode says what makes a VIP local to this node, so that its packets come to IPVS at all.
type VIPMode uint8

// The modes. An address on our link is what other node agents know, and costs the kernel a walk over all addresses of
// the link. A route costs the same however many there are, is no event for programs that watch addresses, and lets the
// node's own clients keep an address of the node as their source.
const (
	ByAddress VIPMode = iota
	ByRoute
)

// String returns the mode's name, as an operator writes it.
func (m VIPMode) String() string {
	switch m {
	case ByAddress:
		return "address"
	case ByRoute:
		return "route"
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// ParseVIPMode reads a mode's name.
func ParseVIPMode(name string) (VIPMode, bool) {
	for _, m := range []VIPMode{ByAddress, ByRoute} {
		if m.String() == name {
			return m, true
		}
	}
	return ByAddress, false
}

// Sources are the addresses that clients on this node have as their source when they reach a VIP by its route and
// choose none themselves. An invalid one leaves the choice to the kernel: for IPv4 the VIP itself, as with an address;
// for IPv6, which takes none but addresses, one of the node's by RFC 6724.
type Sources struct{ IPv4, IPv6 netip.Addr }

// UnknownSource is the source, in the mirror, of a route of which it is not known whether it has one. No route is
// wanted with it.
var UnknownSource = netip.IPv6Unspecified()

// For returns the source of the VIP's family.
func (s Sources) For(vip netip.Addr) netip.Addr {
	if vip.Is4() {
		return s.IPv4
	}
	return s.IPv6
}

// Sources returns the addresses by which the cluster knows the node, as far as its links have them: the kernel takes no
// others. Where the cluster knows none the kernel's choice is better than a guess: any other address, such as that of a
// bridge, may be one to which nobody on another node can answer.
func (n Node) Sources() (s Sources) {
	for _, addr := range n.Primary {
		if !slices.Contains(n.Addresses, addr) {
			continue
		}
		if cluster.FamilyOf(addr) == cluster.IPv4 {
			s.IPv4 = addr
		} else {
			s.IPv6 = addr
		}
	}
	return s
}

// diffVIP compares what makes the VIP local: an address, a route, or for the time of a change of mode both.
func (d *differ) diffVIP(addr netip.Addr, have, want *State) {
	diffPresence(d, have.Addresses, want.Addresses, addr, Address{addr})
	source, present := have.Routes[addr]
	wanted, is := want.Routes[addr]
	switch {
	case is && !present:
		d.add(Create, Route{addr, wanted})
	case is && source != wanted:
		d.add(Update, Route{addr, wanted})
	case present && !is:
		d.add(Delete, Route{addr, source})
	}
}

// Local reports whether packets to the VIP come in on this node, by an address of our link or by a route of ours.
func (s *State) Local(vip netip.Addr) bool {
	_, address := s.Addresses[vip]
	_, route := s.Routes[vip]
	return address || route
}
