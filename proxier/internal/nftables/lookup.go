package nftables

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// inSet returns the ways in which a packet may be in the set, or not be in it.
func (e encoder) inSet(in dataplane.InSet, lengths lengths) (ways [][]expr, err error) {
	t, there := e.types[in.Set]
	if !there {
		return nil, fmt.Errorf("there is no set %s: %w", in.Set, unix.ENOENT)
	}
	if parts := len(t.Parts()); parts == 0 || parts != in.By.Parts() {
		return nil, fmt.Errorf("set %s of %s cannot be matched by %d: %w", in.Set, t, in.By, unix.EINVAL)
	}
	near, far := packetEnd{e.destination, destPort}, packetEnd{e.source, sourcePort}
	if in.By.FromSource() {
		near, far = far, near
	}
	ways = [][]expr{nil}
	slot := 0
	for _, p := range t.Parts() {
		more, slots := e.load(p, near, far, slot, lengths)
		ways, slot = product(ways, more), slot+slots
	}
	for i := range ways {
		ways[i] = append(ways[i], lookup(in.Set, in.Not))
	}
	if in.Not && t.Has(ipset.Port) {
		ways = append([][]expr{noPorts()}, ways...)
	}
	return ways, nil
}

// eachLength returns a way for each length. Where there is none it returns one by which nobody comes: no set has a
// network of length 0.
func (e encoder) eachLength(lengths lengths, way func(uint8) []expr) (ways [][]expr) {
	for n := range lengths.all() {
		ways = append(ways, way(n))
	}
	if ways == nil {
		ways = append(ways, way(0))
	}
	return ways
}

// network loads the network of that length in which an address lies, and the length.
func (e encoder) network(address func(int) expr, slot int, length uint8) []expr {
	exprs := []expr{address(slot)}
	if width := e.width(); int(length) < 8*width {
		exprs = append(exprs, mask(slot, prefixMask(width, length), make([]byte, width)))
	}
	return append(exprs, load(slot+e.width()/4, native(uint32(length))))
}

func prefixMask(width int, length uint8) []byte {
	m := make([]byte, width)
	for i := range int(length) {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}
