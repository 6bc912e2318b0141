package iptables

import (
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Words print rules as `iptables -S` does, without the leading "-A NAME ".
type Words struct{}

// Rule returns the words of a rule.
func (Words) Rule(family cluster.Family, r dataplane.Rule) string {
	if r.Unknown != "" {
		return r.Unknown
	}
	var words []string
	for _, m := range r.Matches {
		words = append(words, match(family, m))
	}
	if r.Verdict != (dataplane.Verdict{}) { // a rule may do nothing
		words = append(words, verdict(family, r.Verdict))
	}
	return strings.Join(words, " ")
}

// HookMatch returns the words of what leads to a chain; "" where everything does.
func (Words) HookMatch(h dataplane.HookMatch) string {
	if h.Unknown != "" {
		return h.Unknown
	}
	var words []string
	if h.Via != (dataplane.Via{}) {
		words = append(words, via(h.Via))
	}
	if h.Connection != (dataplane.Connection{}) {
		words = append(words, connection(h.Connection))
	}
	return strings.Join(words, " ")
}

// directions are what a lookup in a set is called.
var directions = map[dataplane.Lookup]string{
	dataplane.ByDestination:     "dst",
	dataplane.ByDestinationPort: "dst,dst", dataplane.ByDestinationPortSource: "dst,dst,src",
	dataplane.BySource: "src", dataplane.BySourcePort: "src,src", dataplane.BySourcePortDestination: "src,src,dst",
}

// The words of one family. A match of ICMPv6 errors needs no type: conntrack never calls a redirect related there.
type spelled struct{ loopback, ping, routerError, refusal string }

var familyWords = map[cluster.Family]spelled{
	cluster.IPv4: {
		"-s 127.0.0.0/8", "-p icmp -m icmp --icmp-type 8", "-p icmp -m icmp ! --icmp-type 5", "icmp-port-unreachable",
	},
	cluster.IPv6: {"-s ::1/128", "-p ipv6-icmp -m icmp6 --icmpv6-type 128", "-p ipv6-icmp", "icmp6-port-unreachable"},
}

func match(family cluster.Family, m dataplane.Match) string {
	switch m := m.(type) {
	case dataplane.InSet:
		return "-m set " + not(m.Not) + "--match-set " + m.Set + " " + directions[m.By]
	case dataplane.Protocol:
		return "-p " + m.Is.String()
	case dataplane.Ping:
		return familyWords[family].ping
	case dataplane.RouterError:
		return familyWords[family].routerError
	case dataplane.FromLoopback:
		return familyWords[family].loopback
	case dataplane.FromLocal:
		return "-m addrtype " + not(m.Not) + "--src-type LOCAL"
	case dataplane.Via:
		return via(m)
	case dataplane.Connection:
		return connection(m)
	case dataplane.Marked:
		return fmt.Sprintf("-m mark %s--mark %#x/%#x", not(m.Not), m.Bits, m.Bits)
	case dataplane.SentByIPVS:
		return "-m ipvs " + not(m.Not) + "--ipvs"
	}
	return fmt.Sprintf("BUG: no words for %T", m) // iptables-restore refuses it
}

func not(is bool) string {
	if is {
		return "! "
	}
	return ""
}

func via(v dataplane.Via) string {
	link := v.Link
	if v.Prefix {
		link += "+"
	}
	return not(v.Not) + "-i " + link
}

// states are in the order in which iptables prints them.
var states = []struct {
	state dataplane.ConnectionState
	word  string
}{{dataplane.New, "NEW"}, {dataplane.Related, "RELATED"}, {dataplane.Established, "ESTABLISHED"}}

func connection(c dataplane.Connection) string {
	var names []string
	for _, s := range states {
		if c.State&s.state != 0 {
			names = append(names, s.word)
		}
	}
	text := "-m conntrack " + not(c.Not) + "--ctstate " + strings.Join(names, ",")
	if c.Unconfirmed {
		text += " ! --ctstatus CONFIRMED"
	}
	if c.Original {
		text += " --ctdir ORIGINAL"
	}
	return text
}

func verdict(family cluster.Family, v dataplane.Verdict) string {
	switch v.Action {
	case dataplane.Accept:
		return "-j ACCEPT"
	case dataplane.Drop:
		return "-j DROP"
	case dataplane.Return:
		return "-j RETURN"
	case dataplane.Reject:
		return "-j REJECT --reject-with " + familyWords[family].refusal
	case dataplane.SetMark:
		return fmt.Sprintf("-j MARK --set-xmark %#x/%#x", v.Bits, v.Bits)
	case dataplane.ClearMark:
		return fmt.Sprintf("-j MARK --set-xmark 0x0/%#x", v.Bits)
	case dataplane.Masquerade:
		text := "-j MASQUERADE"
		if v.Ports != [2]uint16{} {
			text += fmt.Sprintf(" --to-ports %d-%d", v.Ports[0], v.Ports[1])
		}
		if v.Random {
			text += " --random-fully"
		}
		return text
	case dataplane.Jump:
		return "-j " + v.Chain
	case dataplane.Goto:
		return "-g " + v.Chain
	}
	return fmt.Sprintf("BUG: no words for verdict %d", v.Action)
}
