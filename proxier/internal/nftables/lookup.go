package nftables

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// hasNet tells whether the keys of sets of the type end in a network and its length.
func hasNet(t ipset.Type) bool { return t == ipset.HashNet || t == ipset.HashIPPortNet }

// lookupsOf are the types of sets that a packet can be looked up in so.
var lookupsOf = map[dataplane.Lookup][]ipset.Type{
	dataplane.ByDestination:           {ipset.HashIP, ipset.HashNet, ipset.BitmapPort},
	dataplane.ByDestinationPort:       {ipset.HashIPPort},
	dataplane.ByDestinationPortSource: {ipset.HashIPPortIP, ipset.HashIPPortNet},
	dataplane.BySource:                {ipset.HashIP, ipset.HashNet},
	dataplane.BySourcePort:            {ipset.HashIPPort},
	dataplane.BySourcePortDestination: {ipset.HashIPPortIP, ipset.HashIPPortNet},
}

// inSet returns the ways in which a packet may be in the set, or not be in it.
func (e encoder) inSet(in dataplane.InSet, lengths lengths) (ways [][]expr, err error) {
	t, there := e.types[in.Set]
	if !there {
		return nil, fmt.Errorf("there is no set %s: %w", in.Set, unix.ENOENT)
	}
	fits := false
	for _, possible := range lookupsOf[in.By] {
		fits = fits || possible == t
	}
	if !fits {
		return nil, fmt.Errorf("set %s of %s cannot be asked by %d: %w", in.Set, t, in.By, unix.EINVAL)
	}
	address, other, offset := e.destination, e.source, uint32(destPort)
	if in.By == dataplane.BySource || in.By == dataplane.BySourcePort || in.By == dataplane.BySourcePortDestination {
		address, other, offset = e.source, e.destination, sourcePort
	}
	words := e.width() / 4
	front := func() []expr { return []expr{address(0), protocol(words), port(offset, words+1)} }
	switch t {
	case ipset.HashIP:
		return [][]expr{{address(0), lookup(in.Set, in.Not)}}, nil
	case ipset.BitmapPort:
		return [][]expr{{port(offset, 0), lookup(in.Set, in.Not)}}, nil
	case ipset.HashIPPort:
		ways = [][]expr{append(front(), lookup(in.Set, in.Not))}
	case ipset.HashIPPortIP:
		ways = [][]expr{append(front(), other(words+2), lookup(in.Set, in.Not))}
	case ipset.HashNet:
		return e.eachLength(lengths, func(n uint8) []expr {
			return append(e.network(address, 0, n), lookup(in.Set, in.Not))
		}), nil
	case ipset.HashIPPortNet:
		return e.eachLength(lengths, func(n uint8) []expr {
			return append(append(front(), e.network(other, words+2, n)...), lookup(in.Set, in.Not))
		}), nil
	}
	if in.Not {
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
