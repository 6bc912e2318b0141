package nftables

import (
	"encoding/binary"
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
)

// The kernel stores a number for the type of a set's keys, and does not read it: it is for nft, which prints them by
// it. Of several parts each has six bits (nft's include/datatype.h, TYPE_BITS).
const (
	typeIPv4, typeIPv6, typeProtocol, typePort, typeMark = 7, 8, 12, 13, 19

	typeBits = 6
)

// hasNet reports whether the keys of sets of the type end in a network and its length.
func hasNet(t ipset.Type) bool { return t.Has(ipset.Network, ipset.PeerNetwork) }

// keyOf returns the number of the type of keys, and their length. Beside others, what is shorter than four bytes takes
// four.
func keyOf(set ipset.Set) (kind uint32, size int) {
	address, width := uint32(typeIPv4), 4
	if set.Family == ipset.IPv6 {
		address, width = typeIPv6, 16
	}
	add := func(k uint32, n int) { kind, size = kind<<typeBits|k, size+n }
	for _, p := range set.Type.Parts() {
		switch p {
		case ipset.Address, ipset.Peer:
			add(address, width)
		case ipset.Network, ipset.PeerNetwork:
			add(address, width)
			add(typeMark, 4)
		case ipset.Port:
			add(typeProtocol, 4)
			add(typePort, 4)
		case ipset.BarePort:
			add(typePort, 2)
		}
	}
	return kind, size
}

// appendKey appends the key of an entry, as rules build it in registers.
func appendKey(to []byte, t ipset.Type, e ipset.Entry) []byte {
	for _, p := range t.Parts() {
		switch p {
		case ipset.Address:
			to = appendAddr(to, e.Addr)
		case ipset.Network:
			to = binary.NativeEndian.AppendUint32(appendAddr(to, e.Addr), uint32(e.Bits))
		case ipset.Port:
			to = append(to, byte(e.Protocol), 0, 0, 0, byte(e.Port>>8), byte(e.Port), 0, 0)
		case ipset.BarePort:
			to = binary.BigEndian.AppendUint16(to, e.Port)
		case ipset.Peer:
			to = appendAddr(to, e.Peer)
		case ipset.PeerNetwork:
			to = binary.NativeEndian.AppendUint32(appendAddr(to, e.Peer), uint32(e.Bits))
		}
	}
	return to
}

func appendAddr(to []byte, a netip.Addr) []byte {
	if a.Is4() {
		four := a.As4()
		return append(to, four[:]...)
	}
	six := a.As16()
	return append(to, six[:]...)
}

// parseKey is the inverse of appendKey; false for what is no key of such a set.
func parseKey(set ipset.Set, key []byte) (e ipset.Entry, ok bool) {
	if _, size := keyOf(set); size == 0 || size != len(key) { // a comment may name any type
		return e, false
	}
	width := 4
	if set.Family == ipset.IPv6 {
		width = 16
	}
	take := func(n int) []byte {
		part := key[:n]
		key = key[n:]
		return part
	}
	addr := func() netip.Addr {
		a, _ := netip.AddrFromSlice(take(width))
		return a
	}
	length := func() uint8 { return uint8(binary.NativeEndian.Uint32(take(4))) }
	for _, p := range set.Type.Parts() {
		switch p {
		case ipset.Address:
			e.Addr = addr()
		case ipset.Network:
			e.Addr, e.Bits = addr(), length()
		case ipset.Port:
			e.Protocol, e.Port = ipset.Protocol(take(4)[0]), binary.BigEndian.Uint16(take(4))
		case ipset.BarePort:
			e.Port = binary.BigEndian.Uint16(take(2))
		case ipset.Peer:
			e.Peer = addr()
		case ipset.PeerNetwork:
			e.Peer, e.Bits = addr(), length()
		}
	}
	return e, true
}

// packetEnd is where a packet comes from or goes to: how its address is loaded, and the offset of its port.
type packetEnd struct {
	address func(slot int) expr
	port    uint32
}

// load returns the ways in which a rule builds a part of a key of a packet, from a slot of registers on, and how many
// slots that takes. There is a way for each length of networks.
func (e encoder) load(p ipset.Part, near, far packetEnd, slot int, lengths lengths) (ways [][]expr, slots int) {
	words := e.width() / 4
	switch p {
	case ipset.Address:
		return [][]expr{{near.address(slot)}}, words
	case ipset.Network:
		return e.eachLength(lengths, func(n uint8) []expr { return e.network(near.address, slot, n) }), words + 1
	case ipset.Port:
		return [][]expr{{protocol(slot), port(near.port, slot+1)}}, 2
	case ipset.BarePort:
		return [][]expr{{port(near.port, slot)}}, 1
	case ipset.Peer:
		return [][]expr{{far.address(slot)}}, words
	case ipset.PeerNetwork:
		return e.eachLength(lengths, func(n uint8) []expr { return e.network(far.address, slot, n) }), words + 1
	}
	return nil, 0
}
