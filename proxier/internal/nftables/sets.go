package nftables

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// fits says why an entry cannot be in a set.
func fits(set ipset.Set, t ipset.Type, e ipset.Entry) error {
	six := set.Family == ipset.IPv6
	switch {
	case set.Type != t:
		return fmt.Errorf("the set is one of %s, not of %s: %w", set.Type, t, unix.EINVAL)
	case t.Has(ipset.Address, ipset.Network) && e.Addr.Is4() == six:
		return fmt.Errorf("%s is no address for a set of %s: %w", e.Addr, set.Family.Keyword(), unix.EINVAL)
	case t.Has(ipset.Peer, ipset.PeerNetwork) && e.Peer.Is4() == six:
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

// tag appends a tag with its value. All tags together may have 256 bytes.
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
