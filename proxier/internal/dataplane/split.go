package dataplane

import (
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Weigh returns how much of a piece the keys take: one for each, and for a virtual server as many objects of the kernel
// as weigh says.
func (t Touched) Weigh(weigh func(VirtualServerID) int) int {
	n := len(t.Entries) + len(t.Addresses)
	for id := range t.VirtualServers {
		n += weigh(id)
	}
	return n
}

// Split returns the keys in pieces that weigh no more than there is room for, in the order of front ends; one front end
// is in one piece with its entries, whatever it weighs. The key of a VIP is in each piece that has a front end there:
// its address comes with the first virtual server that the kernel takes, and goes ahead of the last one. The foundation
// is in none.
func (t Touched) Split(room int, weigh func(VirtualServerID) int) (pieces []Touched) {
	entries := map[VirtualServerID][]SetEntry{}
	for e := range t.Entries {
		entries[e.FrontEnd()] = append(entries[e.FrontEnd()], e)
	}
	ids := make([]VirtualServerID, 0, len(entries)+len(t.VirtualServers))
	for id := range entries {
		ids = append(ids, id)
	}
	seen := map[netip.Addr]struct{}{}
	for id := range t.VirtualServers {
		if _, already := entries[id]; !already {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		seen[id.Addr] = struct{}{}
	}
	for addr := range t.Addresses { // those of which nothing else is touched
		if _, already := seen[addr]; !already {
			ids = append(ids, VirtualServerID{Addr: addr})
		}
	}
	slices.SortFunc(ids, VirtualServerID.Compare)
	left := 0
	for _, id := range ids {
		owner, server := t.VirtualServers[id]
		weight := len(entries[id])
		if server {
			weight += weigh(id)
		}
		if len(pieces) == 0 || weight > left {
			pieces, left = append(pieces, NewTouched()), room
		}
		left -= weight
		piece := pieces[len(pieces)-1]
		if server {
			piece.VirtualServers[id] = owner
		}
		for _, e := range entries[id] {
			piece.Entries[e] = t.Entries[e]
		}
		copyKey(piece.Addresses, t.Addresses, id.Addr)
	}
	return pieces
}

func copyKey[K comparable](to, from map[K]cluster.Name, key K) {
	if owner, is := from[key]; is {
		to[key] = owner
	}
}

// Weight is the number of objects of the kernel that the virtual server is, a table counted as more.
func (v VirtualServer) Weight() int {
	n := 1 + len(v.RealServers)
	if v.Costly() {
		n += tableWeight
	}
	return n
}
