package dataplane

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Entries is a set of SetEntries. There may be a hundred thousand, once wanted and once in the mirror: those of our
// sets are held in less than half of the memory that they take as they are, those of IPv4 in a sixth, and without a
// pointer in it. As with a map, a copy is the same Entries; the zero value reads as empty.
type Entries struct {
	// ours4 are those whose addresses are IPv4, ours the rest.
	ours4 map[entryKey4]struct{}
	ours  map[entryKey]struct{}
	// others are in sets that this version does not know, or with what ours never have.
	others map[SetEntry]struct{}
}

// entryKey is an entry of a set of ours.
type entryKey struct {
	addr, peer [16]byte
	entryRest
}

// entryKey4 is one whose addresses are IPv4, or are not there.
type entryKey4 struct {
	addr, peer [4]byte
	entryRest
}

type entryRest struct {
	port           uint16
	set            uint8 // place in knownSets
	protocol, bits uint8
	flags          entryFlags
}

type entryFlags uint8

const (
	entryAddr4 entryFlags = 1 << iota
	entryAddr6
	entryPeer4
	entryPeer6
)

// knownSet is a set of ours in one family.
type knownSet struct {
	name string
	typ  ipset.Type
}

// knownSets are all sets of ours, and knownSetAt their places.
var (
	knownSets  = allKnownSets()
	knownSetAt = placesOf(knownSets)
)

func allKnownSets() (all []knownSet) {
	for _, name := range slices.Sorted(maps.Keys(setTypes)) {
		for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
			all = append(all, knownSet{SetName(name, family), setTypes[name]})
		}
	}
	return all
}

func placesOf(sets []knownSet) map[string]uint8 {
	at := map[string]uint8{}
	for i, set := range sets {
		at[set.name] = uint8(i)
	}
	return at
}

// NewEntries returns Entries with room for n, of IPv4.
func NewEntries(n int) Entries {
	return Entries{make(map[entryKey4]struct{}, n), map[entryKey]struct{}{}, map[SetEntry]struct{}{}}
}

// Has reports whether the entry is there.
func (es Entries) Has(e SetEntry) bool {
	key, ours := keyOf(e)
	var has bool
	if !ours {
		_, has = es.others[e]
	} else if four, is := key.four(); is {
		_, has = es.ours4[four]
	} else {
		_, has = es.ours[key]
	}
	return has
}

// Put puts the entry in.
func (es Entries) Put(e SetEntry) {
	key, ours := keyOf(e)
	if !ours {
		es.others[e] = struct{}{}
	} else if four, is := key.four(); is {
		es.ours4[four] = struct{}{}
	} else {
		es.ours[key] = struct{}{}
	}
}

// Drop takes the entry out.
func (es Entries) Drop(e SetEntry) {
	key, ours := keyOf(e)
	if !ours {
		delete(es.others, e)
	} else if four, is := key.four(); is {
		delete(es.ours4, four)
	} else {
		delete(es.ours, key)
	}
}

// DropSets takes out all entries of these sets, however many, in one walk over all.
func (es Entries) DropSets(names ...string) {
	gone := make(map[string]bool, len(names))
	for _, name := range names {
		gone[name] = true
	}
	for e := range es.All() {
		if gone[e.Set] {
			es.Drop(e)
		}
	}
}

// Len is the number of entries.
func (es Entries) Len() int { return len(es.ours4) + len(es.ours) + len(es.others) }

// All returns the entries, in no order. They may change meanwhile, as a map may.
func (es Entries) All() iter.Seq[SetEntry] {
	return func(yield func(SetEntry) bool) {
		for four := range es.ours4 {
			if !yield(four.whole().entry()) {
				return
			}
		}
		for key := range es.ours {
			if !yield(key.entry()) {
				return
			}
		}
		for e := range es.others {
			if !yield(e) {
				return
			}
		}
	}
}

// Sorted returns the entries in order.
func (es Entries) Sorted() []SetEntry { return slices.SortedFunc(es.All(), SetEntry.compare) }

// Merge puts all entries of others in.
func (es Entries) Merge(others Entries) {
	maps.Copy(es.ours4, others.ours4)
	maps.Copy(es.ours, others.ours)
	maps.Copy(es.others, others.others)
}

// Clone returns Entries that have the same and change for themselves.
func (es Entries) Clone() Entries {
	return Entries{maps.Clone(es.ours4), maps.Clone(es.ours), maps.Clone(es.others)}
}

// keyOf returns false for an entry that is no entry of a set of ours.
func keyOf(e SetEntry) (key entryKey, ours bool) {
	at, known := knownSetAt[e.Set]
	if !known || knownSets[at].typ != e.Type || e.Entry.Addr.Zone() != "" || e.Entry.Peer.Zone() != "" {
		return key, false
	}
	key.set, key.port, key.protocol, key.bits = at, e.Entry.Port, uint8(e.Entry.Protocol), e.Entry.Bits
	key.flags = packAddr(&key.addr, e.Entry.Addr, entryAddr4, entryAddr6) | packAddr(&key.peer, e.Entry.Peer, entryPeer4,
		entryPeer6)
	return key, true
}

func packAddr(to *[16]byte, addr netip.Addr, four, six entryFlags) entryFlags {
	switch {
	case addr.Is4():
		*to = addr.As16()
		return four
	case addr.IsValid():
		*to = addr.As16()
		return six
	}
	return 0
}

func unpackAddr(from [16]byte, four, six bool) netip.Addr {
	switch {
	case four:
		return netip.AddrFrom16(from).Unmap()
	case six:
		return netip.AddrFrom16(from)
	}
	return netip.Addr{}
}

func (k entryKey) entry() SetEntry {
	has := func(f entryFlags) bool { return k.flags&f != 0 }
	return SetEntry{
		Set: knownSets[k.set].name, Type: knownSets[k.set].typ,
		Entry: ipset.Entry{
			Addr: unpackAddr(k.addr, has(entryAddr4), has(entryAddr6)),
			Peer: unpackAddr(k.peer, has(entryPeer4), has(entryPeer6)),
			Port: k.port, Protocol: cluster.Protocol(k.protocol), Bits: k.bits,
		},
	}
}

// four returns the key in short; false where an address is IPv6.
func (k entryKey) four() (entryKey4, bool) {
	if k.flags&(entryAddr6|entryPeer6) != 0 {
		return entryKey4{}, false
	}
	return entryKey4{[4]byte(k.addr[12:]), [4]byte(k.peer[12:]), k.entryRest}, true
}

// whole is the inverse of four.
func (k entryKey4) whole() entryKey {
	whole := entryKey{entryRest: k.entryRest}
	if k.flags&entryAddr4 != 0 {
		whole.addr = netip.AddrFrom4(k.addr).As16()
	}
	if k.flags&entryPeer4 != 0 {
		whole.peer = netip.AddrFrom4(k.peer).As16()
	}
	return whole
}

// EntryList is a list of entries of our own sets, held as [Entries] holds them.
type EntryList []entryKey

// EntriesOf returns the list of these entries, which must be of our sets.
func EntriesOf(entries ...SetEntry) EntryList {
	if len(entries) == 0 {
		return nil
	}
	list := make(EntryList, len(entries))
	for i, e := range entries {
		key, ours := keyOf(e)
		if !ours {
			// The names of sets and what their entries are like come from this package, not from an object.
			panic(fmt.Sprintf("BUG: %s is no entry of a set of ours", e))
		}
		list[i] = key
	}
	return list
}

// All returns the entries in the order of the list.
func (l EntryList) All() iter.Seq[SetEntry] {
	return func(yield func(SetEntry) bool) {
		for _, key := range l {
			if !yield(key.entry()) {
				return
			}
		}
	}
}
