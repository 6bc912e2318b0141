package kernel

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

const (
	// routeProtocol distinguishes our routes from those of others (rtm_protocol). No list of such numbers that is known
	// to us has it, nor does iproute2's rt_protos.
	routeProtocol = 73
	// routeMetric puts our routes behind the kernel's own of the same address, which have 0, and beside them. For IPv4
	// two routes of one address and metric are one too many (net/ipv4/fib_trie.c, fib_table_insert, EEXIST). So a VIP
	// can have an address and a route while one takes the place of the other, and an address of the node itself is
	// never hidden.
	routeMetric = 73
)

// loopback is the link of our routes. [dataplane.Route] says why it is not the dummy link.
const loopback = "lo"

// routes returns our routes: those in the table of local ones, on the loopback link, with our protocol and metric. One
// dump for each family reads nothing else.
func (l *link) routes(families []cluster.Family) (map[netip.Addr]netip.Addr, error) {
	index, err := l.numbers.of(loopback)
	if err != nil {
		return nil, err
	}
	routes := map[netip.Addr]netip.Addr{}
	for _, family := range families {
		found, err := l.localRoutes(routeKind{byte(family), routeProtocol, routeMetric, index})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", family, err)
		}
		maps.Copy(routes, found)
	}
	return routes, nil
}

// routeKind is what a dump of routes looks for.
type routeKind struct {
	family, protocol byte
	metric           uint32
	link             int
}

// localRoutes returns the routes of the kind in the table of local ones, each with its preferred source.
func (l *link) localRoutes(kind routeKind) (map[netip.Addr]netip.Addr, error) {
	l.batch.Reset()
	l.batch.Begin(unix.RTM_GETROUTE, 0)
	l.batch.Raw(kind.family, 0, 0, 0, unix.RT_TABLE_LOCAL, kind.protocol, 0, unix.RTN_LOCAL, 0, 0, 0, 0)
	l.batch.Uint32(unix.RTA_OIF, uint32(kind.link))
	l.batch.End()
	found := map[netip.Addr]netip.Addr{}
	err := l.socket.Dump(&l.batch, func() { clear(found) }, func(payload []byte) {
		if addr, source, is := parseRoute(payload, kind); is {
			found[addr] = source
		}
	})
	return found, err
}

// parseRoute reads what we set, and passes over what the kernel adds (scope, preference, cache). Its answers are looked
// at whole, because a kernel that does not know the filter sends all routes of all families.
func parseRoute(payload []byte, want routeKind) (addr, source netip.Addr, is bool) {
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
	is = addr.IsValid() && int(bits) == addr.BitLen() && table == unix.RT_TABLE_LOCAL && kind == unix.RTN_LOCAL &&
		routeKind{of, protocol, metric, int(link)} == want
	return addr, source, is
}

func number(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// applyRoutes adds, replaces and deletes routes, many to a system call.
func (l *link) applyRoutes(ops []dataplane.Op) []error {
	index, err := l.numbers.of(loopback)
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
	early, err := l.addressesWithoutRoute(ops)
	errs := make([]error, len(ops))
	l.batch.Reset()
	var sent []int
	for i, op := range ops {
		r := op.Object.(dataplane.Route)
		if _, is := early[r.Addr]; is && op.Verb == dataplane.Delete {
			if errs[i] = err; err == nil {
				errs[i] = fmt.Errorf("the address that takes its place has no route of its own after %s: %w",
					addressRouteWait, unix.EBUSY)
			}
			continue
		}
		sent = append(sent, i)
		l.route(op.Verb, r, index)
	}
	for j, err := range l.socket.Execute(&l.batch) {
		errs[sent[j]] = err
	}
	return errs
}

// addressRouteWait is how long the kernel may take for the routes of addresses. Thousands take it a fraction of that.
const addressRouteWait = 2 * time.Second

// addressesWithoutRoute returns the IPv6 addresses of our link that the kernel has not made a route for yet, of those
// whose own route is to be deleted. An IPv6 address gets its route by deferred work, some time after it was
// acknowledged (net/ipv6/addrconf.c, addrconf_dad_work, Linux 6.1; without duplicate address detection, too). To delete
// ours before that would leave the VIP to nobody. With an error it is all of them.
func (l *link) addressesWithoutRoute(ops []dataplane.Op) (map[netip.Addr]struct{}, error) {
	waiting := map[netip.Addr]struct{}{}
	for _, op := range ops {
		if addr := op.Object.(dataplane.Route).Addr; op.Verb == dataplane.Delete && addr.Is6() {
			waiting[addr] = struct{}{}
		}
	}
	if len(waiting) == 0 {
		return nil, nil
	}
	index, err := l.index()
	if err == nil && index == 0 {
		return nil, nil // no link, no addresses
	}
	bound := map[netip.Addr]struct{}{}
	if err == nil {
		err = l.addressesOf(index, bound)
	}
	if err != nil {
		return waiting, err
	}
	maps.DeleteFunc(waiting, func(addr netip.Addr, _ struct{}) bool { _, is := bound[addr]; return !is })
	for deadline := time.Now().Add(addressRouteWait); err == nil && len(waiting) > 0; time.Sleep(time.Millisecond) {
		var routed map[netip.Addr]netip.Addr
		if routed, err = l.localRoutes(routeKind{unix.AF_INET6, unix.RTPROT_KERNEL, 0, index}); err == nil {
			maps.DeleteFunc(waiting, func(addr netip.Addr, _ struct{}) bool { _, is := routed[addr]; return is })
		}
		if time.Now().After(deadline) {
			break
		}
	}
	return waiting, err
}

// route writes one message. An update puts the route in place at one stroke, whether there is one already or not:
// packets find the old one or the new one.
func (l *link) route(verb dataplane.Verb, r dataplane.Route, index int) {
	kind, flags := uint16(unix.RTM_NEWROUTE), uint16(unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	switch verb {
	case dataplane.Update:
		flags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	case dataplane.Delete:
		kind, flags = unix.RTM_DELROUTE, 0
	}
	l.batch.Begin(kind, flags)
	l.batch.Raw(byte(wire.AddressFamily(r.Addr)), byte(r.Addr.BitLen()), 0, 0, unix.RT_TABLE_LOCAL, routeProtocol,
		unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0)
	l.batch.Bytes(unix.RTA_DST, r.Addr.AsSlice())
	l.batch.Uint32(unix.RTA_OIF, uint32(index))
	l.batch.Uint32(unix.RTA_PRIORITY, routeMetric)
	if r.Source.IsValid() && verb != dataplane.Delete {
		l.batch.Bytes(unix.RTA_PREFSRC, r.Source.AsSlice())
	}
	l.batch.End()
}
