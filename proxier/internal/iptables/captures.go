package iptables

import (
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Captures returns the rules of the nat table that send packets elsewhere before IPVS sees them, in the order in which
// packets come to them. The text is what iptables-save prints, of all tables or of nat.
//
// Program is empty for the program by which ours are written. There the rules ahead of our jump count, and none where
// the jump is missing: it will be put ahead of all. Otherwise all rules count: packets pass both programs' tables until
// one of them gives the connection another destination (net/netfilter/nf_nat_core.c, nf_nat_inet_fn, Linux 6.1).
func Captures(family cluster.Family, program, text string) []dataplane.Capture {
	w := &walk{family: family, program: program, chains: natChains(text), parsed: map[string][]rule{}}
	for _, rules := range w.chains {
		w.left += len(rules)
	}
	w.left = visits * w.left
	for _, hook := range []string{"PREROUTING", "OUTPUT"} {
		w.hook = hook
		if program == "" {
			w.chains[hook] = ahead(w.chains[hook])
		}
		w.chain(hook, nil, nil)
	}
	return w.found
}

// visits is how many times as many rules as a table has are looked at: a chain to which many rules lead is walked for
// each of them.
const visits = 4

// deepest is how far chains are followed. Each step adds to what a packet's destination must be like.
const deepest = 16

// exemptions is how many destinations that earlier rules let go are remembered on the way to a rule.
const exemptions = 8

// natChains returns the rules of each chain of the nat table.
func natChains(text string) map[string][]string {
	chains := map[string][]string{}
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, is := strings.CutPrefix(line, "*"); is {
			table = name
			continue
		}
		if rule, is := strings.CutPrefix(line, "-A "); is && table == "nat" {
			chain, rule, _ := strings.Cut(rule, " ")
			chains[chain] = append(chains[chain], rule)
		}
	}
	return chains
}

// ahead returns the rules ahead of the one that leads all packets to our chain, none where there is no such one.
func ahead(rules []string) []string {
	at := slices.IndexFunc(rules, func(text string) bool {
		if !strings.HasSuffix(text, "-j "+dataplane.ChainServices) {
			return false
		}
		r, known, never := parse(text)
		return known && !never && !r.some && len(r.to) == 0
	})
	return rules[:max(at, 0)]
}

type walk struct {
	family        cluster.Family
	program, hook string
	chains        map[string][]string
	parsed        map[string][]rule
	left          int // rules that may still be looked at
	depth         int
	found         []dataplane.Capture
}

// rules returns the chain's rules that can be parsed and concern front ends.
func (w *walk) rules(chain string) []rule {
	rules, done := w.parsed[chain]
	if !done {
		for _, text := range w.chains[chain] {
			if r, known, never := parse(text); known && !never {
				rules = append(rules, r)
			}
		}
		w.parsed[chain] = rules
	}
	return rules
}

// chain walks a chain to which packets for such destinations come. It returns those that it lets go for good.
func (w *walk) chain(
	name string, to dataplane.Destination, but []dataplane.Destination,
) (gone []dataplane.Destination) {
	if w.depth == deepest {
		return nil
	}
	w.depth++
	defer func() { w.depth-- }()
	but = slices.Clip(but)
	for _, r := range w.rules(name) {
		if w.left--; w.left < 0 {
			return gone
		}
		both := slices.Concat(to, r.to)
		switch r.action {
		case "DNAT", "REDIRECT", "NETMAP":
			w.found = append(w.found, dataplane.Capture{
				Family: w.family, Hook: w.hook, Program: w.program, Rule: "-A " + name + " " + r.text, To: both, But: but,
			})
		case "ACCEPT", "RETURN":
			if r.some || len(but) >= exemptions {
				continue
			}
			but = append(but, both)
			if r.action == "ACCEPT" {
				gone = append(gone, both)
			}
			if len(r.to) == 0 {
				return gone
			}
		default:
			if _, is := w.chains[r.action]; !is {
				continue // LOG, MARK and the like go on
			}
			more := w.chain(r.action, both, but)
			if r.leaves && !r.some {
				more = append(more, both)
			}
			if !r.some && len(but)+len(more) <= exemptions {
				but, gone = append(but, more...), append(gone, more...)
			}
		}
	}
	return gone
}
