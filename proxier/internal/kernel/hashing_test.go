//go:build kernel

package kernel_test

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/ipvs/ipvstest"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler/hashing"
)

// hashedFlows is how many clients each node has for each of the ports of hashed: 5,000 flows by mh, and as many by sh.
const hashedFlows = 1250

// hashed returns a Service with a UDP port for each hashing scheduler with each combination of flags, in both families.
func hashed(endpoints []cluster.Endpoint) cluster.Service {
	s := cluster.Service{Name: cluster.Name{
		Namespace: "ns", Name: "hashed",
	}, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00:96::1")}}
	for _, name := range []string{"mh", "sh"} {
		for _, flags := range []scheduler.Flags{0, scheduler.Fallback, scheduler.Port, scheduler.Fallback | scheduler.Port} {
			s.Ports = append(s.Ports, cluster.ServicePort{
				Protocol: cluster.UDP, Port: uint16(1 + len(s.Ports)), Scheduler: name, Flags: flags, Endpoints: endpoints,
			})
		}
	}
	return s
}

// hashedEndpoints returns endpoints of both families: those of the numbers, with weights of any size, 0 among them.
func hashedEndpoints(r *rand.Rand, numbers []int) (endpoints []cluster.Endpoint) {
	for _, n := range numbers {
		weight := []uint32{0, 1, 1, 2, 3, 10, 100, 65535}[r.IntN(8)]
		for _, addr := range []netip.Addr{
			netip.AddrFrom4([4]byte{10, 244, 0, byte(n)}), netip.MustParseAddr(fmt.Sprintf("fd00:244::%x", n)),
		} {
			endpoints = append(
				endpoints, cluster.Endpoint{Addr: addr, Port: uint16(8000 + n), Ready: true, Remote: true, Weight: weight},
			)
		}
	}
	return endpoints
}

// client is a flow by its source, the family's Service address and the port of the Service.
type client struct {
	source netip.AddrPort
	port   uint16
}

// TestHashingIsTheSameOnEveryNode: nodes with different histories end with the same endpoints. They send the same
// client to the same endpoint, and package hashing says to which. No client is refused while an endpoint has weight 0.
func TestHashingIsTheSameOnEveryNode(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	end := hashed(hashedEndpoints(r, r.Perm(20)[:12]))
	end.Ports[0].Endpoints[0].Weight, end.Ports[0].Endpoints[1].Weight = 1, 1 // not all are idle
	flows := make([]client, hashedFlows)
	for i := range flows {
		source := netip.AddrFrom4([4]byte{172, byte(16 + r.IntN(16)), byte(r.UintN(256)), byte(r.UintN(256))})
		if i%2 == 1 {
			source = netip.AddrFrom16([16]byte{
				0: 0xfd, 1: 0x99, 2: byte(r.UintN(256)), 7: byte(r.UintN(256)), 12: byte(r.UintN(256)), 15: byte(r.UintN(256)),
			})
		}
		flows[i] = client{netip.AddrPortFrom(source, uint16(1024+r.UintN(60000))), 0}
	}
	var chosen []map[client]netip.AddrPort
	for node := range 3 {
		t.Run(fmt.Sprint("node ", node), func(t *testing.T) {
			k := openNode(t)
			for range 3 * node { // the first node starts with the end
				passing := hashed(hashedEndpoints(r, r.Perm(20)[:1+r.IntN(19)]))
				if r.IntN(3) == 0 {
					for i := range passing.Ports {
						passing.Ports[i].Scheduler, passing.Ports[i].Flags = []string{"rr", "sh", "mh"}[r.IntN(3)], 0
					}
				}
				become(t, k, passing, fmt.Sprint("node", node))
			}
			become(t, k, end, fmt.Sprint("node", node))
			tables, lists := map[netip.AddrPort]hashing.Table{}, map[netip.AddrPort][]hashing.RealServer{} // by virtual server
			for id, v := range observe(t, k).VirtualServers {
				var list []hashing.RealServer
				for _, rs := range v.RealServers {
					list = append(list, hashing.RealServer{Addr: rs.Addr, Port: rs.Port, Weight: rs.Weight, LastWeight: rs.Weight})
				}
				at := netip.AddrPortFrom(id.Addr, id.Port)
				tables[at], _ = hashing.New(v.Scheduler, v.Flags, list)
				lists[at] = list
			}
			for _, flow := range flows {
				for _, port := range end.Ports {
					send(t, flow.source, netip.AddrPortFrom(end.ClusterIPs[familyOf(flow.source)], port.Port))
				}
			}
			got := connectionsOf(t)
			wrong := 0
			for _, flow := range flows {
				for _, port := range end.Ports {
					at := netip.AddrPortFrom(end.ClusterIPs[familyOf(flow.source)], port.Port)
					i, ok := tables[at].Choose(flow.source)
					if real := got[client{flow.source, port.Port}]; !ok ||
						real != netip.AddrPortFrom(lists[at][i].Addr, lists[at][i].Port) {
						if wrong++; wrong < 10 {
							t.Errorf("%s (%s) of %s: the kernel chose %s, the prediction is %d, %t, of %v",
								port.Scheduler, port.Flags, flow.source, real, i, ok, lists[at])
						}
					}
				}
			}
			t.Logf("%d of %d predictions were wrong", wrong, len(flows)*len(end.Ports))
			chosen = append(chosen, got)
		})
	}
	for node := range chosen {
		if !maps.Equal(chosen[0], chosen[node]) {
			t.Errorf("node %d does not choose as node 0 does", node)
		}
	}
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}

// openNode makes a node of its own, with routes to the endpoints and the clients' addresses.
func openNode(t *testing.T) *kernel.Linux {
	t.Helper()
	kerneltest.Own(t)
	shell(t, `
ip link add out type dummy; ip link set out up; ip route add 10.244.0.0/16 dev out; ip -6 route add fd00:244::/32 dev out
ip route add local 172.16.0.0/12 dev lo; ip -6 route add local fd99::/16 dev lo`)
	return openLinux(t)
}

func become(t *testing.T, k *kernel.Linux, s cluster.Service, node string) {
	t.Helper()
	config := kerneltest.Config
	config.UDPTimeout = time.Hour // longer than the test
	w := dataplane.NewWant(dataplane.Foundation(config))
	w.Set(dataplane.Compile(s, dataplane.Node{Name: node}, config), map[cluster.Name]struct{}{})
	apply(t, k, from(observe(t, k), w.State))
}

func observe(t *testing.T, k *kernel.Linux) *dataplane.State {
	t.Helper()
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	return seen.State
}

func familyOf(a netip.AddrPort) int {
	if a.Addr().Is4() {
		return 0
	}
	return 1
}

// send sends a datagram that nobody answers.
func send(t *testing.T, from, to netip.AddrPort) {
	t.Helper()
	family := unix.AF_INET
	if familyOf(from) == 1 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if family == unix.AF_INET6 { // a local route is not enough for IPv6
		if err := unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Bind(fd, socketAddress(from)); err != nil {
		t.Fatalf("bind to %s: %v", from, err)
	}
	if err := unix.Sendto(fd, []byte{0}, 0, socketAddress(to)); err != nil {
		t.Fatalf("%s to %s: %v", from, to, err)
	}
}

func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// connectionsOf returns the endpoint to which the kernel sends each client.
func connectionsOf(t *testing.T) map[client]netip.AddrPort {
	t.Helper()
	lines, err := ipvstest.Connections()
	if err != nil {
		t.Fatal(err)
	}
	all := map[client]netip.AddrPort{}
	for _, line := range lines {
		fields := strings.Fields(line)
		if fields[0] != "UDP" {
			continue
		}
		all[client{hexAddress(t, fields[1:]), hexAddress(t, fields[3:]).Port()}] = hexAddress(t, fields[5:])
	}
	return all
}

// hexAddress reads an address and a port as /proc/net/ip_vs_conn writes them.
func hexAddress(t *testing.T, fields []string) netip.AddrPort {
	t.Helper()
	port, err := strconv.ParseUint(fields[1], 16, 16)
	if err != nil {
		t.Fatal(err)
	}
	if bytes, err := hex.DecodeString(fields[0]); err == nil && len(bytes) == 4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(bytes)), uint16(port))
	}
	addr, err := netip.ParseAddr(strings.Trim(fields[0], "[]"))
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(addr, uint16(port))
}
