package dataplane

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// randomEntry is an entry of one of our sets, or one that none of ours can have.
func randomEntry(r *rand.Rand) SetEntry {
	addr := func() netip.Addr {
		return []netip.Addr{{}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.1"),
			netip.MustParseAddr("fd00::1"), netip.MustParseAddr("0.0.0.0"),
			netip.MustParseAddr("::"), netip.MustParseAddr("fe80::1%eth0")}[r.IntN(7)]
	}
	names := slices.Sorted(maps.Keys(setTypes))
	name := names[r.IntN(len(names))]
	e := SetEntry{Set: SetName(name, []cluster.Family{cluster.IPv4, cluster.IPv6}[r.IntN(2)]), Type: setTypes[name],
		Entry: ipset.Entry{
			Addr: addr(), Peer: addr(), Port: uint16(r.IntN(2) * 443),
			Protocol: []ipset.Protocol{0, ipset.TCP, ipset.UDP}[r.IntN(3)], Bits: uint8(r.IntN(2) * 24),
		}}
	switch r.IntN(10) {
	case 0:
		e.Set = "IPVSP-OF-ANOTHER-VERSION"
	case 1:
		e.Type = ipset.HashNet
	}
	return e
}

// TestEntriesAreASet: whatever is put in and taken out, Entries hold what a map of the entries themselves would.
func TestEntriesAreASet(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 3))
		entries, want := NewEntries(0), map[SetEntry]struct{}{}
		compact4, compact := 0, 0
		for range 300 {
			e := randomEntry(r)
			switch r.IntN(10) {
			case 0:
				entries.DropSets(e.Set)
				maps.DeleteFunc(want, func(o SetEntry, _ struct{}) bool { return o.Set == e.Set })
			case 1, 2, 3:
				entries.Drop(e)
				delete(want, e)
			case 4:
				before := entries.Clone()
				entries = before.Clone()
				before.Put(e) // which is another one now
			default:
				entries.Put(e)
				want[e] = struct{}{}
			}
			if _, is := want[e]; entries.Has(e) != is || entries.Len() != len(want) {
				t.Fatalf("seed %d: %v is there: %t, want %t; %d entries, want %d",
					seed, e, entries.Has(e), is, entries.Len(), len(want))
			}
			compact4, compact = compact4+len(entries.ours4), compact+len(entries.ours)
		}
		all := map[SetEntry]struct{}{}
		for e := range entries.All() {
			all[e] = struct{}{}
		}
		if !maps.Equal(all, want) || len(entries.Sorted()) != len(want) {
			t.Fatalf("seed %d: all are %v, want %v", seed, all, want)
		}
		if compact4 == 0 || compact == 0 {
			t.Fatal("none is held as one of ours, or none of IPv4")
		}
	}
}

// TestNoEntries: the zero value reads as empty.
func TestNoEntries(t *testing.T) {
	var none Entries
	if none.Has(SetEntry{}) || none.Has(vipEntry(netip.MustParseAddr("10.0.0.1"))) || none.Len() != 0 ||
		len(none.Sorted()) != 0 {
		t.Error("there is something in nothing")
	}
}
