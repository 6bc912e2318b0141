package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	moby "github.com/moby/ipvs"
	"github.com/sirupsen/logrus"
	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Numbers of the generic netlink family IPVS, from include/uapi/linux/ip_vs.h (Linux 6.1).
const (
	cmdNewService, cmdSetService, cmdDelService, cmdGetService = 1, 2, 3, 4
	cmdNewDest, cmdSetDest, cmdDelDest, cmdGetDest             = 5, 6, 7, 8
	cmdSetConfig, cmdGetConfig                                 = 12, 13

	attrService, attrDest = 1, 2

	svcAF, svcProtocol, svcAddr, svcPort, svcFWMark, svcSched, svcFlags, svcTimeout, svcNetmask = 1, 2, 3, 4, 5, 6, 7, 8, 9

	destAddr, destPort, destMethod, destWeight, destUpper, destLower, destActive, destInactive, destAF = 1, 2, 3, 4, 5, 6, 7, 8, 11

	forwardingMask = 0x7 // IP_VS_CONN_F_FWD_MASK, of which 0 is NAT

	flagPersistent = 0x1
	flagOnePacket  = 0x4

	// The IPv4 netmask and the IPv6 prefix length by which persistence tells clients apart.
	netmask4, netmask6 = 0xffffffff, 128
)

// unmanaged is the scheduler under which Observe shows a virtual server that has something which we never set (a wider
// persistence netmask): no wanted one has that name, so that it is updated to what is wanted.
const unmanaged = "(changed by others)"

// The library writes to a log of its own, also that it could not load a module which is in the kernel already. What matters
// comes back as an error.
func init() { logrus.SetOutput(io.Discard) }

type ipvs struct {
	socket *netlink.Socket
	family uint16
	batch  netlink.Batch
	// reader lists real servers of IPv4; nil where netlink does.
	reader *destinationReader
	expiry *expiry
	// servers is how many virtual servers there were at the last look, connections how many connections their real servers had.
	servers, connections int
}

// familyOfIPVS returns the number of the generic netlink family. moby/ipvs loads the module where it is missing; where it is there, that would start modprobe
// for nothing.
func familyOfIPVS() (uint16, error) {
	family, err := vnl.GenlFamilyGet("IPVS")
	if err != nil {
		var loaded *moby.Handle
		if loaded, err = moby.New(""); err == nil {
			loaded.Close()
			family, err = vnl.GenlFamilyGet("IPVS")
		}
	}
	if err != nil {
		return 0, fmt.Errorf("the kernel has no IPVS (module ip_vs); try: modprobe ip_vs: %w", err)
	}
	return family.ID, nil
}

func newIPVS() (*ipvs, error) {
	family, err := familyOfIPVS()
	if err != nil {
		return nil, err
	}
	socket, err := netlink.Dial(unix.NETLINK_GENERIC)
	if err != nil {
		return nil, err
	}
	v := &ipvs{socket: socket, family: family, reader: newDestinationReader(), expiry: &expiry{}}
	if _, err := v.timeout(dataplane.SysctlTCPTimeout); errors.Is(err, unix.EPERM) {
		return nil, errors.Join(denied(err, userNamespace()), v.close())
	}
	return v, nil
}

func (v *ipvs) close() error {
	errs := []error{v.socket.Close(), v.expiry.close()}
	if v.reader != nil {
		errs = append(errs, v.reader.close())
	}
	return errors.Join(errs...)
}

func (v *ipvs) begin(cmd byte) {
	v.batch.Begin(v.family, 0)
	v.batch.Raw(cmd, 1, 0, 0) // struct genlmsghdr: command, version
}

// apply sends virtual and real servers, many to a system call.
//
// While real servers are renewed their connections must not be ended, so the sysctl that says so is off for that time. It is off
// while others are deleted, too: with it, Linux 5.9 and later ends a tick after a deletion all connections whose real server is
// away at that moment (ip_vs_ctl.c, __ip_vs_del_dest; ip_vs_conn.c, ip_vs_expire_nodest_conn_flush, which does not look at the sysctl
// again), and one that is just being renewed would be among them. The next packet of such a connection still ends it, as on all kernels.
func (v *ipvs) apply(ops []dataplane.Op) []error {
	if slices.ContainsFunc(ops, func(op dataplane.Op) bool { return op.Verb == dataplane.Renew || op.Verb == dataplane.Delete }) {
		v.expiry.Lock()
		defer v.expiry.Unlock()
		on, err := v.expiry.off()
		if err != nil {
			return slices.Repeat([]error{err}, len(ops))
		}
		defer on()
	}
	v.batch.Reset()
	var first []int // the message of each operation; a renewal has two
	var late []lateTable
	for i, op := range ops {
		first = append(first, v.batch.Len())
		switch o := op.Object.(type) {
		case dataplane.VirtualServerObject:
			if n := realServersOf(o, op.Verb, ops[i+1:]); costlyTable(o.Scheduler) && n > 1 {
				late = append(late, lateTable{server: i, last: i + n, object: o})
				o.Scheduler, o.Flags = noScheduler, 0
			}
			v.begin([]byte{dataplane.Create: cmdNewService, dataplane.Update: cmdSetService, dataplane.Delete: cmdDelService}[op.Verb])
			v.service(o.ID, func() {
				if op.Verb != dataplane.Delete {
					v.serviceConfig(o)
				}
			})
		case dataplane.RealServerObject:
			if op.Verb == dataplane.Renew {
				v.begin(cmdDelDest)
				v.service(o.VirtualServer, func() {})
				v.dest(o.RealServer, false)
				v.batch.EndWithNext()
			}
			v.begin([]byte{dataplane.Create: cmdNewDest, dataplane.Renew: cmdNewDest, dataplane.Update: cmdSetDest, dataplane.Delete: cmdDelDest}[op.Verb])
			v.service(o.VirtualServer, func() {})
			v.dest(o.RealServer, op.Verb != dataplane.Delete)
		}
		v.batch.End()
		if n := len(late); n > 0 && late[n-1].last == i {
			late[n-1].message = v.batch.Len()
			v.begin(cmdSetService)
			v.service(late[n-1].object.ID, func() { v.serviceConfig(late[n-1].object) })
			v.batch.End()
		}
	}
	errs := v.socket.Execute(&v.batch)
	outcome := make([]error, len(ops))
	for i, at := range first {
		outcome[i] = errs[at]
		if ops[i].Verb == dataplane.Renew && errs[at+1] != nil {
			outcome[i] = errors.Join(errs[at], errs[at+1])
		} else if ops[i].Verb == dataplane.Renew {
			outcome[i] = nil // also where there was none to be deleted
		}
	}
	for _, l := range late {
		if err := errs[l.message]; err != nil && outcome[l.server] == nil {
			v.undo(l, err, outcome)
		}
	}
	return outcome
}

// noScheduler is the kernel's name for no scheduler, since 3.18. A virtual server whose scheduler has a costly table is made
// without one. It gets its real servers, and then its scheduler, which builds one table. Connections that come in between,
// within some microseconds, are refused, as they were before the virtual server was there. Where a virtual server lives
// already each change builds its table: to be without a scheduler would cost it connections, and the kernel an RCU grace
// period.
const noScheduler = "none"

// costlyTable tells whether the kernel's scheduler of that name has one. Tests exchange it.
var costlyTable = func(name string) bool {
	s, _ := scheduler.OfKernel(name)
	return s.CostlyTable
}

// lateTable is a virtual server that gets its scheduler after its real servers: operations server to last, and a message of its own.
type lateTable struct {
	server, last int
	object       dataplane.VirtualServerObject
	message      int
}

// realServersOf returns how many of the operations, from the first one on, create real servers of the new virtual server.
func realServersOf(o dataplane.VirtualServerObject, verb dataplane.Verb, ops []dataplane.Op) (n int) {
	if verb != dataplane.Create {
		return 0
	}
	for n < len(ops) {
		r, is := ops[n].Object.(dataplane.RealServerObject)
		if !is || ops[n].Verb != dataplane.Create || r.VirtualServer != o.ID {
			break
		}
		n++
	}
	return n
}

// undo takes away a virtual server that could not get its scheduler: creating it has failed, and with it its real servers.
func (v *ipvs) undo(l lateTable, why error, outcome []error) {
	v.batch.Reset()
	v.begin(cmdDelService)
	v.service(l.object.ID, func() {})
	v.batch.End()
	outcome[l.server] = errors.Join(append(v.socket.Execute(&v.batch), why)...)
	for i := l.server + 1; i <= l.last; i++ {
		outcome[i] = errors.Join(outcome[i], unix.ESRCH)
	}
}

func (v *ipvs) service(id dataplane.VirtualServerID, config func()) {
	nest := v.batch.Nest(attrService)
	v.batch.Uint16(svcAF, addressFamily(id.Addr))
	v.batch.Uint16(svcProtocol, uint16(id.Protocol))
	v.batch.Bytes(svcAddr, id.Addr.AsSlice())
	v.batch.Uint16BE(svcPort, id.Port)
	config()
	v.batch.EndNest(nest)
}

func (v *ipvs) serviceConfig(o dataplane.VirtualServerObject) {
	flags := uint32(o.Flags)
	if o.Timeout > 0 {
		flags |= flagPersistent
	}
	if o.OnePacket {
		flags |= flagOnePacket
	}
	netmask := uint32(netmask4)
	if o.ID.Addr.Is6() {
		netmask = netmask6
	}
	v.batch.String(svcSched, o.Scheduler)
	v.batch.Bytes(svcFlags, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, flags), ^uint32(0)))
	v.batch.Uint32(svcTimeout, o.Timeout)
	v.batch.Uint32(svcNetmask, netmask)
}

func (v *ipvs) dest(r dataplane.RealServer, config bool) {
	nest := v.batch.Nest(attrDest)
	v.batch.Bytes(destAddr, r.Addr.AsSlice())
	v.batch.Uint16BE(destPort, r.Port)
	v.batch.Uint16(destAF, addressFamily(r.Addr))
	if config {
		v.batch.Uint32(destMethod, 0) // IP_VS_CONN_F_MASQ
		v.batch.Uint32(destWeight, r.Weight)
		v.batch.Uint32(destUpper, r.Upper)
		v.batch.Uint32(destLower, r.Lower)
	}
	v.batch.EndNest(nest)
}

func addressFamily(addr netip.Addr) uint16 {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// observed is a virtual server, as yet without its real servers.
type observed struct {
	id dataplane.VirtualServerID
	dataplane.VirtualServer
}

// observe calls each for every virtual server but firewall marks. The list of its real servers is good until each returns. One may be there twice when others
// come and go meanwhile.
func (v *ipvs) observe(each func(dataplane.VirtualServerID, dataplane.VirtualServer)) error {
	servers := make([]observed, 0, v.servers)
	v.batch.Reset()
	v.begin(cmdGetService)
	v.batch.End()
	err := v.socket.Dump(&v.batch, func() { servers = servers[:0] }, func(payload []byte) {
		if id, server, ok := parseService(payload); ok {
			servers = append(servers, observed{id, server})
		}
	})
	if err != nil {
		return err
	}
	v.servers = len(servers)
	connections := 0
	var found []dataplane.RealServer
	for _, o := range servers {
		before := connections
		err := v.destinations(o.id, func() { found, connections = found[:0], before }, func(d destination) {
			found, connections = append(found, d.realServer()), connections+int(d.active)+int(d.inactive)
		})
		if err != nil {
			return fmt.Errorf("real servers of %s: %w", o.id, err)
		}
		o.RealServers = found
		each(o.id, o.VirtualServer)
	}
	v.connections = connections
	return nil
}

// virtualServer reads one virtual server with its real servers.
func (v *ipvs) virtualServer(id dataplane.VirtualServerID) (server dataplane.VirtualServer, present bool, err error) {
	v.batch.Reset()
	v.begin(cmdGetService)
	v.service(id, func() {})
	v.batch.End()
	answer, err := v.socket.Ask(&v.batch)
	if errors.Is(err, unix.ESRCH) {
		return server, false, nil
	}
	if err != nil {
		return server, false, err
	}
	_, server, present = parseService(answer)
	if !present {
		return server, false, fmt.Errorf("IPVS answers with %d bytes that tell of no virtual server: %w", len(answer), unix.EBADMSG)
	}
	err = v.destinations(id, func() { server.RealServers = nil }, func(d destination) {
		server.RealServers = append(server.RealServers, d.realServer())
	})
	return server, err == nil, err
}

func parseService(payload []byte) (id dataplane.VirtualServerID, server dataplane.VirtualServer, ok bool) {
	var family uint16
	var addr []byte
	var flags, timeout, netmask uint32
	body(payload, attrService, func(attr uint16, value []byte) {
		switch attr {
		case svcAF:
			family = netlink.Uint16(value)
		case svcProtocol:
			id.Protocol = cluster.Protocol(netlink.Uint16(value))
		case svcAddr:
			addr = value
		case svcPort:
			id.Port = netlink.Uint16BE(value)
		case svcSched:
			server.Scheduler = schedulerName(value)
		case svcFlags:
			flags = netlink.Uint32(value)
		case svcTimeout:
			timeout = netlink.Uint32(value)
		case svcNetmask:
			netmask = netlink.Uint32(value)
		}
	})
	if addr == nil {
		return id, server, false // a firewall mark: never ours
	}
	id.Addr = parseAddr(family, addr)
	server.Flags = scheduler.Flags(flags) & scheduler.FlagMask
	if flags&flagPersistent != 0 {
		server.Timeout = timeout
	}
	whole := family == unix.AF_INET && netmask == netmask4 || family == unix.AF_INET6 && netmask == netmask6
	server.OnePacket = flags&flagOnePacket != 0
	if !whole {
		server.Scheduler = unmanaged
	}
	return id, server, id.Addr.IsValid()
}

// schedulerName returns the name of a scheduler; those of every day take no memory.
func schedulerName(value []byte) string {
	value = bytes.TrimRight(value, "\x00")
	if s, known := scheduler.OfKernel(string(value)); known {
		return s.Kernel
	}
	return string(value)
}

// body calls each for the attributes of the nest that a generic netlink message carries.
func body(payload []byte, nest uint16, each func(attr uint16, value []byte)) {
	const header = 4 // struct genlmsghdr
	netlink.Attributes(payload[min(header, len(payload)):], func(attr uint16, value []byte) {
		if attr == nest {
			netlink.Attributes(value, each)
		}
	})
}

func parseAddr(family uint16, value []byte) netip.Addr {
	if family == unix.AF_INET && len(value) >= 4 {
		return netip.AddrFrom4([4]byte(value))
	}
	if family == unix.AF_INET6 && len(value) >= 16 {
		return netip.AddrFrom16([16]byte(value))
	}
	return netip.Addr{}
}

// destination is a real server as the kernel shows it.
type destination struct {
	addr             netip.Addr
	port             uint16
	weight           uint32
	upper, lower     uint32
	active, inactive uint32
	// foreign tells that it has something which we never set: another forwarding method.
	foreign bool
}

func (d destination) realServer() dataplane.RealServer {
	return dataplane.RealServer{Addr: d.addr, Port: d.port, Weight: d.weight, Upper: d.upper, Lower: d.lower, Foreign: d.foreign}
}

func (d destination) connections() dataplane.Connections {
	return dataplane.Connections{Addr: d.addr, Port: d.port, Active: d.active, Inactive: d.inactive}
}

// destinations lists the real servers of one virtual server; none when it does not exist.
func (v *ipvs) destinations(id dataplane.VirtualServerID, reset func(), each func(destination)) error {
	if v.reader != nil && id.Addr.Is4() {
		reset()
		err := v.reader.each(id, each)
		if err == nil || errors.Is(err, unix.ESRCH) {
			return nil
		}
		// Whatever a kernel does not like about that interface, netlink has the answer.
		_ = v.reader.close()
		v.reader = nil
	}
	v.batch.Reset()
	v.begin(cmdGetDest)
	v.service(id, func() {})
	v.batch.End()
	return v.socket.Dump(&v.batch, reset, func(payload []byte) {
		d := destination{}
		family := addressFamily(id.Addr)
		var addr []byte
		body(payload, attrDest, func(attr uint16, value []byte) {
			switch attr {
			case destAddr:
				addr = value
			case destPort:
				d.port = netlink.Uint16BE(value)
			case destMethod:
				d.foreign = d.foreign || netlink.Uint32(value)&forwardingMask != 0
			case destWeight:
				d.weight = netlink.Uint32(value)
			case destUpper:
				d.upper = netlink.Uint32(value)
			case destLower:
				d.lower = netlink.Uint32(value)
			case destActive:
				d.active = netlink.Uint32(value)
			case destInactive:
				d.inactive = netlink.Uint32(value)
			case destAF:
				family = netlink.Uint16(value)
			}
		})
		if d.addr = parseAddr(family, addr); d.addr.IsValid() {
			each(d)
		}
	})
}
