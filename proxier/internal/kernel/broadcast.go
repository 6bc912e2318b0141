package kernel

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// broadcasts returns the broadcast addresses of the node's networks, as the table of local routes has them, which is
// what IPVS looks at. Addresses alone do not say. A link that is down has none, one may be given by hand, and up to
// Linux 5.13 the lowest address of a network was one, too (net/ipv4/fib_frontend.c, fib_add_ifaddr). The kernel leaves
// out all other routes (Linux 4.20, NETLINK_GET_STRICT_CHK).
func (l *link) broadcasts() (addrs []netip.Addr, err error) {
	l.batch.Reset()
	l.batch.Begin(unix.RTM_GETROUTE, 0)
	l.batch.Raw(unix.AF_INET, 0, 0, 0, unix.RT_TABLE_LOCAL, 0, 0, unix.RTN_BROADCAST, 0, 0, 0, 0)
	l.batch.End()
	err = l.socket.Dump(&l.batch, func() { addrs = nil }, func(payload []byte) {
		if addr, is := parseBroadcast(payload); is {
			addrs = append(addrs, addr)
		}
	})
	return sortAddrs(addrs), err
}

// parseBroadcast looks at the whole message, because a kernel that does not know the filter sends all routes.
func parseBroadcast(payload []byte) (addr netip.Addr, is bool) {
	if len(payload) < unix.SizeofRtMsg {
		return addr, false
	}
	family, bits, table, kind := payload[0], payload[1], payload[4], payload[7]
	netlink.Attributes(payload[unix.SizeofRtMsg:], func(attr uint16, value []byte) {
		if attr == unix.RTA_DST {
			addr, _ = netip.AddrFromSlice(value)
		}
	})
	return addr, family == unix.AF_INET && table == unix.RT_TABLE_LOCAL && kind == unix.RTN_BROADCAST &&
		addr.Is4() && int(bits) == addr.BitLen() && !addr.IsLoopback()
}
