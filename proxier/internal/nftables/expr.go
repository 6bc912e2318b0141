package nftables

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// expr is one expression of a rule, as netlink carries it.
type expr struct {
	name  string
	attrs []attr
}

// attr is an attribute of an expression: a value, or a nest of attributes.
type attr struct {
	kind  uint16
	value []byte
	nest  []attr
}

// number is an attribute of four bytes in network byte order.
func number(kind uint16, n uint32) attr {
	return attr{kind: kind, value: binary.BigEndian.AppendUint32(nil, n)}
}

func name(kind uint16, s string) attr { return attr{kind: kind, value: append([]byte(s), 0)} }

func data(kind uint16, value []byte) attr {
	return attr{kind: kind, nest: []attr{{kind: unix.NFTA_DATA_VALUE, value: value}}}
}

// native is a value in a register, as metadata have it.
func native(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// write adds the expressions to a message.
func write(b *netlink.Batch, exprs []expr) {
	for _, e := range exprs {
		element := b.Nest(unix.NFTA_LIST_ELEM)
		b.String(unix.NFTA_EXPR_NAME, e.name)
		body := b.Nest(unix.NFTA_EXPR_DATA)
		writeAttrs(b, e.attrs)
		b.EndNest(body)
		b.EndNest(element)
	}
}

func writeAttrs(b *netlink.Batch, attrs []attr) {
	for _, a := range attrs {
		if a.nest == nil {
			b.Bytes(a.kind, a.value)
			continue
		}
		nest := b.Nest(a.kind)
		writeAttrs(b, a.nest)
		b.EndNest(nest)
	}
}

// nested are the attributes of expressions that hold data or a verdict. The kernel sets no flag on what is nested in a
// rule that it lists (nla_nest_start_noflag).
var nested = map[string][]uint16{
	"cmp": {unix.NFTA_CMP_DATA}, "bitwise": {unix.NFTA_BITWISE_MASK, unix.NFTA_BITWISE_XOR}, "immediate": {unix.NFTA_IMMEDIATE_DATA},
}

// parse reads the expressions of a rule that the kernel lists.
func parse(list []byte) (exprs []expr) {
	netlink.Attributes(list, func(_ uint16, element []byte) {
		var e expr
		netlink.Attributes(element, func(kind uint16, value []byte) {
			switch kind {
			case unix.NFTA_EXPR_NAME:
				e.name = text(value)
			case unix.NFTA_EXPR_DATA: // behind the name
				netlink.Attributes(
					value, func(kind uint16, value []byte) { e.attrs = append(e.attrs, parseAttr(e.name, kind, value)) },
				)
			}
		})
		exprs = append(exprs, e)
	})
	return exprs
}

func parseAttr(of string, kind uint16, value []byte) attr {
	if !slices.Contains(nested[of], kind) {
		return attr{kind: kind, value: slices.Clone(value)}
	}
	a := attr{kind: kind, nest: []attr{}}
	netlink.Attributes(value, func(kind uint16, value []byte) {
		if kind != unix.NFTA_DATA_VERDICT {
			a.nest = append(a.nest, attr{kind: kind, value: slices.Clone(value)})
			return
		}
		verdict := attr{kind: kind, nest: []attr{}}
		netlink.Attributes(value, func(kind uint16, value []byte) {
			verdict.nest = append(verdict.nest, attr{kind: kind, value: slices.Clone(value)})
		})
		a.nest = append(a.nest, verdict)
	})
	return a
}

// canonical returns expressions as text that is the same for what was written and for what the kernel lists of it: it
// lists attributes in its own order, and with the defaults, which are zero.
func canonical(exprs []expr) string {
	var b strings.Builder
	for _, e := range exprs {
		fmt.Fprintf(&b, "[%s%s]", e.name, canonicalAttrs(e.attrs))
	}
	return b.String()
}

func canonicalAttrs(attrs []attr) string {
	var b strings.Builder
	for _, a := range slices.SortedFunc(slices.Values(attrs), func(a, b attr) int { return cmp.Compare(a.kind, b.kind) }) {
		switch {
		case a.nest != nil:
			fmt.Fprintf(&b, " %d(%s)", a.kind, strings.TrimSpace(canonicalAttrs(a.nest)))
		case len(bytes.Trim(a.value, "\x00")) > 0:
			fmt.Fprintf(&b, " %d=%x", a.kind, a.value)
		}
	}
	return b.String()
}

// references returns the sets and the chains that expressions name.
func references(exprs []expr) (sets, chains []string) {
	for _, e := range exprs {
		for _, a := range e.attrs {
			switch {
			case e.name == "lookup" && a.kind == unix.NFTA_LOOKUP_SET:
				sets = append(sets, text(a.value))
			case e.name == "immediate" && a.kind == unix.NFTA_IMMEDIATE_DATA:
				for _, verdict := range a.nest {
					for _, v := range verdict.nest {
						if v.kind == unix.NFTA_VERDICT_CHAIN {
							chains = append(chains, text(v.value))
						}
					}
				}
			}
		}
	}
	return sets, chains
}

func text(value []byte) string { return string(bytes.TrimRight(value, "\x00")) }

// register returns the number of the register that begins at the slot of four bytes. The kernel lists those at a
// multiple of 16 bytes by their old numbers (nf_tables_api.c, nft_dump_register, Linux 6.12).
func register(slot int) uint32 {
	if slot%4 == 0 {
		return unix.NFT_REG_1 + uint32(slot/4)
	}
	return unix.NFT_REG32_00 + uint32(slot)
}

func meta(key uint32, slot int) expr {
	return expr{"meta", []attr{number(unix.NFTA_META_KEY, key), number(unix.NFTA_META_DREG, register(slot))}}
}

func payload(base, offset, size uint32, slot int) expr {
	return expr{"payload", []attr{
		number(unix.NFTA_PAYLOAD_DREG, register(slot)), number(unix.NFTA_PAYLOAD_BASE, base),
		number(unix.NFTA_PAYLOAD_OFFSET, offset), number(unix.NFTA_PAYLOAD_LEN, size),
	}}
}

// tracked loads what connection tracking knows of the packet.
func tracked(key uint32, slot int) expr {
	return expr{"ct", []attr{number(unix.NFTA_CT_DREG, register(slot)), number(unix.NFTA_CT_KEY, key)}}
}

// original loads what it knows of the connection's first packet.
func original(key uint32, slot int) expr {
	const first = 0 // IP_CT_DIR_ORIGINAL
	e := tracked(key, slot)
	e.attrs = append(e.attrs, attr{kind: unix.NFTA_CT_DIRECTION, value: []byte{first}})
	return e
}

// mask keeps the bits of a register that mask has, and then flips those that flip has.
func mask(slot int, mask, flip []byte) expr {
	return expr{"bitwise", []attr{
		number(unix.NFTA_BITWISE_SREG, register(slot)), number(unix.NFTA_BITWISE_DREG, register(slot)),
		number(unix.NFTA_BITWISE_LEN, uint32(len(mask))),
		data(unix.NFTA_BITWISE_MASK, mask), data(unix.NFTA_BITWISE_XOR, flip),
	}}
}

// compare goes on where the register has the value, or has it not.
func compare(slot int, not bool, value []byte) expr {
	op := uint32(unix.NFT_CMP_EQ)
	if not {
		op = unix.NFT_CMP_NEQ
	}
	return expr{"cmp", []attr{
		number(unix.NFTA_CMP_SREG, register(slot)), number(unix.NFTA_CMP_OP, op), data(unix.NFTA_CMP_DATA, value),
	}}
}

func load(slot int, value []byte) expr {
	return expr{
		"immediate", []attr{number(unix.NFTA_IMMEDIATE_DREG, register(slot)), data(unix.NFTA_IMMEDIATE_DATA, value)},
	}
}

// lookup goes on where the key that begins at the first register is in the set, or is not.
func lookup(set string, not bool) expr {
	e := expr{"lookup", []attr{name(unix.NFTA_LOOKUP_SET, set), number(unix.NFTA_LOOKUP_SREG, register(0))}}
	if not {
		e.attrs = append(e.attrs, number(unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV))
	}
	return e
}

// The verdicts of the kernel that need no constant of nftables (include/uapi/linux/netfilter.h).
const (
	nfDrop   = 0
	nfAccept = 1
)

// end is a verdict; chain is for jumps.
func end(code int32, chain string) expr {
	verdict := []attr{number(unix.NFTA_VERDICT_CODE, uint32(code))}
	if chain != "" {
		verdict = append(verdict, name(unix.NFTA_VERDICT_CHAIN, chain))
	}
	return expr{"immediate", []attr{
		number(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
		{kind: unix.NFTA_IMMEDIATE_DATA, nest: []attr{{kind: unix.NFTA_DATA_VERDICT, nest: verdict}}},
	}}
}
