package nftables

import (
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// encoder turns rules of a chain into expressions.
type encoder struct {
	family cluster.Family
	chain  dataplane.ChainID
	// types are the types of the sets that there are.
	types map[string]ipset.Type
}

// encoded is a rule in the words of the kernel: rules one of which gets a packet that matches, and those of a chain to
// which they may lead.
type encoded struct{ main, beside [][]expr }

// rule encodes a rule. besides is the name for the chain that it may need, lengths are those of the networks that may
// be in the sets that it asks.
func (e encoder) rule(r dataplane.Rule, besides string, lengths lengths) (encoded, error) {
	ways := [][]expr{nil}
	var outside *dataplane.InSet
	for _, m := range r.Matches {
		if in, is := m.(dataplane.InSet); is && in.Not && hasNet(e.types[in.Set]) {
			if outside != nil {
				return encoded{}, fmt.Errorf("BUG: a rule asks two sets of networks: %s", r)
			}
			outside = &in
			continue
		}
		more, err := e.match(m, lengths)
		if err != nil {
			return encoded{}, err
		}
		ways = product(ways, more)
	}
	verdict, err := e.verdict(r.Verdict)
	if err != nil {
		return encoded{}, err
	}
	if outside == nil {
		for i := range ways {
			ways[i] = append(slices.Clip(ways[i]), verdict...)
		}
		return encoded{main: ways}, nil
	}
	// A packet from one of the networks leaves the chain beside; a packet from none gets the verdict at its end.
	if r.Verdict.Action == dataplane.Return || r.Verdict.Action == dataplane.Goto {
		return encoded{}, fmt.Errorf("BUG: a chain that is jumped to cannot end the one that jumps: %s", r)
	}
	in := *outside
	in.Not = false
	hits, err := e.inSet(in, lengths)
	if err != nil {
		return encoded{}, err
	}
	for i := range hits {
		hits[i] = append(hits[i], end(unix.NFT_RETURN, ""))
	}
	for i := range ways {
		ways[i] = append(slices.Clip(ways[i]), end(unix.NFT_JUMP, besides))
	}
	return encoded{main: ways, beside: append(hits, verdict)}, nil
}

// product puts each of more behind each of ways.
func product(ways, more [][]expr) (all [][]expr) {
	for _, way := range ways {
		for _, m := range more {
			all = append(all, slices.Concat(way, m))
		}
	}
	return all
}

// What stands where in headers: IPv4, IPv6, and the ports of TCP, UDP and SCTP.
const (
	source4, destination4 = 12, 16
	source6, destination6 = 8, 24
	sourcePort, destPort  = 0, 2
)

func (e encoder) six() bool { return e.family == cluster.IPv6 }

// width is the length of addresses.
func (e encoder) width() int {
	if e.six() {
		return 16
	}
	return 4
}

func (e encoder) source(slot int) expr {
	offset := uint32(source4)
	if e.six() {
		offset = source6
	}
	return payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, uint32(e.width()), slot)
}

func (e encoder) destination(slot int) expr {
	offset := uint32(destination4)
	if e.six() {
		offset = destination6
	}
	return payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, uint32(e.width()), slot)
}

func protocol(slot int) expr { return meta(unix.NFT_META_L4PROTO, slot) }

func port(offset uint32, slot int) expr {
	return payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2, slot)
}

// noPorts matches what is of no protocol that has ports of ours. Loading a port ends a rule without a match where the
// packet is too short for one.
func noPorts() []expr {
	return []expr{
		protocol(0), compare(0, true, []byte{unix.IPPROTO_TCP}), compare(0, true, []byte{unix.IPPROTO_UDP}),
		compare(0, true, []byte{unix.IPPROTO_SCTP}),
	}
}

// match returns the ways in which a packet may match.
func (e encoder) match(m dataplane.Match, lengths lengths) ([][]expr, error) {
	one := func(exprs ...expr) ([][]expr, error) { return [][]expr{exprs}, nil }
	switch m := m.(type) {
	case dataplane.InSet:
		return e.inSet(m, lengths)
	case dataplane.Protocol:
		return one(protocol(0), compare(0, false, []byte{byte(m.Is)}))
	case dataplane.Ping:
		return one(e.icmp(), compare(0, false, e.icmpNumber()), port(0, 0).sized(1),
			compare(0, false, []byte{map[bool]byte{false: 8, true: 128}[e.six()]}))
	case dataplane.RouterError:
		if e.six() { // conntrack never calls a redirect related there
			return one(e.icmp(), compare(0, false, e.icmpNumber()))
		}
		const redirect = 5
		return one(e.icmp(), compare(0, false, e.icmpNumber()), port(0, 0).sized(1), compare(0, true, []byte{redirect}))
	case dataplane.FromLoopback:
		if e.six() {
			return one(e.source(0), compare(0, false, append(make([]byte, 15), 1)))
		}
		return one(e.source(0), mask(0, []byte{255, 0, 0, 0}, make([]byte, 4)), compare(0, false, []byte{127, 0, 0, 0}))
	case dataplane.FromLocal:
		fib := expr{"fib", []attr{
			number(unix.NFTA_FIB_DREG, register(0)), number(unix.NFTA_FIB_RESULT, unix.NFT_FIB_RESULT_ADDRTYPE),
			number(unix.NFTA_FIB_FLAGS, unix.NFTA_FIB_F_SADDR),
		}}
		return one(fib, compare(0, m.Not, native(unix.RTN_LOCAL)))
	case dataplane.Via:
		return one(via(m)...)
	case dataplane.Connection:
		return connection(m), nil
	case dataplane.Marked:
		return one(meta(unix.NFT_META_MARK, 0), mask(0, native(m.Bits), native(0)), compare(0, m.Not, native(m.Bits)))
	case dataplane.SentByIPVS:
		return e.sentByIPVS(m)
	}
	return nil, fmt.Errorf("BUG: no expressions for %T", m)
}

func (e encoder) icmp() expr { return protocol(0) }

func (e encoder) icmpNumber() []byte {
	if e.six() {
		return []byte{unix.IPPROTO_ICMPV6}
	}
	return []byte{unix.IPPROTO_ICMP}
}

// sized is the same load of another length.
func (x expr) sized(n uint32) expr {
	for i, a := range x.attrs {
		if a.kind == unix.NFTA_PAYLOAD_LEN {
			x.attrs[i] = number(unix.NFTA_PAYLOAD_LEN, n)
		}
	}
	return x
}

// via compares the name of the link by which the packet came, whole or by its beginning. What came by none has an empty
// name (nft_meta.c, nft_meta_store_ifname, Linux 5.10).
func via(v dataplane.Via) []expr {
	link := []byte(v.Link)
	if !v.Prefix {
		link = append(link, make([]byte, unix.IFNAMSIZ-len(link))...)
	}
	return []expr{meta(unix.NFT_META_IIFNAME, 0), compare(0, v.Not, link)}
}

// The bits of a connection's state (include/uapi/linux/netfilter/nf_conntrack_common.h).
const (
	stateInvalid, stateEstablished, stateRelated, stateNew, stateUntracked = 1, 2, 4, 8, 64
	statusConfirmed                                                        = 1 << 3
)

var stateBits = []struct {
	state dataplane.ConnectionState
	bit   uint32
}{{dataplane.New, stateNew}, {dataplane.Related, stateRelated}, {dataplane.Established, stateEstablished}}

// connection asks the state by one mask of the bits that match. Where a connection has to be unconfirmed, packets of no
// connection match all the same, and are a way for themselves: a rule that asks their status ends without a match.
func connection(c dataplane.Connection) (ways [][]expr) {
	state := uint32(0)
	for _, s := range stateBits {
		if c.State&s.state != 0 {
			state |= s.bit
		}
	}
	if c.Not {
		state = (stateInvalid | stateEstablished | stateRelated | stateNew | stateUntracked) &^ state
	}
	any := func(key, bits uint32, not bool) []expr {
		return []expr{tracked(key, 0), mask(0, native(bits), native(0)), compare(0, !not, native(0))}
	}
	known := any(unix.NFT_CT_STATE, state, false)
	if c.State == 0 {
		known = nil
	}
	if c.Unconfirmed {
		if none := state & (stateInvalid | stateUntracked); none != 0 {
			ways = append(ways, any(unix.NFT_CT_STATE, none, false))
			known = any(unix.NFT_CT_STATE, state&^none, false)
		}
		known = append(known, any(unix.NFT_CT_STATUS, statusConfirmed, true)...)
	}
	if c.Original {
		known = append(known, tracked(unix.NFT_CT_DIRECTION, 0), compare(0, false, []byte{0}))
	}
	return append(ways, known)
}

// sentByIPVS stands for a bit of the packet that nftables cannot read. IPVS changes where a packet goes that was sent
// to a front end, or where an answer comes from: then the connection began with a packet to a front end, or the source
// is one now. The latter is checked for front ends with source ranges, where it matters: an answer may begin a
// connection there ([dataplane.Config], noComeback).
func (e encoder) sentByIPVS(m dataplane.SentByIPVS) ([][]expr, error) {
	if !m.Not {
		return nil, fmt.Errorf("BUG: only packets that IPVS has not sent on can be matched")
	}
	answers, err := e.inSet(
		dataplane.InSet{Set: dataplane.SetName(dataplane.SetRestricted, e.family), By: dataplane.BySourcePort}, nil,
	)
	if err != nil {
		return nil, err
	}
	fronts := dataplane.SetName(dataplane.SetFrontEnd, e.family)
	if e.types[fronts] != ipset.HashIPPort {
		return nil, fmt.Errorf("there is no set %s of %s: %w", fronts, ipset.HashIPPort, unix.ENOENT)
	}
	began, words := uint32(unix.NFT_CT_DST_IP), e.width()/4
	if e.six() {
		began = unix.NFT_CT_DST_IP6
	}
	way := []expr{original(began, 0), protocol(words), original(unix.NFT_CT_PROTO_DST, words+1), lookup(fronts, true)}
	way = append(way, answers[0][:len(answers[0])-1]...)
	way = append(way, lookup(dataplane.SetName(dataplane.SetRestricted, e.family), true))
	return [][]expr{noPorts(), way}, nil
}

func (e encoder) verdict(v dataplane.Verdict) ([]expr, error) {
	switch v.Action {
	case 0:
		return nil, nil // a rule may do nothing
	case dataplane.Accept:
		if e.chain.Table == "nat" && e.chain.Name == dataplane.ChainServices {
			return e.keepDestination(), nil
		}
		return []expr{end(nfAccept, "")}, nil
	case dataplane.Drop:
		return []expr{end(nfDrop, "")}, nil
	case dataplane.Return:
		return []expr{end(unix.NFT_RETURN, "")}, nil
	case dataplane.Reject:
		portUnreachable := byte(3)
		if e.six() {
			portUnreachable = 4
		}
		return []expr{{"reject", []attr{
			number(unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_ICMP_UNREACH),
			{kind: unix.NFTA_REJECT_ICMP_CODE, value: []byte{portUnreachable}},
		}}}, nil
	case dataplane.SetMark:
		return mark(v.Bits, v.Bits), nil
	case dataplane.ClearMark:
		return mark(v.Bits, 0), nil
	case dataplane.Masquerade:
		return masquerade(v), nil
	case dataplane.Jump:
		return []expr{end(unix.NFT_JUMP, chainName(e.chain.Table, v.Chain))}, nil
	case dataplane.Goto:
		return []expr{end(unix.NFT_GOTO, chainName(e.chain.Table, v.Chain))}, nil
	}
	return nil, fmt.Errorf("BUG: no expressions for verdict %d", v.Action)
}

// keepDestination gives the connection the destination that it has. To accept a packet in one chain of nat does not
// keep it from the next one, whose DNAT may apply. A connection that has got a destination passes no further chain
// (net/netfilter/nf_nat_core.c, nf_nat_inet_fn, Linux 6.12). A port is never changed by this
// (nf_nat_l4proto_unique_tuple).
func (e encoder) keepDestination() []expr {
	const rangeOfAddresses = 1 // NF_NAT_RANGE_MAP_IPS, which the kernel lists
	return []expr{e.destination(0), {"nat", []attr{
		number(unix.NFTA_NAT_TYPE, unix.NFT_NAT_DNAT), number(unix.NFTA_NAT_FAMILY, uint32(e.family)),
		number(unix.NFTA_NAT_REG_ADDR_MIN, register(0)), number(unix.NFTA_NAT_REG_ADDR_MAX, register(0)),
		number(unix.NFTA_NAT_FLAGS, rangeOfAddresses),
	}}}
}

// mark sets the bits of a mark that are in clear to those in set.
func mark(clear, set uint32) []expr {
	return []expr{
		meta(unix.NFT_META_MARK, 0), mask(0, native(^clear), native(set)),
		{"meta", []attr{number(unix.NFTA_META_KEY, unix.NFT_META_MARK), number(unix.NFTA_META_SREG, register(0))}},
	}
}

func masquerade(v dataplane.Verdict) []expr {
	const randomPorts = 1 << 4 // NF_NAT_RANGE_PROTO_RANDOM_FULLY
	const portsGiven = 1 << 1  // NF_NAT_RANGE_PROTO_SPECIFIED
	e, flags := expr{name: "masq"}, uint32(0)
	var exprs []expr
	if v.Ports != [2]uint16{} {
		exprs = append(exprs, load(0, []byte{byte(v.Ports[0] >> 8), byte(v.Ports[0])}),
			load(1, []byte{byte(v.Ports[1] >> 8), byte(v.Ports[1])}))
		e.attrs = append(e.attrs, number(unix.NFTA_MASQ_REG_PROTO_MIN, register(0)),
			number(unix.NFTA_MASQ_REG_PROTO_MAX, register(1)))
		flags |= portsGiven
	}
	if v.Random {
		flags |= randomPorts
	}
	if flags != 0 {
		e.attrs = append(e.attrs, number(unix.NFTA_MASQ_FLAGS, flags))
	}
	return append(exprs, e)
}

// lengths are the lengths of networks that rules look up, a bit for each from 0 to 128.
type lengths []byte

const lengthsSize = 17

func (l lengths) has(n uint8) bool { return int(n/8) < len(l) && l[n/8]&(1<<(n%8)) != 0 }

// with returns the lengths with one more.
func (l lengths) with(n uint8) lengths {
	if l.has(n) {
		return l
	}
	more := make(lengths, lengthsSize)
	copy(more, l)
	more[n/8] |= 1 << (n % 8)
	return more
}

// covers reports whether all lengths of other are among l.
func (l lengths) covers(other lengths) bool {
	for i, b := range other {
		if i >= len(l) && b != 0 || i < len(l) && b&^l[i] != 0 {
			return false
		}
	}
	return true
}

// union returns the lengths of both.
func (l lengths) union(other lengths) lengths {
	for n := range other.all() {
		l = l.with(n)
	}
	return l
}

// all calls each for the lengths, the shortest first.
func (l lengths) all() func(yield func(uint8) bool) {
	return func(yield func(uint8) bool) {
		for i, b := range l {
			for b != 0 {
				if !yield(uint8(i*8 + bits.TrailingZeros8(b))) {
					return
				}
				b &= b - 1
			}
		}
	}
}
