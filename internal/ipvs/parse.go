package ipvs

import (
	"bytes"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// Service is a virtual server as the kernel shows it.
type Service struct {
	Key
	// Scheduler is the kernel's name of it. It lies in the message, and is good as long as that is.
	Scheduler []byte
	Flags     uint32
	Timeout   uint32 // of persistence, in seconds
	// WholeClient says that persistence goes by the whole address of a client, and not by its network.
	WholeClient bool
}

// The IPv4 netmask and the IPv6 prefix length by which persistence goes by whole addresses.
const (
	WholeMask4 = 0xffffffff
	WholeMask6 = 128
)

// ParseService reads the answer to GetService; false for a firewall mark, which has no address, and for what is no
// virtual server.
func ParseService(payload []byte) (s Service, ok bool) {
	var family uint16
	var addr []byte
	var mask uint32
	attributes(payload, AttrService, func(attr uint16, value []byte) {
		switch attr {
		case ServiceFamily:
			family = netlink.Uint16(value)
		case ServiceProtocol:
			s.Protocol = netlink.Uint16(value)
		case ServiceAddr:
			addr = value
		case ServicePort:
			s.Port = netlink.Uint16BE(value)
		case ServiceScheduler:
			s.Scheduler = bytes.TrimRight(value, "\x00")
		case ServiceFlags:
			s.Flags = netlink.Uint32(value)
		case ServiceTimeout:
			s.Timeout = netlink.Uint32(value)
		case ServiceMask:
			mask = netlink.Uint32(value)
		}
	})
	s.Addr = parseAddr(family, addr)
	s.WholeClient = family == unix.AF_INET && mask == WholeMask4 || family == unix.AF_INET6 && mask == WholeMask6
	return s, s.Addr.IsValid()
}

// Destination is a real server as the kernel shows it.
type Destination struct {
	Addr         netip.Addr
	Port         uint16
	Weight       uint32
	Upper, Lower uint32 // thresholds
	// Active and Inactive count its connections.
	Active, Inactive uint32
	// NAT says that packets are forwarded to it by exchanging addresses: the method that needs nothing of an endpoint.
	NAT bool
}

// ParseDestination reads the answer to GetDestination. A kernel that says no family means that of the virtual server.
func ParseDestination(payload []byte, of Key) (d Destination, ok bool) {
	family := AddressFamily(of.Addr)
	var addr []byte
	d.NAT = true
	attributes(payload, AttrDestination, func(attr uint16, value []byte) {
		switch attr {
		case DestinationAddr:
			addr = value
		case DestinationPort:
			d.Port = netlink.Uint16BE(value)
		case DestinationMethod:
			d.NAT = netlink.Uint32(value)&methodMask == 0
		case DestinationWeight:
			d.Weight = netlink.Uint32(value)
		case DestinationUpper:
			d.Upper = netlink.Uint32(value)
		case DestinationLower:
			d.Lower = netlink.Uint32(value)
		case DestinationActive:
			d.Active = netlink.Uint32(value)
		case DestinationInactive:
			d.Inactive = netlink.Uint32(value)
		case DestinationFamily:
			family = netlink.Uint16(value)
		}
	})
	d.Addr = parseAddr(family, addr)
	return d, d.Addr.IsValid()
}
