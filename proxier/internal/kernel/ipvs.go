package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	moby "github.com/moby/ipvs"
	"github.com/sirupsen/logrus"
	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// unmanaged is the scheduler under which Observe shows a virtual server that has something which we never set (a wider
// persistence netmask): no wanted one has that name, so that it is updated to what is wanted.
const unmanaged = "(changed by others)"

// The library writes to a log of its own, also that it could not load a module which is in the kernel already. What
// matters comes back as an error.
func init() { logrus.SetOutput(io.Discard) }

type ipvs struct {
	socket *netlink.Socket
	family uint16
	batch  netlink.Batch
	// reader lists real servers of IPv4; nil where netlink does.
	reader *wire.Reader
	expiry *expiry
	// servers is how many virtual servers there were at the last look, connections how many connections their real
	// servers had.
	servers, connections int
}

// familyOfIPVS returns the number of the generic netlink family. moby/ipvs loads the module where it is missing; where
// it is there, that would start modprobe for nothing.
func familyOfIPVS() (uint16, error) {
	family, err := vnl.GenlFamilyGet(wire.FamilyName)
	if err != nil {
		var loaded *moby.Handle
		if loaded, err = moby.New(""); err == nil {
			loaded.Close()
			family, err = vnl.GenlFamilyGet(wire.FamilyName)
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
	v := &ipvs{socket: socket, family: family, expiry: &expiry{}}
	if reader, err := wire.NewReader(32); err == nil {
		v.reader = reader
	}
	if _, err := v.timeout(dataplane.SysctlTCPTimeout); errors.Is(err, unix.EPERM) {
		return nil, errors.Join(denied(err, userNamespace()), v.close())
	}
	return v, nil
}

func (v *ipvs) close() error {
	errs := []error{v.socket.Close(), v.expiry.close()}
	if v.reader != nil {
		errs = append(errs, v.reader.Close())
	}
	return errors.Join(errs...)
}

func (v *ipvs) begin(command byte) { wire.Begin(&v.batch, v.family, command, 0) }

// apply sends virtual and real servers, many to a system call.
//
// The connections of real servers must not end while these are renewed, so the sysctl that ends them is off for that
// time. It is off while others are deleted, too. With it, Linux 5.9 and later ends, a tick after a deletion, all
// connections whose real server is away at that moment. One that is just being renewed would be among them
// (ip_vs_ctl.c, __ip_vs_del_dest; ip_vs_conn.c, ip_vs_expire_nodest_conn_flush, which does not look at the sysctl
// again). The next packet of a connection to a deleted one still ends it, as on all kernels.
func (v *ipvs) apply(ops []dataplane.Op) []error {
	if slices.ContainsFunc(
		ops, func(op dataplane.Op) bool { return op.Verb == dataplane.Renew || op.Verb == dataplane.Delete },
	) {
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
			v.begin([]byte{
				dataplane.Create: wire.NewService, dataplane.Update: wire.SetService, dataplane.Delete: wire.DelService,
			}[op.Verb])
			key(o.ID).Nest(&v.batch, func() {
				if op.Verb != dataplane.Delete {
					v.serviceConfig(o)
				}
			})
		case dataplane.RealServerObject:
			if op.Verb == dataplane.Renew {
				v.begin(wire.DelDestination)
				key(o.VirtualServer).Nest(&v.batch, nil)
				v.dest(o.RealServer, false)
				v.batch.EndWithNext()
			}
			v.begin([]byte{
				dataplane.Create: wire.NewDestination, dataplane.Renew: wire.NewDestination, dataplane.Update: wire.SetDestination,
				dataplane.Delete: wire.DelDestination,
			}[op.Verb])
			key(o.VirtualServer).Nest(&v.batch, nil)
			v.dest(o.RealServer, op.Verb != dataplane.Delete)
		}
		v.batch.End()
		if n := len(late); n > 0 && late[n-1].last == i {
			late[n-1].message = v.batch.Len()
			v.begin(wire.SetService)
			key(late[n-1].object.ID).Nest(&v.batch, func() { v.serviceConfig(late[n-1].object) })
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

// noScheduler is the kernel's name for no scheduler, since 3.18. A virtual server whose scheduler has a costly table is
// made without one. It gets its real servers, and then its scheduler, which builds one table. Connections that come in
// between, within some microseconds, are refused, as they were before the virtual server was there. Where a virtual
// server lives already each change builds its table: to be without a scheduler would cost it connections, and the
// kernel an RCU grace period.
const noScheduler = "none"

// costlyTable says whether the kernel's scheduler of that name has one. Tests exchange it.
var costlyTable = func(name string) bool {
	s, _ := scheduler.OfKernel(name)
	return s.CostlyTable
}

// lateTable is a virtual server that gets its scheduler after its real servers: operations server to last, and a
// message of its own.
type lateTable struct {
	server, last int
	object       dataplane.VirtualServerObject
	message      int
}

// realServersOf returns how many of the operations, from the first one on, create real servers of the new virtual
// server.
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

// undo takes away a virtual server that could not get its scheduler: creating it has failed, and with it its real
// servers.
func (v *ipvs) undo(l lateTable, why error, outcome []error) {
	v.batch.Reset()
	v.begin(wire.DelService)
	key(l.object.ID).Nest(&v.batch, nil)
	v.batch.End()
	outcome[l.server] = errors.Join(append(v.socket.Execute(&v.batch), why)...)
	for i := l.server + 1; i <= l.last; i++ {
		outcome[i] = errors.Join(outcome[i], unix.ESRCH)
	}
}

func key(id dataplane.VirtualServerID) wire.Key {
	return wire.Key{Protocol: uint16(id.Protocol), Addr: id.Addr, Port: id.Port}
}

func (v *ipvs) serviceConfig(o dataplane.VirtualServerObject) {
	flags := uint32(o.Flags)
	if o.Timeout > 0 {
		flags |= wire.Persistent
	}
	if o.OnePacket {
		flags |= wire.OnePacket
	}
	netmask := uint32(wire.WholeMask4)
	if o.ID.Addr.Is6() {
		netmask = wire.WholeMask6
	}
	v.batch.String(wire.ServiceScheduler, o.Scheduler)
	v.batch.Bytes(wire.ServiceFlags, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, flags),
		^uint32(0)))
	v.batch.Uint32(wire.ServiceTimeout, o.Timeout)
	v.batch.Uint32(wire.ServiceMask, netmask)
}

func (v *ipvs) dest(r dataplane.RealServer, config bool) {
	nest := v.batch.Nest(wire.AttrDestination)
	v.batch.Bytes(wire.DestinationAddr, r.Addr.AsSlice())
	v.batch.Uint16BE(wire.DestinationPort, r.Port)
	v.batch.Uint16(wire.DestinationFamily, wire.AddressFamily(r.Addr))
	if config {
		v.batch.Uint32(wire.DestinationMethod, 0) // IP_VS_CONN_F_MASQ
		v.batch.Uint32(wire.DestinationWeight, r.Weight)
		v.batch.Uint32(wire.DestinationUpper, r.Upper)
		v.batch.Uint32(wire.DestinationLower, r.Lower)
	}
	v.batch.EndNest(nest)
}

// observed is a virtual server, as yet without its real servers.
type observed struct {
	id dataplane.VirtualServerID
	dataplane.VirtualServer
}

// observe calls each for every virtual server but firewall marks. The list of its real servers is good until each
// returns. One may be there twice when others come and go meanwhile.
func (v *ipvs) observe(each func(dataplane.VirtualServerID, dataplane.VirtualServer)) error {
	servers := make([]observed, 0, v.servers)
	v.batch.Reset()
	v.begin(wire.GetService)
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
		err := v.destinations(o.id, func() { found, connections = found[:0], before }, func(d wire.Destination) {
			found, connections = append(found, realServer(d)), connections+int(d.Active)+int(d.Inactive)
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
	return v.look(id, func() {}, func(wire.Destination) {})
}

// look does so, and calls each for every real server; reset when it begins anew.
func (v *ipvs) look(
	id dataplane.VirtualServerID, reset func(), each func(wire.Destination),
) (server dataplane.VirtualServer, present bool, err error) {
	v.batch.Reset()
	v.begin(wire.GetService)
	key(id).Nest(&v.batch, nil)
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
		return server, false, fmt.Errorf("IPVS answers with %d bytes that hold no virtual server: %w",
			len(answer), unix.EBADMSG)
	}
	err = v.destinations(id, func() { server.RealServers = nil; reset() }, func(d wire.Destination) {
		server.RealServers = append(server.RealServers, realServer(d))
		each(d)
	})
	return server, err == nil, err
}

func parseService(payload []byte) (id dataplane.VirtualServerID, server dataplane.VirtualServer, ok bool) {
	w, ok := wire.ParseService(payload)
	if !ok {
		return id, server, false
	}
	id = dataplane.VirtualServerID{Addr: w.Addr, Port: w.Port, Protocol: cluster.Protocol(w.Protocol)}
	server.Scheduler, server.Flags = unmanaged, scheduler.Flags(w.Flags)&scheduler.FlagMask
	server.OnePacket = w.Flags&wire.OnePacket != 0
	if w.WholeClient {
		server.Scheduler = schedulerName(w.Scheduler)
	}
	if w.Flags&wire.Persistent != 0 {
		server.Timeout = w.Timeout
	}
	return id, server, true
}

// schedulerName returns the name of a scheduler; those of every day take no memory.
func schedulerName(value []byte) string {
	if s, known := scheduler.OfKernel(string(value)); known {
		return s.Kernel
	}
	return string(value)
}

func realServer(d wire.Destination) dataplane.RealServer {
	return dataplane.RealServer{
		Addr: d.Addr, Port: d.Port, Weight: d.Weight, Upper: d.Upper, Lower: d.Lower, Foreign: !d.NAT,
	}
}

func connections(d wire.Destination) dataplane.Connections {
	return dataplane.Connections{Addr: d.Addr, Port: d.Port, Active: d.Active, Inactive: d.Inactive}
}

// destinations lists the real servers of one virtual server; none when it does not exist.
func (v *ipvs) destinations(id dataplane.VirtualServerID, reset func(), each func(wire.Destination)) error {
	if v.reader != nil && id.Addr.Is4() {
		reset()
		err := v.reader.Destinations(key(id), each)
		if err == nil || errors.Is(err, unix.ESRCH) {
			return nil
		}
		// Whatever a kernel does not like about that interface, netlink has the answer.
		_ = v.reader.Close()
		v.reader = nil
	}
	v.batch.Reset()
	v.begin(wire.GetDestination)
	key(id).Nest(&v.batch, nil)
	v.batch.End()
	return v.socket.Dump(&v.batch, reset, func(payload []byte) {
		if d, ok := wire.ParseDestination(payload, key(id)); ok {
			each(d)
		}
	})
}
