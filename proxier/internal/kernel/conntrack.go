package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Numbers of connection tracking over netlink, from include/uapi/linux/netfilter/nfnetlink_conntrack.h (Linux 6.1).
const (
	ctSubsystem      = 1 // NFNL_SUBSYS_CTNETLINK
	ctGet, ctDelete  = 1, 2
	ctTupleOriginal  = 1
	ctTupleReply     = 2
	ctID, ctZone     = 12, 18
	ctFilter         = 25
	tupleIP          = 1
	tupleProto       = 2
	ip4Src, ip4Dst   = 1, 2
	ip6Src, ip6Dst   = 3, 4
	protoNumber      = 1
	protoSourcePort  = 2
	protoDestPort    = 3
	filterOriginal   = 1
	filterByProtocol = 1 << 3 // CTA_FILTER_F_CTA_PROTO_NUM in net/netfilter/nf_internals.h
)

// conntrack reads and deletes entries of connection tracking.
type conntrack struct {
	socket *netlink.Socket
	batch  netlink.Batch
	// unfiltered says that this kernel does not know the filter of a dump.
	unfiltered bool
}

func newConntrack() (*conntrack, error) {
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	return &conntrack{socket: socket}, nil
}

// Flow is an entry of connection tracking, with the fields that Forget and CutOff compare.
type Flow struct {
	Protocol cluster.Protocol
	// Client and FrontEnd are source and destination of the entry's original direction.
	Client, FrontEnd netip.AddrPort
	// Server is where answers come from: the real server that IPVS chose; FrontEnd, when IPVS had no part in it.
	Server netip.AddrPort
	// Answers is where answers go to: the client, or the address that it is masqueraded as.
	Answers netip.AddrPort
	Zone    uint16
}

// String returns for example "10.244.1.7:40000 -> 10.96.0.10:53 (10.244.1.9:5353)".
func (f Flow) String() string { return fmt.Sprintf("%s -> %s (%s)", f.Client, f.FrontEnd, f.Server) }

// stale reports whether the flow goes to one of the front ends, and not to one of its real servers.
func (f Flow) stale(frontEnds map[netip.AddrPort][]netip.AddrPort) bool {
	servers, named := frontEnds[f.FrontEnd]
	return named && f.Protocol == cluster.UDP && !slices.Contains(servers, f.Server)
}

// udpFrontEnds returns those that are UDP and of the family.
func udpFrontEnds(
	flows map[dataplane.VirtualServerID][]netip.AddrPort, family cluster.Family,
) map[netip.AddrPort][]netip.AddrPort {
	frontEnds := map[netip.AddrPort][]netip.AddrPort{}
	for id, servers := range flows {
		if id.Protocol == cluster.UDP && cluster.FamilyOf(id.Addr) == family {
			frontEnds[netip.AddrPortFrom(id.Addr, id.Port)] = servers
		}
	}
	return frontEnds
}

// Forget implements dataplane.Kernel. It reads the table of a family once. The kernel leaves out what is not UDP
// (CTA_FILTER, Linux 5.8; an older one returns all entries).
func (k *Linux) Forget(flows map[dataplane.VirtualServerID][]netip.AddrPort) (deleted int, err error) {
	for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		frontEnds := udpFrontEnds(flows, family)
		if len(frontEnds) == 0 {
			continue
		}
		n, failed := k.conntrack.deleteIf(family, cluster.UDP, func(f Flow) bool { return f.stale(frontEnds) })
		deleted += n
		if failed != nil {
			err = cmp.Or(err, fmt.Errorf("forget stale %s flows: %w", family, failed))
		}
	}
	return deleted, err
}

// deleteIf deletes the entries of the family and protocol (0: of any) that are to go. An entry is deleted by its tuple,
// zone and identity, so that a younger one of the same client stays.
func (c *conntrack) deleteIf(
	family cluster.Family, protocol cluster.Protocol, goes func(Flow) bool,
) (deleted int, err error) {
	var gone []entry
	err = c.dump(family, protocol, func() { gone = gone[:0] }, func(e entry) {
		if goes(e.Flow) {
			e.original = slices.Clone(e.original)
			gone = append(gone, e)
		}
	})
	if err != nil {
		return 0, err
	}
	c.batch.Reset()
	for _, e := range gone {
		c.begin(ctDelete, family)
		nest := c.batch.Nest(ctTupleOriginal)
		c.batch.Raw(e.original...)
		c.batch.EndNest(nest)
		if e.Zone != 0 {
			c.batch.Uint16BE(ctZone, e.Zone)
		}
		c.batch.Uint32BE(ctID, e.id)
		c.batch.End()
	}
	for i, failed := range c.socket.Execute(&c.batch) {
		switch {
		case failed == nil:
			deleted++
		case !errors.Is(failed, unix.ENOENT): // it has ended meanwhile
			err = cmp.Or(err, fmt.Errorf("%s: %w", gone[i].Flow, failed))
		}
	}
	return deleted, err
}

func (c *conntrack) begin(cmd uint16, family cluster.Family) {
	c.batch.Begin(ctSubsystem<<8|cmd, 0)
	c.batch.Raw(byte(family), 0, 0, 0) // struct nfgenmsg
}

// dump calls each for every entry of the family and protocol (0: of any), in whatever zone. The entry's original is
// valid during the call only. What has no ports may be among them.
func (c *conntrack) dump(family cluster.Family, protocol cluster.Protocol, reset func(), each func(entry)) error {
	filtered := !c.unfiltered && protocol != 0
	err := c.tryDump(family, protocol, filtered, reset, each)
	if filtered && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)) {
		err = c.tryDump(family, protocol, false, reset, each)
		c.unfiltered = err == nil
	}
	// nfnetlink says EINVAL when nobody answers for a subsystem and no module can be loaded that does.
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("the kernel does not show its connection tracking (module nf_conntrack_netlink); try: modprobe nf_conntrack_netlink: %w", err)
	}
	return err
}

func (c *conntrack) tryDump(
	family cluster.Family, protocol cluster.Protocol, filter bool, reset func(), each func(entry),
) error {
	c.batch.Reset()
	c.begin(ctGet, family)
	if filter {
		tuple := c.batch.Nest(ctTupleOriginal)
		proto := c.batch.Nest(tupleProto)
		c.batch.Uint8(protoNumber, uint8(protocol))
		c.batch.EndNest(proto)
		c.batch.EndNest(tuple)
		nest := c.batch.Nest(ctFilter)
		c.batch.Uint32(filterOriginal, filterByProtocol)
		c.batch.EndNest(nest)
	}
	c.batch.End()
	return c.socket.Dump(&c.batch, reset, func(payload []byte) {
		if e, ok := parseEntry(payload); ok && (protocol == 0 || e.Protocol == protocol) {
			each(e)
		}
	})
}

// entry is a Flow with what names it to the kernel.
type entry struct {
	Flow
	original []byte // the tuple as the kernel wrote it
	id       uint32
}

// parseEntry returns false for what has no addresses and ports.
func parseEntry(payload []byte) (e entry, ok bool) {
	const header = 4 // struct nfgenmsg
	netlink.Attributes(payload[min(header, len(payload)):], func(attr uint16, value []byte) {
		switch attr {
		case ctTupleOriginal:
			e.original = value
			var protocol uint8
			e.Client, e.FrontEnd, protocol = parseTuple(value)
			e.Protocol = cluster.Protocol(protocol)
		case ctTupleReply:
			e.Server, e.Answers, _ = parseTuple(value)
		case ctID:
			e.id = netlink.Uint32BE(value)
		case ctZone:
			e.Zone = netlink.Uint16BE(value)
		}
	})
	return e, e.FrontEnd.IsValid() && e.Server.IsValid()
}

func parseTuple(tuple []byte) (source, destination netip.AddrPort, protocol uint8) {
	var from, to netip.Addr
	var fromPort, toPort uint16
	netlink.Attributes(tuple, func(part uint16, value []byte) {
		netlink.Attributes(value, func(attr uint16, value []byte) {
			switch {
			case part == tupleIP && (attr == ip4Src || attr == ip6Src):
				from, _ = netip.AddrFromSlice(value)
			case part == tupleIP && (attr == ip4Dst || attr == ip6Dst):
				to, _ = netip.AddrFromSlice(value)
			case part == tupleProto && attr == protoNumber:
				protocol = netlink.Uint8(value)
			case part == tupleProto && attr == protoSourcePort:
				fromPort = netlink.Uint16BE(value)
			case part == tupleProto && attr == protoDestPort:
				toPort = netlink.Uint16BE(value)
			}
		})
	})
	return netip.AddrPortFrom(from, fromPort), netip.AddrPortFrom(to, toPort), protocol
}
