package ipset

import (
	"fmt"
	"net/netip"
)

// Family is an address family. Its number is the kernel's, wherever the kernel asks for one: NFPROTO_IPV4 and
// NFPROTO_IPV6 (include/uapi/linux/netfilter.h), which are AF_INET and AF_INET6 (include/linux/socket.h).
type Family uint8

// The families. A bitmap:port set has none: its Family is 0.
const (
	IPv4 Family = 2
	IPv6 Family = 10
)

// FamilyOf returns the family of a valid address.
func FamilyOf(addr netip.Addr) Family {
	if addr.Is4() {
		return IPv4
	}
	return IPv6
}

// String returns "ipv4" or "ipv6". For the words of ipset(8) see [Family.Keyword].
func (f Family) String() string {
	switch f {
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	case 0:
		return "none"
	}
	return fmt.Sprintf("family(%d)", uint8(f))
}

// Keyword returns "inet" or "inet6", as ipset(8) writes a set's family.
func (f Family) Keyword() string {
	switch f {
	case IPv4:
		return "inet"
	case IPv6:
		return "inet6"
	}
	return f.String()
}
