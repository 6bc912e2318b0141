package explain

import (
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// walker follows one packet through chains. Rules see it as it is at that moment: IPVS changes the destination.
type walker struct {
	seen  dataplane.Observation
	words dataplane.Words

	family   cluster.Family
	protocol cluster.Protocol
	src, dst netip.AddrPort
	// link is that by which it came in; "" is unknown, and none for what the node sends.
	link     string
	fromNode bool
	mark     uint32
	byIPVS   bool
}

// answer is what a condition comes to.
type answer int8

const (
	no answer = iota
	yes
	undecided // it depends on something that is not known
)

func is(holds bool) answer {
	if holds {
		return yes
	}
	return no
}

func (a answer) unless(not bool) answer {
	if not && a != undecided {
		return yes - a
	}
	return a
}

// verdict is where a walk ends: at the end of the chain with the zero Action.
type verdict struct {
	action dataplane.Action
	rule   string // that decided
	// marked is the rule that set a mark on the way, "" where none did.
	marked    string
	undecided string // the rule that could not be followed; the walk went on as if it did not match
}

// chain walks through a chain of ours.
func (w *walker) chain(id dataplane.ChainID, depth int) (v verdict) {
	if depth > 16 { // the kernel has no longer ways either (net/netfilter/x_tables.c, XT_MAX_JUMP)
		return v
	}
	for _, rule := range w.seen.State.Chains[id].Rules {
		matches, text := w.rule(rule), w.words.Rule(id.Family, rule)
		if matches == undecided && v.undecided == "" {
			v.undecided = text
		}
		if matches != yes {
			continue
		}
		switch a := rule.Verdict.Action; a {
		case dataplane.Accept, dataplane.Drop, dataplane.Reject, dataplane.Masquerade:
			v.action, v.rule = a, text
			return v
		case dataplane.Return:
			v.rule = text
			return v
		case dataplane.SetMark:
			w.mark |= rule.Verdict.Bits
			v.marked = text
		case dataplane.ClearMark:
			w.mark &^= rule.Verdict.Bits
		case dataplane.Jump, dataplane.Goto:
			before := w.mark
			sub := w.chain(dataplane.ChainID{Family: id.Family, Table: id.Table, Name: rule.Verdict.Chain}, depth+1)
			if sub.undecided != "" && v.undecided == "" {
				v.undecided = sub.undecided
			}
			if w.mark != before && sub.marked != "" { // the rule that led there says more than the one that sets the mark
				v.marked = text
			}
			if sub.action != 0 {
				v.action, v.rule = sub.action, sub.rule
				if sub.action == dataplane.Masquerade {
					v.rule = text
				}
				return v
			}
			if a == dataplane.Goto {
				v.rule = sub.rule
				return v
			}
		}
	}
	return v
}

// rule reports whether all matches of a rule hold.
func (w *walker) rule(rule dataplane.Rule) answer {
	if rule.Unknown != "" {
		return undecided
	}
	all := yes
	for _, m := range rule.Matches {
		switch w.match(m) {
		case no:
			return no
		case undecided:
			all = undecided
		}
	}
	return all
}

func (w *walker) match(m dataplane.Match) answer {
	switch m := m.(type) {
	case dataplane.InSet:
		return is(w.inSet(m.Set, m.By)).unless(m.Not)
	case dataplane.Protocol:
		return is(m.Is == w.protocol)
	case dataplane.FromLoopback:
		return is(w.src.Addr().IsLoopback())
	case dataplane.FromLocal:
		return is(w.local(w.src.Addr())).unless(m.Not)
	case dataplane.Via:
		return w.via(m)
	case dataplane.Connection:
		// It is the first packet: new, in the original direction, and not confirmed yet.
		if m.State == 0 {
			return yes
		}
		return is(m.State&dataplane.New != 0).unless(m.Not)
	case dataplane.Marked:
		return is(w.mark&m.Bits == m.Bits).unless(m.Not)
	case dataplane.SentByIPVS:
		return is(w.byIPVS).unless(m.Not)
	case dataplane.Ping, dataplane.RouterError:
		return no
	}
	return undecided
}

// via reports whether the packet came in by the link. What a process of the node sends comes in by none, and matches no
// name.
func (w *walker) via(m dataplane.Via) answer {
	switch {
	case w.fromNode:
		return is(false).unless(m.Not)
	case w.link == "" && m.Link == "lo" && !m.Prefix: // packets from elsewhere come by another one
		return is(false).unless(m.Not)
	case w.link == "":
		return undecided
	case m.Prefix:
		return is(len(w.link) >= len(m.Link) && w.link[:len(m.Link)] == m.Link).unless(m.Not)
	}
	return is(w.link == m.Link).unless(m.Not)
}

// local reports whether the address is one of this node's.
func (w *walker) local(addr netip.Addr) bool {
	if addr.IsLoopback() || w.seen.State.Local(addr) {
		return true
	}
	for _, own := range w.seen.NodeAddresses {
		if own == addr {
			return true
		}
	}
	return false
}

// inSet looks the packet up in a set, as ipset does by the set's type.
func (w *walker) inSet(name string, by dataplane.Lookup) bool {
	set, present := w.seen.State.Sets[name]
	if !present || len(set.Type.Parts()) != by.Parts() {
		return false
	}
	near, far := w.dst, w.src
	if by.FromSource() {
		near, far = far, near
	}
	for e := range set.Type.Matching(near, far, w.protocol) {
		if w.seen.State.Entries.Has(dataplane.SetEntry{Set: name, Type: set.Type, Entry: e}) {
			return true
		}
	}
	return false
}
