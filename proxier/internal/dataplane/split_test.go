package dataplane_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestSplit: pieces are no larger than there is room for, unless they are of one front end. Each key is in one of them,
// a front end's entries where it is; a VIP is in each that has one of its front ends.
func TestSplit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		all, weights := dataplane.NewTouched(), map[dataplane.VirtualServerID]int{}
		for range random.IntN(60) {
			id := dataplane.VirtualServerID{
				Addr: netip.MustParseAddr(fmt.Sprintf("10.96.0.%d", random.IntN(4))), Port: uint16(random.IntN(40)),
				Protocol: cluster.TCP,
			}
			if weights[id] = 1 + random.IntN(8); random.IntN(4) > 0 {
				all.VirtualServers[id] = cluster.Name{Name: "s"}
			}
			for i := range random.IntN(5) {
				e := dataplane.SetEntry{Set: fmt.Sprint("set", i), Type: ipset.HashIPPort, Entry: ipset.Entry{
					Addr: id.Addr, Port: id.Port, Protocol: id.Protocol,
				}}
				all.Entries[e] = cluster.Name{Name: "s"}
			}
			all.Addresses[netip.MustParseAddr(fmt.Sprintf("10.96.0.%d", random.IntN(6)))] = cluster.Name{Name: "s"}
		}
		weigh := func(id dataplane.VirtualServerID) int { return weights[id] }
		room, joined := 1+random.IntN(30), dataplane.NewTouched()
		before := 0
		for _, piece := range all.Split(room, weigh) {
			fronts := map[dataplane.VirtualServerID]bool{}
			for id := range piece.VirtualServers {
				fronts[id] = true
			}
			for e := range piece.Entries {
				fronts[e.FrontEnd()] = true
				if _, touched := all.VirtualServers[e.FrontEnd()]; touched != has(piece.VirtualServers, e.FrontEnd()) {
					t.Errorf("entry %s is not where its front end is", e)
				}
			}
			for id := range fronts {
				if has(all.Addresses, id.Addr) != has(piece.Addresses, id.Addr) {
					t.Errorf("VIP %s is not with %s", id.Addr, id)
				}
			}
			if weight := piece.Weigh(weigh) - len(piece.Addresses); weight > room && len(fronts) > 1 {
				t.Errorf("a piece of %d front ends weighs %d, and there is room for %d", len(fronts), weight, room)
			}
			if before += len(piece.VirtualServers) + len(piece.Entries); piece.Empty() {
				t.Error("an empty piece")
			}
			joined.Add(piece)
		}
		if !reflect.DeepEqual(joined, all) {
			t.Errorf("the pieces together are %v, want %v", joined, all)
		}
		if before != len(all.VirtualServers)+len(all.Entries) {
			t.Errorf("%d keys in all pieces, want %d", before, len(all.VirtualServers)+len(all.Entries))
		}
	}
}

func has[K comparable](m map[K]cluster.Name, key K) bool {
	_, is := m[key]
	return is
}
