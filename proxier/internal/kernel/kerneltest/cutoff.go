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

// cutOff: connections of clients outside of a front end's networks are deleted, whether the client's packet began them
// or an answer, and nothing else: not those of clients inside, of other ports, addresses and protocols, or of front
// ends that are not named.
func (s *suite) cutOff() {
	s.become(dataplane.NewWant(dataplane.Foundation(Config)).State)
	for _, f := range []struct{ vip, other, in, out, server string }{
		{"198.51.100.1", "198.51.100.2", "192.0.2.7", "203.0.113.7", "10.244.0.1"},
		{"2001:db8:1::1", "2001:db8:1::2", "2001:db8::7", "2001:db8:2::7", "fd00:244::1"},
	} {
		at := func(addr string, port uint16) netip.AddrPort {
			return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
		}
		request := func(p cluster.Protocol, client string, port uint16, frontEnd netip.AddrPort) kernel.Flow {
			return kernel.Flow{
				Protocol: p, Client: at(client, port), FrontEnd: frontEnd, Server: at(f.server, 8080), Answers: at(client, port),
			}
		}
		answer := func(p cluster.Protocol, client string, port uint16, frontEnd netip.AddrPort) kernel.Flow {
			return kernel.Flow{
				Protocol: p, Client: at(f.server, 8080), FrontEnd: at(client, port), Server: at(client, port), Answers: frontEnd,
			}
		}
		var stay, gone []kernel.Flow
		for i, p := range []cluster.Protocol{cluster.TCP, cluster.UDP, cluster.SCTP} {
			port := uint16(1000 * (i + 1))
			gone = append(gone, request(p, f.out, port, at(f.vip, 80)), answer(p, f.out, port+1, at(f.vip, 80)))
			stay = append(stay, request(p, f.in, port, at(f.vip, 80)), answer(p, f.in, port+1, at(f.vip, 80)),
				request(p, f.out, port+2, at(f.vip, 81)), request(p, f.out, port+3, at(f.other, 80)))
		}
		s.track(slices.Concat(stay, gone)...)
		networks := []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(f.in), netip.MustParseAddr(f.in).BitLen()-2)}
		front := func(p cluster.Protocol, port uint16) dataplane.VirtualServerID {
			return dataplane.VirtualServerID{Addr: netip.MustParseAddr(f.vip), Port: port, Protocol: p}
		}
		s.cutsOff(nil, 0)
		s.cutsOff(map[dataplane.VirtualServerID][]netip.Prefix{front(cluster.TCP, 82): nil}, 0)
		s.cutsOff(map[dataplane.VirtualServerID][]netip.Prefix{front(cluster.TCP, 80): networks}, 2)
		s.cutsOff(map[dataplane.VirtualServerID][]netip.Prefix{
			front(cluster.TCP, 80): networks, front(cluster.UDP, 80): networks, front(cluster.SCTP, 80): networks,
		}, 4)
		s.remembers(stay...)
		// Without any network nobody may. The number shows that the two of SCTP had stayed.
		s.cutsOff(map[dataplane.VirtualServerID][]netip.Prefix{front(cluster.SCTP, 80): nil}, 2)
		s.cutsOff(map[dataplane.VirtualServerID][]netip.Prefix{front(cluster.UDP, 80): nil}, 2)
		s.remembers(slices.DeleteFunc(stay, func(flow kernel.Flow) bool {
			return flow.Protocol == cluster.UDP && (flow.FrontEnd == at(f.vip, 80) || flow.Answers == at(f.vip, 80))
		})...)
	}
}

func (s *suite) track(flows ...kernel.Flow) {
	s.Helper()
	if err := s.flows.Track(flows...); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) cutsOff(allowed map[dataplane.VirtualServerID][]netip.Prefix, want int) {
	s.Helper()
	if deleted, err := s.k.CutOff(allowed); err != nil || deleted != want {
		s.Fatalf("cut off %d connections, %v; want %d", deleted, err, want)
	}
}

// remembers sees that connection tracking has exactly these flows of their family.
func (s *suite) remembers(want ...kernel.Flow) {
	s.Helper()
	text := func(f kernel.Flow) string { return fmt.Sprintf("%s %s, answers to %s", f.Protocol, f, f.Answers) }
	flows, err := s.flows.List()
	if err != nil {
		s.Fatal(err)
	}
	var got, expected []string
	for _, f := range flows {
		if f.Protocol != cluster.SCTP && f.Client.Addr().Is4() == want[0].Client.Addr().Is4() {
			got = append(got, text(f))
		}
	}
	for _, f := range want {
		if f.Protocol != cluster.SCTP { // of which a Linux kernel is not asked here
			expected = append(expected, text(f))
		}
	}
	slices.Sort(got)
	slices.Sort(expected)
	if diff := cmp.Diff(expected, got); diff != "" {
		s.Fatalf("remembered (-want +got):\n%s", diff)
	}
}
