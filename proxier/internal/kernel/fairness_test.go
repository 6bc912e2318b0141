//go:build kernel

package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// TestNodesAreFairTogether: many nodes with few connections each give all endpoints about as many, because each has an
// order of its own. One sorted list on all nodes, which others have (kubernetes#79213, #121591), is measured beside it,
// and so is a random one.
func TestNodesAreFairTogether(t *testing.T) {
	const nodes, endpoints, connections = 60, 10, 3
	port := cluster.ServicePort{Protocol: cluster.UDP, Port: 53, Scheduler: "rr"}
	for i := range endpoints {
		port.Endpoints = append(port.Endpoints, cluster.Endpoint{
			Addr: netip.AddrFrom4([4]byte{10, 244, 0, byte(i + 1)}), Port: 53, Ready: true, Remote: true, Weight: 1,
		})
	}
	random := rand.New(rand.NewPCG(1, 1))
	byOrder := map[string]map[netip.AddrPort]int{}
	for order, arrange := range map[string]func([]dataplane.RealServer){
		"seeded": func([]dataplane.RealServer) {},
		"sorted": func(list []dataplane.RealServer) { slices.SortFunc(list, dataplane.CompareEndpoint) },
		"random": func(list []dataplane.RealServer) {
			random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		},
	} {
		t.Run(order, func(t *testing.T) {
			kerneltest.Own(t)
			shell(t, "ip link add out type dummy; ip link set out up; ip route add 10.244.0.0/16 dev out; ip route add local 10.96.0.0/16 dev lo; ip route add local 172.16.0.0/12 dev lo")
			k := openLinux(t)
			config := kerneltest.Config
			config.UDPTimeout = time.Hour
			var ops []dataplane.Op
			for node := range nodes { // each node's virtual server stands in the one kernel, by an address of its own
				s := cluster.Service{Name: cluster.Name{Namespace: "ns", Name: "fair"}, UID: "8b9a",
					Ports:      []cluster.ServicePort{port},
					ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 0, byte(node)})}}
				w := dataplane.NewWant(dataplane.NewState())
				w.Set(dataplane.Compile(s, dataplane.Node{Name: fmt.Sprint("node-", node)}, config), map[cluster.Name]struct{}{})
				for id, v := range w.State.VirtualServers {
					list := slices.Clone(v.RealServers)
					arrange(list)
					ops = append(
						ops, dataplane.Op{Verb: dataplane.Create, Object: dataplane.VirtualServerObject{ID: id, Scheduler: v.Scheduler}},
					)
					for _, r := range slices.Backward(list) { // each goes to the head of the list
						ops = append(
							ops, dataplane.Op{Verb: dataplane.Create, Object: dataplane.RealServerObject{VirtualServer: id, RealServer: r}},
						)
					}
				}
			}
			apply(t, k, ops)
			for node := range nodes {
				for i := range connections {
					send(t, netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(node), byte(i + 1)}), 4000),
						netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, 0, byte(node)}), 53))
				}
			}
			got := map[netip.AddrPort]int{}
			for _, to := range connectionsOf(t) {
				got[to]++
			}
			byOrder[order] = got
		})
	}
	ratio := map[string]float64{}
	for order, got := range byOrder {
		most, sum := 0, 0
		for _, n := range got {
			most, sum = max(most, n), sum+n
		}
		if sum != nodes*connections {
			t.Fatalf("%s: %d connections, want %d", order, sum, nodes*connections)
		}
		ratio[order] = float64(most) * endpoints / float64(sum)
	}
	t.Logf("%d nodes with %d connections each to %d endpoints: the busiest endpoint has %.2f times the mean with each node's own order, %.2f with random order, %.2f with one sorted order",
		nodes, connections, endpoints, ratio["seeded"], ratio["random"], ratio["sorted"])
	if ratio["seeded"] > 1.7 || ratio["sorted"] < 3 {
		t.Errorf("want less than 1.7 for each node's own order, and at least 3 for the sorted one, or the measuring is wrong")
	}
}
