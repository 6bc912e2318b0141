// Package hashing computes to which real server Linux's schedulers sh and mh send a client, from the list of real
// servers alone.
//
// The algorithms are the kernel's (net/netfilter/ipvs/ip_vs_sh.c and ip_vs_mh.c, Linux 6.12), with the sizes of tables
// that all distributions build: CONFIG_IP_VS_SH_TAB_BITS=8, CONFIG_IP_VS_MH_TAB_INDEX=12. A kernel for 32-bit machines
// hashes otherwise.
package hashing

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// RealServer is what the tables are made from.
type RealServer struct {
	Addr netip.Addr
	Port uint16
	// Weight is the weight now. LastWeight is the last one above 0 since the real server was added, 0 if there was
	// none; mh uses it, and sh uses Weight.
	Weight, LastWeight uint32
}

// Table is the lookup table of one virtual server.
type Table struct {
	scheduler string
	flags     scheduler.Flags
	list      []RealServer
	slots     []int16 // indexes of list; -1 is none
	hash      func(key, offset uint32) uint32
}

// New returns the table of the kernel's scheduler for real servers in the order of the kernel's list. ok is false for
// schedulers that have no such table, and for more real servers than it can hold (32767).
func New(name string, flags scheduler.Flags, list []RealServer) (t Table, ok bool) {
	t = Table{scheduler: name, flags: flags, list: list}
	if len(list) > 1<<15-1 {
		return t, false
	}
	switch name {
	case "sh":
		t.slots, t.hash = sourceHashSlots(list), sourceHash
	case "mh":
		t.slots, t.hash = maglevSlots(list), maglevHash
	default:
		return t, false
	}
	return t, true
}

// Choose returns the index in the list of the real server that a new connection of the client goes to; ok is false
// where the kernel refuses it. Ceilings of connections are not looked at: the kernel passes over an overloaded real
// server as if it had the weight 0.
func (t Table) Choose(client netip.AddrPort) (index int, ok bool) {
	key := fold(client.Addr())
	if t.flags&scheduler.Port != 0 {
		key += uint32(client.Port())
	}
	first := t.hash(key, 0)
	index, ok = t.at(first)
	if ok || index < 0 || t.flags&scheduler.Fallback == 0 {
		return index, ok
	}
	size := uint32(len(t.slots))
	for offset := range size {
		index, ok = t.at(t.hash(key, (offset+first)%size))
		if ok || index < 0 {
			return index, ok
		}
	}
	return -1, false
}

// at returns what is in the slot, -1 for nothing, and whether it takes new connections.
func (t Table) at(slot uint32) (index int, ok bool) {
	index = int(t.slots[slot])
	return index, index >= 0 && t.list[index].Weight > 0
}

// Digest returns 16 hexadecimal digits. They are the same where, and but for chance only where, the same clients go to
// the same endpoints by the same scheduler.
func (t Table) Digest() string {
	h := sha256.New()
	fmt.Fprintln(h, t.scheduler, t.flags)
	names := make([][]byte, len(t.list))
	for i, r := range t.list {
		names[i] = fmt.Appendln(nil, netip.AddrPortFrom(r.Addr, r.Port), r.Weight > 0)
	}
	for _, i := range t.slots {
		if i < 0 {
			h.Write([]byte("\n"))
		} else {
			h.Write(names[i])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// fold returns the address as one number: an IPv6 address is the exclusive or of its four words.
func fold(a netip.Addr) uint32 {
	bytes := a.AsSlice()
	var folded uint32
	for ; len(bytes) > 0; bytes = bytes[4:] {
		folded ^= binary.BigEndian.Uint32(bytes)
	}
	return folded
}
