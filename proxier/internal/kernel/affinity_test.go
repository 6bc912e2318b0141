//go:build kernel

package kernel_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// stickyClients is how many clients there are in each family.
const stickyClients = 300

// stickyService returns what a node reads of a Service in both families, with endpoints of the numbers.
func stickyService(affinity v1.ServiceAffinity, scheduler string, numbers []int) cluster.Service {
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "sticky", UID: "u1"},
		Spec: v1.ServiceSpec{
			ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1", "fd00:96::1"}, SessionAffinity: affinity,
			Ports: []v1.ServicePort{{Name: "dns", Protocol: v1.ProtocolUDP, Port: 53}},
		},
	}
	if scheduler != "" {
		s.Annotations = map[string]string{"ipvs-proxier.io/scheduler": scheduler}
	}
	four := &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "sticky-4"}, AddressType: discovery.AddressTypeIPv4,
	}
	six := &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "sticky-6"}, AddressType: discovery.AddressTypeIPv6,
	}
	for _, slice := range []*discovery.EndpointSlice{four, six} {
		slice.Ports = []discovery.EndpointPort{{Name: new("dns"), Protocol: new(v1.ProtocolUDP), Port: new(int32(5353))}}
	}
	for _, n := range numbers {
		four.Endpoints = append(four.Endpoints, discovery.Endpoint{Addresses: []string{fmt.Sprintf("10.244.0.%d", 1+n)}})
		six.Endpoints = append(six.Endpoints, discovery.Endpoint{Addresses: []string{fmt.Sprintf("fd00:244::%x", 1+n)}})
	}
	return cluster.Parse(cluster.Input{Service: s, Slices: []*discovery.EndpointSlice{four, six}, NodeName: "elsewhere"})
}

// reachable waits until the node has routes to the Service and the endpoints: IPv6's come with their link's carrier, of
// which the kernel hears a little later (net/core/link_watch.c).
func reachable(t *testing.T) {
	t.Helper()
	for _, addr := range []string{"10.96.0.1", "fd00:96::1", "10.244.0.1", "fd00:244::1"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(addr), 53)
		family := map[bool]int{true: unix.AF_INET, false: unix.AF_INET6}[to.Addr().Is4()]
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			err = unix.Connect(fd, socketAddress(to)) // sends nothing
			unix.Close(fd)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("route to %s: %v", addr, err)
			}
		}
	}
}

// ask sends a datagram from each client and port to the Service of stickyService, and returns each client's endpoint.
func ask(t *testing.T, clients []netip.Addr, port uint16) map[netip.Addr]netip.AddrPort {
	t.Helper()
	reachable(t)
	for _, addr := range clients {
		to := netip.MustParseAddr("10.96.0.1")
		if addr.Is6() {
			to = netip.MustParseAddr("fd00:96::1")
		}
		send(t, netip.AddrPortFrom(addr, port), netip.AddrPortFrom(to, 53))
	}
	chosen, of := connectionsOf(t), map[netip.Addr]netip.AddrPort{}
	for _, addr := range clients {
		endpoint, known := chosen[client{netip.AddrPortFrom(addr, port), 53}]
		if !known {
			t.Fatalf("%s port %d has no endpoint", addr, port)
		}
		of[addr] = endpoint
	}
	return of
}

// TestAffinityIsTheSameOnEveryNode: a client of a Service with session affinity comes by several nodes, and nobody
// chose a scheduler. It meets one endpoint, whatever the nodes lived through. It keeps that endpoint when others come.
func TestAffinityIsTheSameOnEveryNode(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	var clients, others []netip.Addr
	for i := range stickyClients {
		clients = append(clients, netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}),
			netip.MustParseAddr(fmt.Sprintf("fd99::1:%x", i)))
		others = append(others, netip.AddrFrom4([4]byte{172, 17, byte(i >> 8), byte(i)}),
			netip.MustParseAddr(fmt.Sprintf("fd99::2:%x", i)))
	}
	end := r.Perm(20)[:8]
	late := []int{20, 21, 22}
	var chosen []map[netip.Addr]netip.AddrPort
	for node := range 3 {
		t.Run(fmt.Sprint("node ", node), func(t *testing.T) {
			k, name := openNode(t), fmt.Sprint("node", node)
			for step := range 3 * node { // the first node starts with the end
				affinity := []v1.ServiceAffinity{v1.ServiceAffinityNone, v1.ServiceAffinityClientIP}[r.IntN(2)]
				become(t, k, stickyService(affinity, []string{"", "", "rr", "lc", "sh"}[r.IntN(5)], r.Perm(20)[:1+r.IntN(19)]),
					name)
				ask(t, others[:1+r.IntN(len(others))], uint16(1000+step))
			}
			become(t, k, stickyService(v1.ServiceAffinityClientIP, "", end), name)
			first := ask(t, clients, 2000)
			chosen = append(chosen, first)
			become(t, k, stickyService(v1.ServiceAffinityClientIP, "", append(late, end...)), name)
			for addr, endpoint := range ask(t, clients, 2001) {
				if endpoint != first[addr] {
					t.Errorf("%s had %s and has %s after endpoints came", addr, first[addr], endpoint)
				}
			}
		})
	}
	spread := map[netip.AddrPort]bool{}
	for _, endpoint := range chosen[0] {
		spread[endpoint] = true
	}
	if len(spread) != 2*len(end) {
		t.Errorf("%d clients meet %d endpoints, want %d", len(clients), len(spread), 2*len(end))
	}
	for node := range chosen {
		if !maps.Equal(chosen[0], chosen[node]) {
			t.Errorf("node %d does not choose as node 0 does", node)
		}
	}
}
