package ipset

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Entry is one member of a set, comparable with ==. Which fields count depends on the set's type; those that do not are
// zero:
//
//	hash:ip            Addr
//	hash:net           Addr (the masked network address), Bits
//	hash:ip,port       Addr, Protocol, Port
//	hash:ip,port,ip    Addr, Protocol, Port, Peer
//	hash:ip,port,net   Addr, Protocol, Port, Peer (masked), Bits
//	bitmap:port        Port
type Entry struct {
	Addr     netip.Addr
	Peer     netip.Addr
	Port     uint16
	Protocol Protocol
	// Bits is the prefix length of the network in hash:net and hash:ip,port,net. The kernel stores a network of
	// length 0 in none of the two: callers split it (0.0.0.0/1 and 128.0.0.0/1).
	Bits uint8
}

// Text returns the entry as ipset(8) writes it in a set of type t, for example "10.96.0.10,udp:53". A host network is
// written with its prefix length, unlike ipset(8), so that the text of one entry is always the same.
func (e Entry) Text(t Type) string {
	switch t {
	case HashIP:
		return e.Addr.String()
	case HashNet:
		return netip.PrefixFrom(e.Addr, int(e.Bits)).String()
	case HashIPPort:
		return fmt.Sprintf("%s,%s:%d", e.Addr, e.Protocol.keyword(), e.Port)
	case HashIPPortIP:
		return fmt.Sprintf("%s,%s:%d,%s", e.Addr, e.Protocol.keyword(), e.Port, e.Peer)
	case HashIPPortNet:
		return fmt.Sprintf("%s,%s:%d,%s", e.Addr, e.Protocol.keyword(), e.Port, netip.PrefixFrom(e.Peer, int(e.Bits)))
	case BitmapPort:
		return strconv.Itoa(int(e.Port))
	}
	return fmt.Sprintf("BUG: entry for unknown set type %q", t)
}

// ParseEntry reads the text form of an entry of a set of type t: the inverse of [Entry.Text], which also takes a
// network without prefix length as a host, as ipset(8) prints it.
func ParseEntry(t Type, text string) (Entry, error) {
	if !t.known() {
		return Entry{}, fmt.Errorf("entry %q: unknown set type %q", text, t)
	}
	want := 1
	if t.hasPeer() {
		want = 3
	} else if t == HashIPPort {
		want = 2
	}
	parts := strings.Split(text, ",")
	if len(parts) != want {
		return Entry{}, fmt.Errorf("entry %q: type %s has %d parts, found %d", text, t, want, len(parts))
	}
	e, err := parseParts(t, parts)
	if err != nil {
		return Entry{}, fmt.Errorf("entry %q: %w", text, err)
	}
	return e, nil
}

func parseParts(t Type, parts []string) (e Entry, err error) {
	if t == BitmapPort {
		e.Port, err = parsePort(parts[0])
		return e, err
	}
	if t == HashNet {
		e.Addr, e.Bits, err = parseNet(parts[0])
		return e, err
	}
	if e.Addr, err = parseAddr(parts[0]); err != nil || t == HashIP {
		return e, err
	}
	protocol, port, found := strings.Cut(parts[1], ":")
	if !found {
		return e, fmt.Errorf("%q is not protocol:port", parts[1])
	}
	if e.Protocol, err = ParseProtocol(protocol); err != nil {
		return e, err
	}
	if e.Port, err = parsePort(port); err != nil {
		return e, err
	}
	switch t {
	case HashIPPortIP:
		e.Peer, err = parseAddr(parts[2])
	case HashIPPortNet:
		e.Peer, e.Bits, err = parseNet(parts[2])
	}
	if err == nil && e.Peer.IsValid() && e.Peer.Is4() != e.Addr.Is4() {
		err = fmt.Errorf("%s and %s are of different families", e.Addr, e.Peer)
	}
	return e, err
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
