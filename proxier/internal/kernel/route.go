package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/ipset/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

const (
	// routeProtocol tells our routes from those of others (rtm_protocol). It stands in nobody's list of numbers that is known to us,
	// nor in iproute2's rt_protos.
	routeProtocol = 73
	// routeMetric puts our routes behind the kernel's own of the same address, which have 0, and beside them: for IPv4 two routes of
	// one address and metric are one too many (net/ipv4/fib_trie.c, fib_table_insert, EEXIST). So a VIP can have an address and a
	// route while one takes the place of the other, and an address of the node itself is never hidden.
	routeMetric = 73
)

// loopback is the link of our routes. Why it is not the dummy link is told at [dataplane.Route].
const loopback = "lo"

// routes returns our routes: those in the table of local ones, on the loopback link, with our protocol and metric. One dump for each family
// reads nothing else.
func (l *link) routes(families []cluster.Family) (map[netip.Addr]netip.Addr, error) {
	index, err := indexOf(loopback)
	if err != nil {
		return nil, err
	}
	routes := map[netip.Addr]netip.Addr{}
	for _, family := range families {
		of := byte(unix.AF_INET)
		if family == cluster.IPv6 {
			of = unix.AF_INET6
		}
		l.batch.Reset()
		l.batch.Begin(unix.RTM_GETROUTE, 0)
		l.batch.Raw(of, 0, 0, 0, unix.RT_TABLE_LOCAL, routeProtocol, 0, unix.RTN_LOCAL, 0, 0, 0, 0)
		l.batch.Uint32(unix.RTA_OIF, uint32(index))
		l.batch.End()
		found := map[netip.Addr]netip.Addr{}
		err := l.socket.Dump(&l.batch, func() { clear(found) }, func(payload []byte) {
			if addr, source, ours := parseRoute(payload, of, index); ours {
				found[addr] = source
			}
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", family, err)
		}
		for addr, source := range found {
			routes[addr] = source
		}
	}
	return routes, nil
}

// parseRoute reads what we set, and passes over what the kernel adds (scope, preference, cache). Its answers are looked at whole, because a
// kernel that does not know the filter sends all routes of all families.
func parseRoute(payload []byte, family byte, index int) (addr, source netip.Addr, ours bool) {
	if len(payload) < unix.SizeofRtMsg {
		return addr, source, false
	}
	of, bits, table, protocol, kind := payload[0], payload[1], payload[4], payload[5], payload[7]
	var link, metric uint32
	netlink.Attributes(payload[unix.SizeofRtMsg:], func(attr uint16, value []byte) {
		switch attr {
		case unix.RTA_DST:
			addr, _ = netip.AddrFromSlice(value)
		case unix.RTA_PREFSRC:
			source, _ = netip.AddrFromSlice(value)
		case unix.RTA_OIF:
			link = number(value)
		case unix.RTA_PRIORITY:
			metric = number(value)
		}
	})
	ours = of == family && addr.IsValid() && int(bits) == addr.BitLen() && table == unix.RT_TABLE_LOCAL && protocol == routeProtocol &&
		kind == unix.RTN_LOCAL && int(link) == index && metric == routeMetric
	return addr, source, ours
}

func number(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// applyRoutes adds, replaces and deletes routes, many to a system call.
func (l *link) applyRoutes(ops []dataplane.Op) []error {
	index, err := indexOf(loopback)
	if err == nil && index == 0 {
		err = fmt.Errorf("there is no link %s: %w", loopback, unix.ENODEV)
	}
	if err != nil {
		errs := make([]error, len(ops))
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	l.batch.Reset()
	for _, op := range ops {
		l.route(op.Verb, op.Object.(dataplane.Route), index)
	}
	return l.socket.Execute(&l.batch)
}

// route writes one message. An update puts the route in place at one stroke, whether there is one already or not: packets find the old
// one or the new one.
func (l *link) route(verb dataplane.Verb, r dataplane.Route, index int) {
	kind, flags := uint16(unix.RTM_NEWROUTE), uint16(unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	switch verb {
	case dataplane.Update:
		flags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	case dataplane.Delete:
		kind, flags = unix.RTM_DELROUTE, 0
	}
	l.batch.Begin(kind, flags)
	l.batch.Raw(byte(addressFamily(r.Addr)), byte(r.Addr.BitLen()), 0, 0, unix.RT_TABLE_LOCAL, routeProtocol, unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0)
	l.batch.Bytes(unix.RTA_DST, r.Addr.AsSlice())
	l.batch.Uint32(unix.RTA_OIF, uint32(index))
	l.batch.Uint32(unix.RTA_PRIORITY, routeMetric)
	if r.Source.IsValid() && verb != dataplane.Delete {
		l.batch.Bytes(unix.RTA_PREFSRC, r.Source.AsSlice())
	}
	l.batch.End()
}
