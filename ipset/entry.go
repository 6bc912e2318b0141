package ipset

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Type is the kernel's name of a set type, for example "hash:ip,port".
type Type string

// The set types that service proxies need.
const (
	HashIP        Type = "hash:ip"
	HashNet       Type = "hash:net"
	HashIPPort    Type = "hash:ip,port"
	HashIPPortIP  Type = "hash:ip,port,ip"
	HashIPPortNet Type = "hash:ip,port,net"
	BitmapPort    Type = "bitmap:port"
)

// types says of what the entries of each type consist. All that depends on a type uses it: text here, netlink in
// package client, keys and look-ups in another backend.
var types = []struct {
	name  Type
	parts []Part
}{
	{BitmapPort, []Part{BarePort}},
	{HashIP, []Part{Address}},
	{HashNet, []Part{Network}},
	{HashIPPort, []Part{Address, Port}},
	{HashIPPortIP, []Part{Address, Port, Peer}},
	{HashIPPortNet, []Part{Address, Port, PeerNetwork}},
}

// Types returns every Type that this package knows.
func Types() []Type {
	names := make([]Type, len(types))
	for i, t := range types {
		names[i] = t.name
	}
	return names
}

// Parts returns of what the entries of the type consist, in order; nil for a type that this package does not know.
// Callers do not change it.
func (t Type) Parts() []Part {
	for i := range types {
		if types[i].name == t {
			return types[i].parts
		}
	}
	return nil
}

// Has reports whether the entries of the type have one of these parts.
func (t Type) Has(parts ...Part) bool {
	return slices.ContainsFunc(t.Parts(), func(p Part) bool { return slices.Contains(parts, p) })
}

// Hash reports whether sets of the type are hashes, which have a family, a hash size and a maximal number of entries;
// the others are bitmaps over a range of ports.
func (t Type) Hash() bool { return strings.HasPrefix(string(t), "hash:") }

// Part is one part of an entry: what stands between two commas where ipset(8) prints it.
type Part uint8

// The parts, with the fields of an [Entry] that each of them is.
const (
	Address     Part = iota + 1 // Addr
	Network                     // Addr, the masked network address, and Bits
	Port                        // Protocol and Port
	BarePort                    // Port, of any protocol
	Peer                        // Peer
	PeerNetwork                 // Peer, masked, and Bits
)

// Entry is one member of a set, comparable with ==. Which fields count depends on the parts of the set's type; those
// that do not are zero.
type Entry struct {
	Addr     netip.Addr
	Peer     netip.Addr
	Port     uint16
	Protocol Protocol
	// Bits is the prefix length of the network, from 1 on. The kernel stores no network of length 0: callers split it
	// (0.0.0.0/1 and 128.0.0.0/1).
	Bits uint8
}

// Text returns the entry as ipset(8) writes it in a set of type t, for example "10.96.0.10,udp:53". A host network is
// written with its prefix length, unlike ipset(8), so that the text of one entry is always the same.
func (e Entry) Text(t Type) string {
	parts := t.Parts()
	if parts == nil {
		return fmt.Sprintf("BUG: entry for unknown set type %q", t)
	}
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = e.text(p)
	}
	return strings.Join(texts, ",")
}

func (e Entry) text(p Part) string {
	switch p {
	case Address:
		return e.Addr.String()
	case Network:
		return netip.PrefixFrom(e.Addr, int(e.Bits)).String()
	case Port:
		return e.Protocol.keyword() + ":" + strconv.Itoa(int(e.Port))
	case BarePort:
		return strconv.Itoa(int(e.Port))
	case Peer:
		return e.Peer.String()
	case PeerNetwork:
		return netip.PrefixFrom(e.Peer, int(e.Bits)).String()
	}
	return fmt.Sprintf("BUG: no text for part %d", p)
}

// ParseEntry reads the text form of an entry of a set of type t: the inverse of [Entry.Text], which also takes a
// network without prefix length as a host, as ipset(8) prints it.
func ParseEntry(t Type, text string) (e Entry, err error) {
	parts, texts := t.Parts(), strings.Split(text, ",")
	if parts == nil {
		return Entry{}, fmt.Errorf("entry %q: unknown set type %q", text, t)
	}
	if len(texts) != len(parts) {
		return Entry{}, fmt.Errorf("entry %q: type %s has %d parts, found %d", text, t, len(parts), len(texts))
	}
	for i, p := range parts {
		if err := e.parse(p, texts[i]); err != nil {
			return Entry{}, fmt.Errorf("entry %q: %w", text, err)
		}
	}
	if e.Peer.IsValid() && e.Peer.Is4() != e.Addr.Is4() {
		return Entry{}, fmt.Errorf("entry %q: %s and %s are of different families", text, e.Addr, e.Peer)
	}
	return e, nil
}

func (e *Entry) parse(p Part, text string) (err error) {
	switch p {
	case Address:
		e.Addr, err = parseAddr(text)
	case Network:
		e.Addr, e.Bits, err = parseNet(text)
	case Port:
		protocol, port, found := strings.Cut(text, ":")
		if !found {
			return fmt.Errorf("%q is not protocol:port", text)
		}
		if e.Protocol, err = ParseProtocol(protocol); err == nil {
			e.Port, err = parsePort(port)
		}
	case BarePort:
		e.Port, err = parsePort(text)
	case Peer:
		e.Peer, err = parseAddr(text)
	case PeerNetwork:
		e.Peer, e.Bits, err = parseNet(text)
	default:
		return fmt.Errorf("BUG: part %d cannot be read", p)
	}
	return err
}

// Matching returns the entries that a packet matches in a set of type t: near is the end of the packet that is looked
// up first, far its other end. There are several for a type with a network, the longest first, and none for a type
// that this package does not know.
func (t Type) Matching(near, far netip.AddrPort, protocol Protocol) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		if t.Parts() == nil {
			return
		}
		e, network := Entry{}, (*netip.Addr)(nil)
		for _, p := range t.Parts() {
			switch p {
			case Address:
				e.Addr = near.Addr()
			case Network:
				e.Addr, network = near.Addr(), &e.Addr
			case Port:
				e.Protocol, e.Port = protocol, near.Port()
			case BarePort:
				e.Port = near.Port()
			case Peer:
				e.Peer = far.Addr()
			case PeerNetwork:
				e.Peer, network = far.Addr(), &e.Peer
			}
		}
		if network == nil {
			yield(e)
			return
		}
		for bits := network.BitLen(); bits > 0; bits-- {
			masked, err := network.Prefix(bits)
			if err != nil {
				return
			}
			*network, e.Bits = masked.Addr(), uint8(bits)
			if !yield(e) {
				return
			}
		}
	}
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port %q is not a number from 0 to 65535", text)
	}
	return uint16(n), nil
}

func parseAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%q is not a plain IP address", text)
	}
	return addr, nil
}

func parseNet(text string) (netip.Addr, uint8, error) {
	if !strings.Contains(text, "/") {
		addr, err := parseAddr(text)
		return addr, uint8(addr.BitLen()), err
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Addr{}, 0, fmt.Errorf("%q is not a network in CIDR form", text)
	}
	if prefix.Bits() == 0 {
		return netip.Addr{}, 0, fmt.Errorf("%q: sets hold no network of length 0", text)
	}
	return prefix.Masked().Addr(), uint8(prefix.Bits()), nil
}
