package nftables

import (
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// FuzzParseMessages: whoever may write nftables writes what these read: any message of the kernel about rules, chains
// and sets.
func FuzzParseMessages(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 8, 0, 1, 0, 'a', 'b', 'c', 0})
	f.Add([]byte{10, 0, 0, 0, 5, 0, 4, 0, 1})
	f.Add([]byte{2, 0, 0, 0, 16, 0, 4, 0, 12, 0, 1, 0, 8, 0, 1, 0, 'c', 'm', 'p', 0})
	f.Add([]byte{2, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		parseChain(payload)
		table, chain, rule := parseKernelRule(payload)
		again, same, twice := parseKernelRule(payload)
		if table != again || chain != same || canonical(rule.exprs) != canonical(twice.exprs) || rule.number < -1 ||
			rule.number > 255 {
			t.Errorf("%x is read as %+v, and then as %+v", payload, rule, twice)
		}
		for _, e := range rule.exprs {
			for _, a := range e.attrs {
				parseAttr(e.name, a.kind, a.value)
			}
		}
		set := parseSet(cluster.IPv4, payload)
		parseKey(set, payload)
	})
}

// FuzzParseKey: what is read as an entry of a set is written as the same key, but for what stands between its parts.
func FuzzParseKey(f *testing.F) {
	for _, t := range append(ipset.Types(), "of:another,kind") {
		for _, family := range []ipset.Family{0, ipset.IPv4, ipset.IPv6} {
			_, size := keyOf(ipset.Set{Type: t, Family: family})
			f.Add(string(t), uint8(family), make([]byte, size))
		}
	}
	f.Fuzz(func(t *testing.T, kind string, family uint8, key []byte) {
		set := ipset.Set{Name: "x", Type: ipset.Type(kind), Family: ipset.Family(family)}
		entry, ok := parseKey(set, key)
		if !ok {
			return
		}
		again, ok := parseKey(set, appendKey(nil, set.Type, entry))
		if !ok || again != entry {
			t.Errorf("%s: the key %x is read as %+v, and that as %+v, %v", set, key, entry, again, ok)
		}
	})
}
