package dataplane

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Rule is one rule of a chain: a packet for which all matches hold gets the verdict. A backend, such as package
// iptables, has the words by which the kernel takes it.
type Rule struct {
	Matches []Match
	Verdict Verdict
	// Unknown, where set, is instead what a backend has read and does not write: a rule of another version, or one that
	// somebody has changed. Of such a rule only its sets and jumps are known.
	Unknown     string
	Sets, Jumps []string
}

// String names what matches and the verdict, for tests and developers.
func (r Rule) String() string {
	if r.Unknown != "" {
		return "unknown: " + r.Unknown
	}
	var text strings.Builder
	for _, match := range r.Matches {
		fmt.Fprintf(&text, "%T%+v ", match, match)
	}
	return strings.ReplaceAll(text.String(), "dataplane.", "") + fmt.Sprintf("%+v", r.Verdict)
}

// Equal reports whether both are the same rule.
func (r Rule) Equal(other Rule) bool {
	return r.Verdict == other.Verdict && r.Unknown == other.Unknown && slices.Equal(r.Matches, other.Matches)
}

// references returns the names of the sets and of the chains of ours that the rule needs.
func (r Rule) references() (sets, jumps []string) {
	if r.Unknown != "" {
		return r.Sets, r.Jumps
	}
	for _, match := range r.Matches {
		if in, is := match.(InSet); is {
			sets = append(sets, in.Set)
		}
	}
	if r.Verdict.Chain != "" {
		jumps = append(jumps, r.Verdict.Chain)
	}
	return sets, jumps
}

// Match is what a packet must be like: exactly the types below, which can be compared.
type Match interface{ match() }

// InSet matches packets that are in a set.
type InSet struct {
	Set string // its name in the kernel
	By  Lookup
	Not bool
}

// Lookup says what of a packet is looked up in a set.
type Lookup uint8

// The ways to look up.
const (
	ByDestination           Lookup = iota + 1 // its destination address, or the port for a set of ports
	ByDestinationPort                         // destination address and port
	ByDestinationPortSource                   // these, and the source address
	BySource                                  // the source address
	BySourcePort                              // source address and port
	BySourcePortDestination                   // these, and the destination address
)

// Parts returns how many parts of an entry are looked up.
func (l Lookup) Parts() int {
	switch l {
	case ByDestination, BySource:
		return 1
	case ByDestinationPort, BySourcePort:
		return 2
	case ByDestinationPortSource, BySourcePortDestination:
		return 3
	}
	return 0
}

// FromSource reports whether the packet's source is looked up first, not its destination.
func (l Lookup) FromSource() bool {
	return l == BySource || l == BySourcePort || l == BySourcePortDestination
}

// Protocol matches packets of TCP, UDP or SCTP.
type Protocol struct{ Is cluster.Protocol }

// Ping matches ICMP echo requests.
type Ping struct{}

// RouterError matches ICMP messages but redirects, which conntrack calls related in IPv4 alone.
type RouterError struct{}

// FromLoopback matches packets whose source is a loopback address.
type FromLoopback struct{}

// FromLocal matches packets whose source is an address of this node.
type FromLocal struct{ Not bool }

// Via matches packets that come in by a link, or by links whose names begin so.
type Via struct {
	Link   string
	Prefix bool
	Not    bool
}

// Connection matches packets by what connection tracking knows of them. The zero value matches all.
type Connection struct {
	State ConnectionState
	Not   bool // of State
	// Unconfirmed are first packets that nothing has let through yet, and packets of no connection.
	Unconfirmed bool
	// Original are packets in the direction of the first one.
	Original bool
}

// ConnectionState is a set of states.
type ConnectionState uint8

// The states.
const (
	New ConnectionState = 1 << iota
	Related
	Established
)

// Marked matches packets that have all bits of a mark.
type Marked struct {
	Bits uint32
	Not  bool
}

// SentByIPVS matches packets that IPVS has sent on.
type SentByIPVS struct{ Not bool }

func (InSet) match()        {}
func (Protocol) match()     {}
func (Ping) match()         {}
func (RouterError) match()  {}
func (FromLoopback) match() {}
func (FromLocal) match()    {}
func (Via) match()          {}
func (Connection) match()   {}
func (Marked) match()       {}
func (SentByIPVS) match()   {}

// Verdict is what becomes of a packet.
type Verdict struct {
	Action Action
	Chain  string // of Jump and Goto
	// Bits are what SetMark sets, and ClearMark clears.
	Bits uint32
	// Ports are the source ports that Masquerade may take; none is no limit. With Random it takes any of them.
	Ports  [2]uint16
	Random bool
}

// Action is the sort of a Verdict.
type Action uint8

// The actions. Jump comes back where the chain ends, Goto does not. Reject answers that the port is unreachable.
const (
	Accept Action = iota + 1
	Drop
	Return
	Reject
	SetMark
	ClearMark
	Masquerade
	Jump
	Goto
)

// References fills in Sets and Jumps from Rules.
func (c *Chain) References() {
	c.Sets, c.Jumps = nil, nil
	for _, rule := range c.Rules {
		sets, jumps := rule.references()
		c.Sets, c.Jumps = appendNew(c.Sets, sets), appendNew(c.Jumps, jumps)
	}
}

func appendNew(to, names []string) []string {
	for _, name := range names {
		if !slices.Contains(to, name) {
			to = append(to, name)
		}
	}
	return to
}

// String returns the conditions in words, such as "not by lo, not related or established, unconfirmed"; "" where there
// is none.
func (h HookMatch) String() string {
	if h.Unknown != "" {
		return h.Unknown
	}
	var words []string
	if h.Via != (Via{}) {
		words = append(words, not(h.Via.Not)+"by "+h.Via.Link)
	}
	if h.Connection.State != 0 {
		words = append(words, not(h.Connection.Not)+h.Connection.State.String())
	}
	if h.Connection.Unconfirmed {
		words = append(words, "unconfirmed")
	}
	return strings.Join(words, ", ")
}

func not(is bool) string {
	if is {
		return "not "
	}
	return ""
}

// String returns for example "related or established".
func (s ConnectionState) String() string {
	var words []string
	for i, word := range []string{"new", "related", "established"} {
		if s&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, " or ")
}

func (h HookMatch) compare(other HookMatch) int {
	return cmp.Or(
		strings.Compare(h.Unknown, other.Unknown),
		strings.Compare(h.Via.Link, other.Via.Link), compareBool(other.Via.Not, h.Via.Not),
		compareBool(h.Via.Prefix, other.Via.Prefix),
		strings.Compare(fmt.Sprint(h.Connection), fmt.Sprint(other.Connection)),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
