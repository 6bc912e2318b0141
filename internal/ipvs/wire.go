// Package ipvs speaks the kernel's two interfaces of IPVS: generic netlink, and getsockopt, which is older and cheaper
// to read.
//
// Numbers and structures are those of include/uapi/linux/ip_vs.h (Linux 6.12).
package ipvs

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// FamilyName is the name of the generic netlink family.
const FamilyName = "IPVS"

// Commands of the generic netlink family.
const (
	NewService, SetService, DelService, GetService                 = 1, 2, 3, 4
	NewDestination, SetDestination, DelDestination, GetDestination = 5, 6, 7, 8
	SetConfig, GetConfig                                           = 12, 13
)

// Attributes of a virtual server, in the nest AttrService.
const (
	AttrService = 1

	ServiceFamily, ServiceProtocol, ServiceAddr, ServicePort    = 1, 2, 3, 4
	ServiceScheduler, ServiceFlags, ServiceTimeout, ServiceMask = 6, 7, 8, 9
	// ServiceStats64 is a nest of counters of 64 bits, which Linux has since 4.1.
	ServiceStats64 = 12
)

// Counters in the nest ServiceStats64.
const (
	StatsConnections, StatsPacketsIn, StatsPacketsOut, StatsBytesIn, StatsBytesOut = 1, 2, 3, 4, 5
)

// Attributes of a real server, in the nest AttrDestination.
const (
	AttrDestination = 2

	DestinationAddr, DestinationPort, DestinationMethod, DestinationWeight                        = 1, 2, 3, 4
	DestinationUpper, DestinationLower, DestinationActive, DestinationInactive, DestinationFamily = 5, 6, 7, 8, 11
)

// Flags of a virtual server.
const (
	Persistent = 0x1
	OnePacket  = 0x4
)

// methodMask is IP_VS_CONN_F_FWD_MASK: the forwarding method, of which 0 is NAT.
const methodMask = 0x7

// Key names a virtual server.
type Key struct {
	Protocol uint16
	Addr     netip.Addr
	Port     uint16
}

// Begin begins a message of the generic netlink family, which has a number of its own on each machine.
func Begin(b *netlink.Batch, family uint16, command byte, flags uint16) {
	b.Begin(family, flags)
	b.Raw(command, 1, 0, 0) // struct genlmsghdr: command, version
}

// Nest adds the nest of the virtual server, with what more adds to it.
func (k Key) Nest(b *netlink.Batch, more func()) {
	nest := b.Nest(AttrService)
	b.Uint16(ServiceFamily, AddressFamily(k.Addr))
	b.Uint16(ServiceProtocol, k.Protocol)
	b.Bytes(ServiceAddr, k.Addr.AsSlice())
	b.Uint16BE(ServicePort, k.Port)
	if more != nil {
		more()
	}
	b.EndNest(nest)
}

// AddressFamily returns AF_INET or AF_INET6.
func AddressFamily(addr netip.Addr) uint16 {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// attributes calls each for the attributes of the nest that a generic netlink message carries.
func attributes(payload []byte, nest uint16, each func(attr uint16, value []byte)) {
	const header = 4 // struct genlmsghdr
	netlink.Attributes(payload[min(header, len(payload)):], func(attr uint16, value []byte) {
		if attr == nest {
			netlink.Attributes(value, each)
		}
	})
}

// parseAddr reads an address; what is none is the zero Addr. The kernel gives IPv4 addresses 16 bytes, too.
func parseAddr(family uint16, value []byte) netip.Addr {
	if family == unix.AF_INET && len(value) >= 4 {
		return netip.AddrFrom4([4]byte(value))
	}
	if family == unix.AF_INET6 && len(value) >= 16 {
		return netip.AddrFrom16([16]byte(value))
	}
	return netip.Addr{}
}
