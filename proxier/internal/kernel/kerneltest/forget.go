package kerneltest

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// Flows makes entries of connection tracking in a kernel, shows those that it has, and changes the node's addresses.
// There must be a way to 10.244.0.0/16, 192.0.2.0/24, fd00:244::/32 and 2001:db8::/32, at the end of which nobody
// answers.
type Flows interface {
	// Send sends a UDP datagram from the port of an own address.
	Send(port uint16, to netip.AddrPort) error
	// Track makes entries without a packet.
	Track(...kernel.Flow) error
	// List returns the entries of TCP and UDP.
	List() ([]kernel.Flow, error)
	// Address gives the node an address, or takes it away.
	Address(addr netip.Addr, present bool) error
	// Network gives the node an address with the network that it is in, or takes both away.
	Network(network netip.Prefix, present bool) error
}

// send sends a datagram.
func (s *suite) send(port uint16, to netip.AddrPort) {
	s.Helper()
	if err := s.flows.Send(port, to); err != nil {
		s.Fatal(err)
	}
}

// tracked sees that exactly these flows are tracked, written "port of the client, front end, real server".
func (s *suite) tracked(want ...string) {
	s.Helper()
	flows, err := s.flows.List()
	if err != nil {
		s.Fatal(err)
	}
	var got []string
	for _, f := range flows {
		if f.Protocol != cluster.UDP {
			continue
		}
		got = append(got, fmt.Sprintf("%d %s %s", f.Client.Port(), f.FrontEnd, f.Server))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		s.Fatalf("tracked (-want +got):\n%s", diff)
	}
}

func (s *suite) forgets(flows map[dataplane.VirtualServerID][]netip.AddrPort, want int) {
	s.Helper()
	if deleted, err := s.k.Forget(flows); err != nil || deleted != want {
		s.Fatalf("forgot %d flows, %v; want %d", deleted, err, want)
	}
}

// forget: what goes to a front end and not to its real servers is deleted, and nothing else. What goes to another front
// end stays, to another port of the same address, or to a foreign host on the same port (kubernetes#49881). So does the
// other family.
func (s *suite) forget() {
	s.become(dataplane.NewWant(dataplane.Foundation(Config)).State)
	type family struct{ vip, other, old, new, foreign netip.Addr }
	at := netip.MustParseAddr
	v4 := family{at("10.96.0.1"), at("10.96.0.2"), at("10.244.0.1"), at("10.244.0.2"), at("192.0.2.1")}
	v6 := family{at("fd00:96::1"), at("fd00:96::2"), at("fd00:244::1"), at("fd00:244::2"), at("2001:db8::1")}
	front := func(addr netip.Addr, port uint16) dataplane.VirtualServerID {
		return dataplane.VirtualServerID{Addr: addr, Port: port, Protocol: cluster.UDP}
	}
	to := netip.AddrPortFrom
	line := func(client int, frontEnd, server netip.AddrPort) string {
		return fmt.Sprintf("%d %s %s", client, frontEnd, server)
	}
	real := func(id dataplane.VirtualServerID, addr netip.Addr) dataplane.RealServerObject {
		return dataplane.RealServerObject{
			VirtualServer: id, RealServer: dataplane.RealServer{Addr: addr, Port: 5353, Weight: 1},
		}
	}
	var stay []string
	for _, f := range []family{v4, v6} {
		for _, addr := range []netip.Addr{f.vip, f.other} {
			s.do(op(dataplane.Create, dataplane.Address{Addr: addr}))
		}
		for i, id := range []dataplane.VirtualServerID{front(f.vip, 53), front(f.vip, 54), front(f.other, 53)} {
			s.do(op(dataplane.Create, dataplane.VirtualServerObject{ID: id, Scheduler: "rr"}),
				op(dataplane.Create, real(id, f.old)))
			s.send(uint16(40001+i), to(id.Addr, id.Port))
		}
		s.send(40004, to(f.foreign, 53))
		// The old one stays, because Linux from 5.9 on ends the flows of one that is deleted.
		quiet := real(front(f.vip, 53), f.old)
		quiet.Weight = 0
		s.do(op(dataplane.Update, quiet), op(dataplane.Create, real(front(f.vip, 53), f.new)))
		s.send(40005, to(f.vip, 53))
		stay = append(stay, line(40002, to(f.vip, 54), to(f.old, 5353)), line(40003, to(f.other, 53), to(f.old, 5353)),
			line(40004, to(f.foreign, 53), to(f.foreign, 53)))
	}
	old := func(f family) string { return line(40001, to(f.vip, 53), to(f.old, 5353)) }
	young := func(f family) string { return line(40005, to(f.vip, 53), to(f.new, 5353)) }
	s.tracked(append(slices.Clone(stay), old(v4), young(v4), old(v6), young(v6))...)

	s.forgets(nil, 0)
	tcp := front(v4.vip, 53)
	tcp.Protocol = cluster.TCP
	s.forgets(map[dataplane.VirtualServerID][]netip.AddrPort{tcp: nil, front(v4.vip, 55): nil}, 0)
	s.forgets(map[dataplane.VirtualServerID][]netip.AddrPort{
		front(v4.vip, 53): {to(v4.new, 5353)}, front(v4.other, 53): {to(v4.new, 5353), to(v4.old, 5353)},
	}, 1)
	s.tracked(append(slices.Clone(stay), young(v4), old(v6), young(v6))...)
	// The same address on another port is another real server.
	s.forgets(map[dataplane.VirtualServerID][]netip.AddrPort{
		front(v4.vip, 53): {to(v4.new, 53)}, front(v6.vip, 53): {to(v6.new, 5353)},
	}, 2)
	s.tracked(append(slices.Clone(stay), young(v6))...)
	s.forgets(map[dataplane.VirtualServerID][]netip.AddrPort{front(v4.vip, 53): nil, front(v6.vip, 53): nil}, 1)
	s.tracked(stay...)
}
