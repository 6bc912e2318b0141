package kerneltest

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// notUnicast: what IPVS refuses as a real server, and that it takes what only looks like it. The broadcast addresses of
// the node's networks are seen, and go with them.
func (s *suite) notUnicast() {
	s.do(everything()...)
	six := dataplane.VirtualServerObject{ID: id6, Scheduler: "rr"}
	s.do(op(dataplane.Create, six))
	at := func(addr netip.Addr) dataplane.RealServerObject {
		server := id
		if addr.Is6() {
			server = id6
		}
		return dataplane.RealServerObject{
			VirtualServer: server, RealServer: dataplane.RealServer{Addr: addr, Port: 80, Weight: 1},
		}
	}
	refused := func(text string) {
		s.Helper()
		s.refused(op(dataplane.Create, at(netip.MustParseAddr(text))), syscall.EINVAL)
		s.refused(op(dataplane.Renew, at(netip.MustParseAddr(text))), syscall.EINVAL)
	}
	// A real server that is deleted comes back out of the kernel's trash without being looked at, so each address is
	// taken once.
	taken := func(text string) {
		s.Helper()
		s.do(op(dataplane.Create, at(netip.MustParseAddr(text))))
	}
	for _, text := range []string{
		"255.255.255.255", "0.0.0.0", "224.0.0.1", "239.255.255.255", "::", "ff02::1", "fe80::1",
	} {
		refused(text)
	}
	for _, text := range []string{"240.0.0.1", "169.254.1.1", "10.244.9.255", "10.244.9.0", "fec0::1", "2001:db8::ffff"} {
		taken(text)
	}
	networks := []netip.Prefix{
		netip.MustParsePrefix("192.168.81.9/24"), netip.MustParsePrefix("192.168.82.5/30"),
		netip.MustParsePrefix("192.168.83.2/31"), netip.MustParsePrefix("192.168.84.7/32"),
	}
	bring := func(present bool) {
		s.Helper()
		for _, network := range networks {
			if err := s.flows.Network(network, present); err != nil {
				s.Fatal(err)
			}
		}
	}
	bring(true)
	for _, text := range []string{"192.168.81.255", "192.168.82.7"} {
		s.broadcast(text, true)
		refused(text)
	}
	for _, text := range []string{
		"192.168.81.9", "192.168.81.254", "192.168.82.5", "192.168.82.6", "192.168.83.2", "192.168.83.3", "192.168.84.7",
	} {
		s.broadcast(text, false)
		taken(text)
	}
	// The lowest address of a network is as the kernel says: unicast since Linux 5.14.
	for _, text := range []string{"192.168.81.0", "192.168.82.4"} {
		if seen, _ := s.k.Observe(); slices.Contains(seen.Broadcasts, netip.MustParseAddr(text)) {
			refused(text)
		} else {
			taken(text)
		}
	}
	bring(false)
	for _, text := range []string{"192.168.81.255", "192.168.82.7"} {
		s.broadcast(text, false)
		taken(text)
	}
}

// broadcast sees whether the address is one of the node's broadcast addresses.
func (s *suite) broadcast(text string, want bool) {
	s.Helper()
	addr := netip.MustParseAddr(text)
	seen, err := s.k.Observe()
	if err != nil {
		s.Fatal(err)
	}
	_, broadcasts, err := s.k.NodeAddresses()
	if err != nil {
		s.Fatal(err)
	}
	sum, err := s.reader.Summarize(dataplane.AllParts)
	if err != nil {
		s.Fatal(err)
	}
	for name, list := range map[string][]netip.Addr{
		"Observe": seen.Broadcasts, "NodeAddresses": broadcasts, "Summarize": sum.Broadcasts,
	} {
		if slices.Contains(list, addr) != want {
			s.Errorf("%s: broadcast addresses %v; that %s is one of them: want %v", name, list, text, want)
		}
	}
}
