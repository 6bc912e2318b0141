//go:build kernel

package kernel_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
	"github.com/ipvs-proxier/ipvs-proxier/internal/ipvs/ipvstest"
	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// linuxFlows implements kerneltest.Flows in the namespace of the calling thread.
type linuxFlows struct{}

// newLinuxFlows makes ways on which packets leave and vanish.
func newLinuxFlows(t testing.TB) linuxFlows {
	t.Helper()
	shell(t, `
ip link add away type dummy; ip link set away up
ip addr add 192.168.77.1/32 dev away; ip route add 10.244.0.0/16 dev away; ip route add 192.0.2.0/24 dev away
ip -6 addr add fd00:77::1/128 dev away nodad; ip -6 route add fd00:244::/32 dev away; ip -6 route add 2001:db8::/32 dev away`)
	return linuxFlows{}
}

func (linuxFlows) Send(port uint16, to netip.AddrPort) error {
	c, err := net.DialUDP("udp", &net.UDPAddr{Port: int(port)}, net.UDPAddrFromAddrPort(to))
	// The way to an IPv6 address appears a little after the address.
	for deadline := time.Now().Add(20 * time.Second); errors.Is(err, unix.ENETUNREACH) && time.Now().Before(deadline); {
		c, err = net.DialUDP("udp", &net.UDPAddr{Port: int(port)}, net.UDPAddrFromAddrPort(to))
	}
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("x"))
	return err
}

func (f linuxFlows) Address(addr netip.Addr, present bool) error {
	return f.Network(netip.PrefixFrom(addr, addr.BitLen()), present)
}

func (linuxFlows) Network(network netip.Prefix, present bool) error {
	verb, more := "del", ""
	if present {
		verb = "add"
		if network.Addr().Is6() {
			more = "nodad"
		}
	}
	command := fmt.Sprintf("ip addr %s %s dev away %s", verb, network, more)
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return nil
}

// Track makes entries by netlink, without a packet.
func (linuxFlows) Track(flows ...kernel.Flow) error { return tryTrack(flows...) }

func (linuxFlows) List() (flows []kernel.Flow, err error) {
	for _, family := range []vnl.InetFamily{unix.AF_INET, unix.AF_INET6} {
		entries, err := vnl.ConntrackTableList(vnl.ConntrackTable, family)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if protocol := cluster.Protocol(e.Forward.Protocol); protocol == cluster.TCP || protocol == cluster.UDP {
				flows = append(flows, kernel.Flow{
					Protocol: protocol, Client: addrPort(e.Forward.SrcIP, e.Forward.SrcPort),
					FrontEnd: addrPort(e.Forward.DstIP, e.Forward.DstPort),
					Server:   addrPort(e.Reverse.SrcIP, e.Reverse.SrcPort), Answers: addrPort(e.Reverse.DstIP, e.Reverse.DstPort),
					Zone: e.Zone,
				})
			}
		}
	}
	return flows, nil
}

func addrPort(ip net.IP, port uint16) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(addr.Unmap(), port)
}

// track makes entries of connection tracking by netlink, without a packet.
func track(t testing.TB, flows ...kernel.Flow) {
	t.Helper()
	if err := tryTrack(flows...); err != nil {
		t.Fatal(err)
	}
}

func tryTrack(flows ...kernel.Flow) error {
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer socket.Close()
	var b netlink.Batch
	tuple := func(attr uint16, protocol cluster.Protocol, from, to netip.AddrPort) {
		nest, ip := b.Nest(attr), b.Nest(1)
		first := uint16(1)
		if from.Addr().Is6() {
			first = 3
		}
		b.Bytes(first, from.Addr().AsSlice())
		b.Bytes(first+1, to.Addr().AsSlice())
		b.EndNest(ip)
		proto := b.Nest(2)
		b.Uint8(1, uint8(protocol))
		b.Uint16BE(2, from.Port())
		b.Uint16BE(3, to.Port())
		b.EndNest(proto)
		b.EndNest(nest)
	}
	for _, f := range flows {
		family := byte(unix.AF_INET)
		if f.Client.Addr().Is6() {
			family = unix.AF_INET6
		}
		b.Begin(1<<8, unix.NLM_F_CREATE|unix.NLM_F_EXCL) // IPCTNL_MSG_CT_NEW
		b.Raw(family, 0, 0, 0)
		tuple(1, f.Protocol, f.Client, f.FrontEnd)
		tuple(2, f.Protocol, f.Server, f.Answers)
		b.Uint32BE(7, 1000) // CTA_TIMEOUT
		if f.Zone != 0 {
			b.Uint16BE(18, f.Zone)
		}
		switch f.Protocol {
		case cluster.TCP:
			info, tcp := b.Nest(4), b.Nest(1) // CTA_PROTOINFO, CTA_PROTOINFO_TCP
			b.Uint8(1, 3)                     // established
			b.EndNest(tcp)
			b.EndNest(info)
		case cluster.SCTP:
			info, sctp := b.Nest(4), b.Nest(3) // CTA_PROTOINFO_SCTP
			b.Uint8(1, 4)                      // established
			b.Uint32BE(2, 1)                   // verification tags of both directions
			b.Uint32BE(3, 2)
			b.EndNest(sctp)
			b.EndNest(info)
		}
		b.End()
	}
	return errors.Join(socket.Execute(&b)...)
}

var dns = dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.10"), Port: 53, Protocol: cluster.UDP}

// flow is the one of a client, whose number is n, to dns.
func flow(n int, server string) kernel.Flow {
	client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(n >> 8), byte(n)}), 40000)
	return kernel.Flow{
		Protocol: cluster.UDP, Client: client, Answers: client,
		FrontEnd: netip.AddrPortFrom(dns.Addr, dns.Port), Server: netip.MustParseAddrPort(server),
	}
}

// TestForgetLeavesTCP: an entry of TCP with the same addresses and ports stays.
func TestForgetLeavesTCP(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	udp := flow(1, "10.244.0.1:53")
	tcp := udp
	tcp.Protocol = cluster.TCP
	track(t, tcp, udp)
	if deleted, err := k.Forget(map[dataplane.VirtualServerID][]netip.AddrPort{dns: nil}); err != nil || deleted != 1 {
		t.Errorf("forgot %d, %v; want 1", deleted, err)
	}
	left, err := vnl.ConntrackTableList(vnl.ConntrackTable, unix.AF_INET)
	if err != nil || len(left) != 1 || left[0].Forward.Protocol != unix.IPPROTO_TCP {
		t.Errorf("left: %v, %v; want the TCP entry", left, err)
	}
}

// TestForgetInOtherZones: which zone a flow was tracked in does not matter.
func TestForgetInOtherZones(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	var flows []kernel.Flow
	for zone := range uint16(4) {
		stale, good := flow(1, "10.244.0.1:53"), flow(2, "10.244.0.2:53")
		stale.Zone, good.Zone = zone, zone
		flows = append(flows, stale, good)
	}
	if err := tryTrack(flows[2]); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel has no conntrack zones (CONFIG_NF_CONNTRACK_ZONES): make test-kernel KERNEL=qemu has")
	}
	track(t, slices.Delete(flows, 2, 3)...)
	deleted, err := k.Forget(map[dataplane.VirtualServerID][]netip.AddrPort{
		dns: {netip.MustParseAddrPort("10.244.0.2:53")},
	})
	if err != nil || deleted != 4 {
		t.Errorf("forgot %d, %v; want 4", deleted, err)
	}
	left, err := linuxFlows{}.List()
	if err != nil {
		t.Fatal(err)
	}
	zones := map[uint16]bool{}
	for _, f := range left {
		zones[f.Zone] = f.Server == netip.MustParseAddrPort("10.244.0.2:53")
	}
	if len(left) != 4 || !zones[0] || !zones[1] || !zones[2] || !zones[3] {
		t.Errorf("left: %v, want the good ones of zones 0 to 3", left)
	}
}

// TestForgetReadsTheTableOnce for each family, however many front ends are named.
func TestForgetReadsTheTableOnce(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	flows := map[dataplane.VirtualServerID][]netip.AddrPort{}
	for i := range 500 {
		flows[dataplane.VirtualServerID{
			Addr: netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}), Port: 53, Protocol: cluster.UDP,
		}] = nil
	}
	before := k.Traffic()
	if _, err := k.Forget(flows); err != nil {
		t.Fatal(err)
	}
	if sends := k.Traffic().Sends - before.Sends; sends != 1 {
		t.Errorf("%d sends, want 1", sends)
	}
}

// burst sends n datagrams. A socket returns an earlier refusal as the error of the next send, and sends nothing; burst
// then sends again. With no route and no address any more the node itself cannot send.
func burst(t *testing.T, c *net.UDPConn, n int) {
	t.Helper()
	for range n {
		_, err := c.Write([]byte("x"))
		for tries := 0; errors.Is(err, unix.ECONNREFUSED) && tries < 10; tries++ {
			_, err = c.Write([]byte("x"))
		}
		if err != nil && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EPERM) &&
			!errors.Is(err, unix.ENETUNREACH) {
			t.Fatal(err)
		}
	}
}

// dial opens a socket on the host. Its source address is one of the host's own.
func dial(t *testing.T, h *topology.Host, to netip.AddrPort) (c *net.UDPConn) {
	t.Helper()
	err := h.Do(func() (err error) {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// listener is a pod's server that counts what comes.
type listener struct {
	*net.UDPConn
	at    netip.AddrPort
	fence *net.UDPConn
}

// listen opens the server, and a node port of its own on which the client reaches it, the same number of hops away.
func listen(
	t *testing.T, node nodeKernel, client, pod *topology.Host, addr netip.Addr, fence netip.AddrPort,
) (l listener) {
	t.Helper()
	l.at = netip.AddrPortFrom(addr, 5353)
	id := dataplane.VirtualServerID{Addr: fence.Addr(), Port: fence.Port(), Protocol: cluster.UDP}
	node.do(t, dataplane.Create, dataplane.VirtualServerObject{ID: id, Scheduler: "rr"},
		dataplane.RealServerObject{
			VirtualServer: id, RealServer: dataplane.RealServer{Addr: addr, Port: l.at.Port(), Weight: 1},
		})
	err := pod.Do(func() (err error) {
		l.UDPConn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(l.at))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	l.fence = dial(t, client, fence)
	return l
}

// received returns how many datagrams have come since the last call. The last thing that comes is a datagram that the
// client sends on another way of the same length, which nothing sent before can be behind.
func (l listener) received(t *testing.T) (n int) {
	t.Helper()
	const end = "end"
	if _, err := l.fence.Write([]byte(end)); err != nil {
		t.Fatal(err)
	}
	if err := l.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	for {
		size, err := l.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if string(buffer[:size]) == end {
			return n
		}
		n++
	}
}

// forgets says when Forget is called, and "too early" that a datagram comes between it and the deletion.
var forgets = []string{"after", "too early", "never"}

// TestUDPSendersLeavePodsThatAreGone: BEHAVIOUR rows B13 to B15 and 111. One socket sends and never gets an answer,
// from a host outside, a pod and the node itself, to a ClusterIP and a node port. When Forget is called after the real
// server was deleted, no datagram is lost while there is another real server. Without it, and when it is called before,
// datagrams are lost for as long as IPVS takes to end the flow. None ever reaches the pod that is gone.
func TestUDPSendersLeavePodsThatAreGone(t *testing.T) {
	net, err := topology.New()
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	var pods [3]*topology.Host
	for i := range pods {
		if pods[i], err = net.AddPod(1, 2+i, fmt.Sprint("pod", i)); err != nil {
			t.Fatal(err)
		}
	}
	node := kernelOf(t, net.Node1)
	port := uint16(30000)
	for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		of := func(h *topology.Host) netip.Addr {
			if family == cluster.IPv6 {
				return h.IPv6
			}
			return h.IPv4
		}
		vip := netip.MustParseAddr(map[cluster.Family]string{
			cluster.IPv4: "10.96.0.1", cluster.IPv6: "fd00:10:96::1",
		}[family])
		for set, addr := range map[string]netip.Addr{dataplane.SetFrontEnd: vip, dataplane.SetNodePort: of(net.Node1)} {
			for _, client := range []*topology.Host{net.Outside, pods[2], net.Node1} {
				for _, forget := range forgets {
					port++
					s := stream{node: node, forget: forget, id: dataplane.VirtualServerID{
						Addr: addr, Port: port, Protocol: cluster.UDP,
					}, set: dataplane.SetName(set, family), vip: addr == vip}
					t.Run(fmt.Sprintf("%s from %s, forgetting %s", s.id, client.Name, forget), func(t *testing.T) {
						s.old = listen(t, node, client, pods[0], of(pods[0]), netip.AddrPortFrom(of(net.Node1), port+1000))
						s.young = listen(t, node, client, pods[1], of(pods[1]), netip.AddrPortFrom(of(net.Node1), port+2000))
						s.conn = dial(t, client, netip.AddrPortFrom(addr, port))
						s.run(t)
					})
				}
			}
		}
	}
}

// nodeKernel is the kernel of one host.
type nodeKernel struct {
	*kernel.Linux
	host *topology.Host
}

func kernelOf(t *testing.T, host *topology.Host) nodeKernel {
	t.Helper()
	n := nodeKernel{host: host}
	err := host.Do(func() error {
		n.Linux = openLinux(t)
		seen, err := n.Observe()
		if err != nil {
			return err
		}
		return errors.Join(n.Apply(from(seen.State, dataplane.Foundation(kerneltest.Config)))...)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n nodeKernel) do(t *testing.T, verb dataplane.Verb, objects ...dataplane.Object) {
	t.Helper()
	err := n.host.Do(func() error {
		var ops []dataplane.Op
		for _, o := range objects {
			ops = append(ops, dataplane.Op{Verb: verb, Object: o})
		}
		return errors.Join(n.Apply(ops)...)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// local waits until what is for the address stays on the node. An IPv6 address that was added is not local at once:
// that is left to a work queue of the kernel, also without duplicate address detection.
func (n nodeKernel) local(t *testing.T, addr netip.Addr) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		routes, err := n.host.Handle().RouteGet(addr.AsSlice())
		if err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not local: %v, %v", addr, routes, err)
		}
	}
}

// idle waits until IPVS has ended all connections of the front end: with the next tick of the clock, not at once.
func (n nodeKernel) idle(t *testing.T, id dataplane.VirtualServerID) {
	t.Helper()
	front := fmt.Sprintf(" %04X ", id.Port)
	for deadline := time.Now().Add(20 * time.Second); ; {
		var table []string
		err := n.host.Do(func() (err error) {
			table, err = ipvstest.Connections()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(table, func(line string) bool { return strings.Contains(line, front) }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("connections of %s do not end:\n%s", id, strings.Join(table, "\n"))
		}
	}
}

// stream is one run of TestUDPSendersLeavePodsThatAreGone.
type stream struct {
	node       nodeKernel
	forget     string
	id         dataplane.VirtualServerID
	set        string
	vip        bool
	old, young listener
	conn       *net.UDPConn
}

func (s stream) real(l listener) dataplane.RealServerObject {
	return dataplane.RealServerObject{
		VirtualServer: s.id, RealServer: dataplane.RealServer{Addr: l.at.Addr(), Port: l.at.Port(), Weight: 1},
	}
}

// frontEnd returns what makes a front end, in the order in which it goes.
func (s stream) frontEnd() []dataplane.Object {
	objects := []dataplane.Object{
		dataplane.VirtualServerObject{ID: s.id, Scheduler: "rr"},
		dataplane.SetEntry{Set: s.set, Type: ipset.HashIPPort, Entry: ipset.Entry{
			Addr: s.id.Addr, Protocol: ipset.Protocol(s.id.Protocol), Port: s.id.Port,
		}},
	}
	if s.vip {
		objects = append([]dataplane.Object{dataplane.Address{Addr: s.id.Addr}}, objects...)
	}
	return objects
}

// expect sees how many datagrams both pods got.
func (s stream) expect(t *testing.T, when string, old, young int) {
	t.Helper()
	if gotOld, gotYoung := s.old.received(t), s.young.received(t); gotOld != old || gotYoung != young {
		t.Errorf("%s: the old pod got %d datagrams, the young one %d; want %d and %d", when, gotOld, gotYoung, old, young)
	}
}

// delete deletes the objects, and calls Forget when it is due.
func (s stream) delete(t *testing.T, left []netip.AddrPort, objects ...dataplane.Object) {
	t.Helper()
	forget := func(least int) {
		t.Helper()
		if n, err := s.node.Forget(map[dataplane.VirtualServerID][]netip.AddrPort{s.id: left}); err != nil || n < least ||
			n > 1 {
			t.Errorf("forgot %d, %v; want %d to 1", n, err, least)
		}
	}
	if s.forget == "too early" {
		forget(1)
		burst(t, s.conn, 1)
		if s.old.received(t)+s.young.received(t) != 1 {
			t.Error("a flow that is forgotten does not go on to its real server")
		}
	}
	s.node.do(t, dataplane.Delete, objects...)
	if s.forget == "after" {
		forget(0) // IPVS may have been faster
	}
}

func (s stream) run(t *testing.T) {
	frontEnd := s.frontEnd()
	slices.Reverse(frontEnd)
	s.node.do(t, dataplane.Create, append(frontEnd, s.real(s.old))...)
	slices.Reverse(frontEnd)
	s.node.local(t, s.id.Addr)
	s.expect(t, "before", 0, 0) // all neighbours on the way have answered now
	burst(t, s.conn, 5)
	s.expect(t, "at first", 5, 0)

	s.node.do(t, dataplane.Create, s.real(s.young))
	s.delete(t, []netip.AddrPort{s.young.at}, s.real(s.old))
	if s.forget == "after" {
		burst(t, s.conn, 5)
		s.expect(t, "replaced", 0, 5)
	} else {
		for deadline := time.Now().Add(20 * time.Second); s.young.received(t) == 0; burst(t, s.conn, 1) {
			if time.Now().After(deadline) {
				t.Fatal("the flow never goes to the young pod")
			}
		}
		burst(t, s.conn, 5)
		s.expect(t, "replaced, and IPVS has ended the flow", 0, 5)
	}

	s.delete(t, nil, s.real(s.young))
	burst(t, s.conn, 5)
	s.expect(t, "scaled to 0", 0, 0)

	s.node.idle(t, s.id)
	s.node.do(t, dataplane.Create, s.real(s.young))
	burst(t, s.conn, 5)
	s.expect(t, "back again", 0, 5)

	s.delete(t, nil, frontEnd...)
	burst(t, s.conn, 5)
	s.expect(t, "without virtual server", 0, 0)
}

// TestFlowsOlderThanTheirVirtualServer: BEHAVIOUR rows B17 and B18. A sender from outside that was there before the
// front end is not masqueraded, because its conntrack entry was made without; once the entry is forgotten, it is, like
// all others.
func TestFlowsOlderThanTheirVirtualServer(t *testing.T) {
	net, err := topology.New()
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	pod, err := net.AddPod(1, 2, "pod")
	if err != nil {
		t.Fatal(err)
	}
	node := kernelOf(t, net.Node1)
	id := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 53, Protocol: cluster.UDP}
	s := stream{node: node, id: id, set: dataplane.SetName(dataplane.SetFrontEnd, cluster.IPv4), vip: true}
	s.old = listen(t, node, net.Outside, pod, pod.IPv4, netip.AddrPortFrom(net.Node1.IPv4, 30053))
	s.old.received(t) // all neighbours on the way have answered now
	s.conn = dial(t, net.Outside, netip.AddrPortFrom(id.Addr, id.Port))
	burst(t, s.conn, 1)
	node.awaitTracked(t, id, true)
	frontEnd := s.frontEnd()
	slices.Reverse(frontEnd)
	node.do(t, dataplane.Create, append(frontEnd, s.real(s.old))...)
	node.local(t, id.Addr)

	from := func() netip.Addr {
		t.Helper()
		burst(t, s.conn, 1)
		if err := s.old.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, client, err := s.old.ReadFromUDPAddrPort(make([]byte, 100))
		if err != nil {
			t.Fatal(err)
		}
		return client.Addr().Unmap()
	}
	if got := from(); got != net.Outside.IPv4 {
		t.Errorf("with the entry of before the pod sees %s, want %s: is there no need to forget it any more?", got, net.Outside.IPv4)
	}
	if n, err := node.Forget(map[dataplane.VirtualServerID][]netip.AddrPort{id: {s.old.at}}); err != nil || n != 1 {
		t.Errorf("forgot %d, %v; want 1", n, err)
	}
	if got := from(); got == net.Outside.IPv4 {
		t.Errorf("the pod sees %s, which is not masqueraded", got)
	}
}

// TestIdleUDPFlows: BEHAVIOUR row B38. How long an idle flow stays with its real server is IPVS's timeout alone, which
// takes the conntrack entry along; conntrack's own, when it is shorter, ends only what undoes the masquerade of an
// answer.
func TestIdleUDPFlows(t *testing.T) {
	for _, c := range []struct {
		name            string
		ipvs, conntrack string
		stays           bool
	}{
		{"conntrack forgets first", "60", "1", true},
		{"IPVS forgets first", "1", "60", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			net, err := topology.New()
			if err != nil {
				t.Fatal(err)
			}
			defer net.Close()
			node := kernelOf(t, net.Node1)
			id := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 53, Protocol: cluster.UDP}
			s := stream{node: node, id: id, set: dataplane.SetName(dataplane.SetFrontEnd, cluster.IPv4), vip: true}
			pods := map[*listener]uint16{&s.old: 2, &s.young: 3}
			for l, number := range pods {
				pod, err := net.AddPod(1, int(number), fmt.Sprint("pod", number))
				if err != nil {
					t.Fatal(err)
				}
				*l = listen(t, node, net.Outside, pod, pod.IPv4, netip.AddrPortFrom(net.Node1.IPv4, 30000+number))
				l.received(t) // all neighbours on the way have answered now
			}
			frontEnd := s.frontEnd()
			slices.Reverse(frontEnd)
			node.do(t, dataplane.Create, append(frontEnd, s.real(s.old), s.real(s.young))...)
			node.do(t, dataplane.Update, dataplane.Sysctl{Name: dataplane.SysctlUDPTimeout, Value: c.ipvs},
				dataplane.Sysctl{Name: "net.netfilter.nf_conntrack_udp_timeout", Value: c.conntrack})
			s.conn = dial(t, net.Outside, netip.AddrPortFrom(id.Addr, id.Port))
			to := func() netip.AddrPort {
				t.Helper()
				burst(t, s.conn, 1)
				if s.old.received(t) == 1 {
					return s.old.at
				}
				if s.young.received(t) != 1 {
					t.Fatal("no pod got the datagram")
				}
				return s.young.at
			}
			first := to()
			node.untracked(t, id)
			if second := to(); (second == first) != c.stays {
				t.Errorf("the first datagram went to %s, the second one to %s", first, second)
			}
		})
	}
}

// untracked waits until no conntrack entry of the front end is left.
func (n nodeKernel) untracked(t *testing.T, id dataplane.VirtualServerID) {
	n.awaitTracked(t, id, false)
}

// awaitTracked waits until there is a conntrack entry of the front end, or none.
func (n nodeKernel) awaitTracked(t *testing.T, id dataplane.VirtualServerID, want bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		var flows []kernel.Flow
		err := n.host.Do(func() (err error) {
			flows, err = linuxFlows{}.List()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(
			flows, func(f kernel.Flow) bool { return f.FrontEnd == netip.AddrPortFrom(id.Addr, id.Port) },
		) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("tracked are %v; want an entry of %s: %t", flows, id, want)
		}
	}
}

// BenchmarkForget reads a table of 50,000 entries, of which 100 are stale. TCP entries are left out by the kernel where
// it knows how to (Linux 5.8). The library is what it would take otherwise.
func BenchmarkForget(b *testing.B) {
	for _, protocol := range []cluster.Protocol{cluster.UDP, cluster.TCP} {
		b.Run("50000-"+protocol.String(), func(b *testing.B) {
			kerneltest.Own(b)
			k := openLinux(b)
			var flows, stale []kernel.Flow
			for i := range 50000 {
				flows = append(flows, flow(i, "10.244.0.2:53"))
				flows[i].Protocol = protocol
			}
			for i := range 100 {
				f := flow(i, "10.244.0.1:53")
				f.Client = netip.AddrPortFrom(f.Client.Addr(), 50000)
				f.Answers = f.Client
				stale = append(stale, f)
			}
			track(b, flows...)
			var took, library time.Duration
			for b.Loop() {
				track(b, stale...)
				began := time.Now()
				deleted, err := k.Forget(map[dataplane.VirtualServerID][]netip.AddrPort{
					dns: {netip.MustParseAddrPort("10.244.0.2:53")},
				})
				took += time.Since(began)
				if err != nil || deleted != 100 {
					b.Fatal(deleted, err)
				}
				began = time.Now()
				if _, err := vnl.ConntrackTableList(vnl.ConntrackTable, unix.AF_INET); err != nil {
					b.Fatal(err)
				}
				library += time.Since(began)
			}
			b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "ms/forget")
			b.ReportMetric(float64(library)/float64(took), "library-dump/forget")
		})
	}
}
