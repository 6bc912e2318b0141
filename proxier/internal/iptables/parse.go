package iptables

import (
	"strconv"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// ParseRule reads the words that [Words.Rule] prints. A rule in any other words is unknown. Of such a rule it returns
// the sets that it asks, and the chains of ours that it leads to.
func ParseRule(family cluster.Family, text string) dataplane.Rule {
	p := parser{words: Split(text), family: family}
	for len(p.words) > 0 && p.next() {
	}
	r := dataplane.Rule{Matches: p.matches, Verdict: p.verdict}
	// What has been read is what was meant if, and only if, it is printed so.
	if (Words{}).Rule(family, r) == text {
		return r
	}
	r = dataplane.Rule{Unknown: text}
	words := Split(text)
	for i, word := range words[:max(0, len(words)-1)] {
		switch next := words[i+1]; {
		case word == "--match-set":
			r.Sets = append(r.Sets, next)
		case (word == "-j" || word == "-g") && strings.HasPrefix(next, dataplane.Prefix):
			r.Jumps = append(r.Jumps, next)
		}
	}
	return r
}

// ParseHookMatch reads the words that [Words.HookMatch] prints.
func ParseHookMatch(text string) dataplane.HookMatch {
	p := parser{words: Split(text)}
	for len(p.words) > 0 && p.next() {
	}
	h := dataplane.HookMatch{}
	for _, m := range p.matches {
		switch m := m.(type) {
		case dataplane.Via:
			h.Via = m
		case dataplane.Connection:
			h.Connection = m
		}
	}
	if (Words{}).HookMatch(h) == text {
		return h
	}
	return dataplane.HookMatch{Unknown: text}
}

// parser takes word after word. It may also accept words that are never printed: its callers print the result, and
// compare.
type parser struct {
	words   []string
	family  cluster.Family
	matches []dataplane.Match
	verdict dataplane.Verdict
	not     bool
}

// take returns the next word, "" at the end.
func (p *parser) take() string {
	if len(p.words) == 0 {
		return ""
	}
	word := p.words[0]
	p.words = p.words[1:]
	return word
}

func (p *parser) add(m dataplane.Match) { p.matches = append(p.matches, m) }

// next reads one option; false ends it.
func (p *parser) next() bool {
	word := p.take()
	if word == "!" {
		p.not = true
		return true
	}
	not := p.not
	p.not = false
	switch word {
	case "-m":
		p.take()
		p.not = not
	case "--match-set":
		set, by := p.take(), p.take()
		for lookup, words := range directions {
			if words == by {
				p.add(dataplane.InSet{Set: set, By: lookup, Not: not})
			}
		}
	case "-s":
		p.take()
		p.add(dataplane.FromLoopback{})
	case "-i":
		link, prefix := strings.CutSuffix(p.take(), "+")
		p.add(dataplane.Via{Link: link, Prefix: prefix, Not: not})
	case "-p":
		switch name := p.take(); name {
		case "icmp", "ipv6-icmp":
			p.add(dataplane.RouterError{})
		default:
			for _, protocol := range []cluster.Protocol{cluster.TCP, cluster.UDP, cluster.SCTP} {
				if protocol.String() == name {
					p.add(dataplane.Protocol{Is: protocol})
				}
			}
		}
	case "--icmp-type", "--icmpv6-type":
		p.take()
		if n := len(p.matches); n > 0 && !not {
			p.matches[n-1] = dataplane.Ping{}
		}
	case "--src-type":
		p.take()
		p.add(dataplane.FromLocal{Not: not})
	case "--ctstate":
		c := dataplane.Connection{Not: not}
		for name := range strings.SplitSeq(p.take(), ",") {
			for _, s := range states {
				if s.word == name {
					c.State |= s.state
				}
			}
		}
		p.add(c)
	case "--ctstatus", "--ctdir":
		p.take()
		if n := len(p.matches); n > 0 {
			if c, is := p.matches[n-1].(dataplane.Connection); is {
				c.Unconfirmed, c.Original = c.Unconfirmed || word == "--ctstatus", c.Original || word == "--ctdir"
				p.matches[n-1] = c
			}
		}
	case "--mark":
		p.add(dataplane.Marked{Bits: p.bits(), Not: not})
	case "--ipvs":
		p.add(dataplane.SentByIPVS{Not: not})
	case "-j", "-g":
		p.target(word == "-g")
		return false
	default:
		return false
	}
	return true
}

// bits reads the mask of a mark: VALUE/MASK.
func (p *parser) bits() uint32 {
	_, mask, _ := strings.Cut(p.take(), "/")
	n, _ := strconv.ParseUint(mask, 0, 32)
	return uint32(n)
}

var actions = map[string]dataplane.Action{
	"ACCEPT": dataplane.Accept, "DROP": dataplane.Drop, "RETURN": dataplane.Return, "REJECT": dataplane.Reject,
	"MARK": dataplane.SetMark, "MASQUERADE": dataplane.Masquerade,
}

func (p *parser) target(back bool) {
	name := p.take()
	v := &p.verdict
	if v.Action = actions[name]; v.Action == 0 {
		v.Action, v.Chain = dataplane.Jump, name
		if back {
			v.Action = dataplane.Goto
		}
	}
	for len(p.words) > 0 {
		switch p.take() {
		case "--set-xmark":
			if len(p.words) > 0 && strings.HasPrefix(p.words[0], "0x0/") {
				v.Action = dataplane.ClearMark
			}
			v.Bits = p.bits()
		case "--to-ports":
			from, to, _ := strings.Cut(p.take(), "-")
			v.Ports = [2]uint16{port(from), port(to)}
		case "--random-fully":
			v.Random = true
		}
	}
}

func port(text string) uint16 {
	n, _ := strconv.ParseUint(text, 10, 16)
	return uint16(n)
}
