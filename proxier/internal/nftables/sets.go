package nftables

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// The kernel stores a number for the type of a set's keys, and does not read it: it is for nft, which prints them by
// it. Of several parts each has six bits (nft's include/datatype.h, TYPE_BITS).
const (
	typeIPv4, typeIPv6, typeProtocol, typePort, typeMark = 7, 8, 12, 13, 19

	typeBits = 6
)

// keyOf returns the number of the type of keys, and their length. A part that is shorter than four bytes takes four.
func keyOf(set ipset.Set) (kind uint32, size int) {
	address, width := uint32(typeIPv4), 4
	if set.Family == ipset.IPv6 {
		address, width = typeIPv6, 16
	}
	parts := func(kinds ...uint32) (all uint32) {
		for _, k := range kinds {
			all = all<<typeBits | k
		}
		return all
	}
	switch set.Type {
	case ipset.HashIP:
		return address, width
	case ipset.HashNet:
		return parts(address, typeMark), width + 4
	case ipset.HashIPPort:
		return parts(address, typeProtocol, typePort), width + 8
	case ipset.HashIPPortIP:
		return parts(address, typeProtocol, typePort, address), 2*width + 8
	case ipset.HashIPPortNet:
		return parts(address, typeProtocol, typePort, address, typeMark), 2*width + 12
	case ipset.BitmapPort:
		return typePort, 2
	}
	return 0, 0
}

// appendKey appends the key of an entry, as rules build it in registers.
func appendKey(to []byte, t ipset.Type, e ipset.Entry) []byte {
	addr := func(a netip.Addr) {
		if a.Is4() {
			four := a.As4()
			to = append(to, four[:]...)
		} else {
			six := a.As16()
			to = append(to, six[:]...)
		}
	}
	if t == ipset.BitmapPort {
		return binary.BigEndian.AppendUint16(to, e.Port)
	}
	addr(e.Addr)
	switch t {
	case ipset.HashIP:
		return to
	case ipset.HashNet:
		return binary.NativeEndian.AppendUint32(to, uint32(e.Bits))
	}
	to = append(to, byte(e.Protocol), 0, 0, 0, byte(e.Port>>8), byte(e.Port), 0, 0)
	if t == ipset.HashIPPort {
		return to
	}
	addr(e.Peer)
	if t == ipset.HashIPPortNet {
		to = binary.NativeEndian.AppendUint32(to, uint32(e.Bits))
	}
	return to
}

// parseKey is the inverse of appendKey; false for what is no key of such a set.
func parseKey(set ipset.Set, key []byte) (e ipset.Entry, ok bool) {
	if _, size := keyOf(set); size != len(key) {
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
	if set.Type == ipset.BitmapPort {
		return ipset.Entry{Port: binary.BigEndian.Uint16(key)}, true
	}
	e.Addr = addr()
	switch set.Type {
	case ipset.HashIP:
		return e, true
	case ipset.HashNet:
		e.Bits = uint8(binary.NativeEndian.Uint32(take(4)))
		return e, true
	}
	e.Protocol = ipset.Protocol(take(4)[0])
	e.Port = binary.BigEndian.Uint16(take(4))
	if set.Type != ipset.HashIPPort {
		e.Peer = addr()
	}
	if set.Type == ipset.HashIPPortNet {
		e.Bits = uint8(binary.NativeEndian.Uint32(take(4)))
	}
	return e, true
}

// fits says why an entry cannot be in a set.
func fits(set ipset.Set, t ipset.Type, e ipset.Entry) error {
	six := set.Family == ipset.IPv6
	switch {
	case set.Type != t:
		return fmt.Errorf("the set is one of %s, not of %s: %w", set.Type, t, unix.EINVAL)
	case t != ipset.BitmapPort && e.Addr.Is4() == six:
		return fmt.Errorf("%s is no address for a set of %s: %w", e.Addr, set.Family.Keyword(), unix.EINVAL)
	case (t == ipset.HashIPPortIP || t == ipset.HashIPPortNet) && e.Peer.Is4() == six:
		return fmt.Errorf("%s is no address for a set of %s: %w", e.Peer, set.Family.Keyword(), unix.EINVAL)
	case hasNet(t) && e.Bits == 0:
		return fmt.Errorf("a set holds no network of length 0: %w", unix.EINVAL)
	}
	return nil
}

// A set's comment says what it is, as `ipset save` does; what is not in the set itself, such as how many entries it may
// have, is there alone.
func parseSet(table cluster.Family, payload []byte) (set ipset.Set) {
	var size, kind uint32
	netlink.Attributes(payload[min(4, len(payload)):], func(attr uint16, value []byte) {
		switch attr {
		case unix.NFTA_SET_NAME:
			set.Name = text(value)
		case unix.NFTA_SET_KEY_LEN:
			size = netlink.Uint32BE(value)
		case unix.NFTA_SET_KEY_TYPE:
			kind = netlink.Uint32BE(value)
		case unix.NFTA_SET_USERDATA:
			comment, _ := tagged(value, setComment)
			words := strings.Fields(string(comment))
			if len(words) < 2 {
				return
			}
			set.Type = ipset.Type(words[1])
			for i := 2; i+1 < len(words); i += 2 {
				n := uint32(0)
				_, _ = fmt.Sscan(words[i+1], &n)
				switch words[i] {
				case "hashsize":
					set.HashSize = n
				case "maxelem":
					set.MaxElem = n
				}
			}
		}
	})
	if set.Type.Hash() {
		set.Family = table
	}
	if k, n := keyOf(set); n == 0 || k != kind || n != int(size) || set.Validate() != nil {
		set.Type, set.Family = "unknown", 0
	}
	return set
}

// The tags of what we store with sets and rules: those of nft's comments, which it prints, and our own.
const (
	ruleComment = 0
	setComment  = 7

	ruleNumber  = 200 // of the rule in its chain, as dataplane has them
	ruleLengths = 201 // of the networks for which it was written
)

// tag appends a tag with its value. All together have room for 256 bytes.
func tag(to []byte, kind byte, value []byte) []byte {
	return append(append(to, kind, byte(len(value))), value...)
}

// tagged returns the value of a tag.
func tagged(all []byte, kind byte) (value []byte, found bool) {
	for len(all) >= 2 && len(all) >= 2+int(all[1]) {
		if all[0] == kind {
			return all[2 : 2+int(all[1])], true
		}
		all = all[2+int(all[1]):]
	}
	return nil, false
}
