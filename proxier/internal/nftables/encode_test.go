package nftables

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

func anyAddr(r *rand.Rand, family ipset.Family) netip.Addr {
	bytes := make([]byte, map[ipset.Family]int{ipset.IPv4: 4, ipset.IPv6: 16}[family])
	for i := range bytes {
		bytes[i] = byte(r.UintN(256))
	}
	if family == ipset.IPv6 {
		bytes[0] = 0xfd
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

// TestKeysAndEntriesAreInverse for any entry of any type, and keys have the length that the set is made with.
func TestKeysAndEntriesAreInverse(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 5000 {
		set := ipset.Set{
			Name: "x", Type: ipset.Types()[r.IntN(len(ipset.Types()))],
			Family: []ipset.Family{ipset.IPv4, ipset.IPv6}[r.IntN(2)],
		}
		if !set.Type.Hash() {
			set.Family = 0
		}
		var e ipset.Entry
		for _, p := range set.Type.Parts() {
			switch p {
			case ipset.Address, ipset.Network:
				e.Addr = anyAddr(r, set.Family)
			case ipset.Peer, ipset.PeerNetwork:
				e.Peer = anyAddr(r, set.Family)
			case ipset.Port:
				e.Protocol = []ipset.Protocol{ipset.TCP, ipset.UDP, ipset.SCTP}[r.IntN(3)]
				e.Port = uint16(r.UintN(65536))
			case ipset.BarePort:
				e.Port = uint16(r.UintN(65536))
			}
		}
		if hasNet(set.Type) {
			e.Bits = uint8(1 + r.IntN(e.Addr.BitLen()))
		}
		if err := fits(set, set.Type, e); err != nil {
			t.Fatalf("TEST_SEED=%d: %v", seed, err)
		}
		key := appendKey(nil, set.Type, e)
		if got, ok := parseKey(set, key); !ok || got != e {
			t.Fatalf("seed %d: %s %+v: the key %x is read as %+v", seed, set, e, key, got)
		}
		if _, ok := parseKey(set, key[1:]); ok {
			t.Fatalf("%s: a key that is too short is read", set)
		}
	}
}

// TestFits: what the kernel would take for another entry is refused before.
func TestFits(t *testing.T) {
	four, six := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	for name, c := range map[string]struct {
		set ipset.Set
		t   ipset.Type
		e   ipset.Entry
	}{
		"another type":         {ipset.Set{Type: ipset.HashIP, Family: ipset.IPv4}, ipset.HashNet, ipset.Entry{Addr: four, Bits: 32}},
		"IPv6 among IPv4":      {ipset.Set{Type: ipset.HashIP, Family: ipset.IPv4}, ipset.HashIP, ipset.Entry{Addr: six}},
		"IPv4 among IPv6":      {ipset.Set{Type: ipset.HashIP, Family: ipset.IPv6}, ipset.HashIP, ipset.Entry{Addr: four}},
		"another peer":         {ipset.Set{Type: ipset.HashIPPortIP, Family: ipset.IPv4}, ipset.HashIPPortIP, ipset.Entry{Addr: four, Peer: six}},
		"a network of nothing": {ipset.Set{Type: ipset.HashNet, Family: ipset.IPv4}, ipset.HashNet, ipset.Entry{Addr: four}},
	} {
		if fits(c.set, c.t, c.e) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestLengths(t *testing.T) {
	var l lengths
	for _, n := range []uint8{128, 24, 0, 24, 32} {
		l = l.with(n)
	}
	if got := slices.Collect(l.all()); !slices.Equal(got, []uint8{0, 24, 32, 128}) {
		t.Errorf("%v", got)
	}
	fewer := lengths(nil).with(24)
	if !l.covers(fewer) || fewer.covers(l) || !fewer.covers(nil) || lengths(nil).covers(fewer) ||
		!l.covers(fewer.union(lengths(nil).with(32))) {
		t.Error("covers is wrong")
	}
}

// readBack returns expressions as they come back through netlink.
func readBack(exprs []expr) []expr {
	var b netlink.Batch
	b.Begin(0, 0)
	write(&b, exprs)
	b.End()
	return parse(b.Message(0)[unix.SizeofNlMsghdr:])
}

// TestEveryRuleHasItsOwnText: each rule's expressions differ from those of every other rule, and from their own with
// one bit changed. Bits that the kernel adds to a list by itself are left out.
func TestEveryRuleHasItsOwnText(t *testing.T) {
	types := map[string]ipset.Type{}
	foundation := dataplane.Foundation(dataplane.Config{
		Families: []cluster.Family{cluster.IPv4, cluster.IPv6}, MasqueradeMark: 1 << 14, MasqueradePorts: [2]uint16{32768, 65535}, AnswerPing: true,
		Pods:  dataplane.Pods{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00::/64")}},
		Facts: dataplane.Facts{KernelMajor: 6, KernelMinor: 1, IPVSMatch: true},
	})
	for name, set := range foundation.Sets {
		types[name] = set.Type
	}
	in := lengths(nil).with(16).with(64)
	rules := 0
	for id, chain := range foundation.Chains {
		e := encoder{family: id.Family, chain: id, types: types}
		encoded, err := e.encode(chain, func(string) lengths { return in })
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if got := e.read(
			id, encoded, func(string) lengths { return in },
		); !slices.EqualFunc(got.Rules, chain.Rules, dataplane.Rule.Equal) {
			t.Errorf("%s is read as %v, want %v", id, got.Rules, chain.Rules)
		}
		for i, k := range encoded.main {
			rules++
			if a, b := canonical(k.exprs), canonical(readBack(k.exprs)); a != b {
				t.Errorf("%s: written %s, read %s", k.comment, a, b)
			}
			// One expression less is another rule.
			changed := chainOf{main: slices.Clone(encoded.main), beside: encoded.beside}
			changed.main[i].exprs = k.exprs[1:]
			if got := e.read(id, changed, func(string) lengths { return in }); slices.EqualFunc(
				got.Rules, chain.Rules, dataplane.Rule.Equal,
			) {
				t.Errorf("%s: rule %d without its first expression is taken for the same", id, i)
			}
		}
		for name := range encoded.beside {
			changed := chainOf{main: encoded.main, beside: map[string][]kernelRule{name: encoded.beside[name][1:]}}
			if got := e.read(id, changed, func(string) lengths { return in }); slices.EqualFunc(
				got.Rules, chain.Rules, dataplane.Rule.Equal,
			) {
				t.Errorf("%s: chain %s without its first rule is taken for the same", id, name)
			}
		}
	}
	if rules < 60 {
		t.Errorf("%d rules: the test shows nothing", rules)
	}
}

// TestANewLengthIsSeen: rules that do not look for networks of a length that is in the set are none of ours.
func TestANewLengthIsSeen(t *testing.T) {
	id := dataplane.ChainID{Family: cluster.IPv4, Table: "filter", Name: dataplane.ChainClients}
	chain := dataplane.Chain{ID: id, Rules: []dataplane.Rule{{
		Matches: []dataplane.Match{dataplane.InSet{Set: dataplane.SetClients, By: dataplane.ByDestinationPortSource}},
		Verdict: dataplane.Verdict{Action: dataplane.Return},
	}}}
	e := encoder{family: cluster.IPv4, chain: id, types: map[string]ipset.Type{dataplane.SetClients: ipset.HashIPPortNet}}
	for _, c := range []struct {
		written, held lengths
		unknown       bool
	}{
		{nil, nil, false}, {lengths(nil).with(24), nil, false}, {lengths(nil).with(24).with(32), lengths(nil).with(24), false},
		{nil, lengths(nil).with(24), true}, {lengths(nil).with(32), lengths(nil).with(24).with(32), true},
	} {
		encoded, err := e.encode(chain, func(string) lengths { return c.written })
		if err != nil {
			t.Fatal(err)
		}
		if got := e.read(id, encoded, func(string) lengths { return c.held }).Rules; len(got) != 1 ||
			(got[0].Unknown != "") != c.unknown {
			t.Errorf("written for %v, held %v: %v", slices.Collect(c.written.all()), slices.Collect(c.held.all()), got)
		}
	}
}

// TestHooksAreRead, and what is none of them is unknown.
func TestHooksAreRead(t *testing.T) {
	e := encoder{family: cluster.IPv4}
	for hook := range dataplane.Foundation(dataplane.Config{Families: []cluster.Family{cluster.IPv4}}).Hooks {
		at := baseOf(hook)
		rules, err := e.encodeHook(hook, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := e.readHooks(at, rules)
		if _, is := got[hook]; !is || len(got) != 1 {
			t.Errorf("%s is read as %v", hook, got)
		}
		again := slices.Concat(rules, rules)
		for i := range rules {
			again[len(rules)+i].number = 1
		}
		rules[0].exprs = append(rules[0].exprs, end(nfDrop, ""))
		for name, rules := range map[string][]kernelRule{"changed": rules, "twice": again} {
			unknown := 0
			for h := range e.readHooks(at, rules) {
				if h.Match.Unknown != "" {
					unknown++
				}
				if baseOf(h) != at {
					t.Errorf("%s, %s: is of %s, want %s", hook, name, baseOf(h), at)
				}
			}
			if unknown != 1 {
				t.Errorf("%s, %s: %d unknown", hook, name, unknown)
			}
		}
	}
}
