package nftables

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
)

// kernelRule is a rule as the kernel has it.
type kernelRule struct {
	exprs []expr
	// comment are the words that stand for what it belongs to, number its place there, lengths those for which it was
	// written.
	comment string
	number  int
	lengths lengths
}

// userdata is what the kernel stores with the rule.
func (r kernelRule) userdata() []byte {
	all := tag(nil, ruleComment, append([]byte(r.comment), 0))
	all = tag(all, ruleNumber, []byte{byte(r.number)})
	if r.lengths != nil {
		all = tag(all, ruleLengths, r.lengths)
	}
	return all
}

// parseKernelRule reads a rule that the kernel lists, and the chain that it is in.
func parseKernelRule(payload []byte) (table, chain string, r kernelRule) {
	r.number = -1
	netlink.Attributes(payload[min(4, len(payload)):], func(attr uint16, value []byte) {
		switch attr {
		case unix.NFTA_RULE_TABLE:
			table = text(value)
		case unix.NFTA_RULE_CHAIN:
			chain = text(value)
		case unix.NFTA_RULE_EXPRESSIONS:
			r.exprs = parse(value)
		case unix.NFTA_RULE_USERDATA:
			comment, _ := tagged(value, ruleComment)
			r.comment = text(comment)
			if number, found := tagged(value, ruleNumber); found && len(number) == 1 {
				r.number = int(number[0])
			}
			if l, found := tagged(value, ruleLengths); found && len(l) == lengthsSize {
				r.lengths = lengths(slices.Clone(l))
			}
		}
	})
	return table, chain, r
}

// chainOf is a chain in the words of the kernel: its own rules, and those of the chains beside it, by their names.
type chainOf struct {
	main   []kernelRule
	beside map[string][]kernelRule
}

// encode returns a chain for the kernel. lengths says which are in use in a set.
func (e encoder) encode(c dataplane.Chain, of func(set string) lengths) (chainOf, error) {
	all := chainOf{beside: map[string][]kernelRule{}}
	for i, r := range c.Rules {
		var asked lengths
		for _, m := range r.Matches {
			if in, is := m.(dataplane.InSet); is && hasNet(e.types[in.Set]) {
				asked = of(in.Set).union(asked)
				if asked == nil {
					asked = make(lengths, lengthsSize)
				}
			}
		}
		name := besideName(c.ID, i)
		rules, err := e.rule(r, name, asked)
		if err != nil {
			return all, err
		}
		k := kernelRule{comment: iptables.Words{}.Rule(c.ID.Family, r), number: i, lengths: asked}
		for _, exprs := range rules.main {
			k.exprs = exprs
			all.main = append(all.main, k)
		}
		for _, exprs := range rules.beside {
			k.exprs = exprs
			all.beside[name] = append(all.beside[name], k)
		}
		if n := len(k.userdata()); n > unix.NFT_USERDATA_MAXLEN {
			return all, fmt.Errorf("BUG: rule %q has %d bytes of words, allowed are %d", k.comment, n, unix.NFT_USERDATA_MAXLEN)
		}
	}
	return all, nil
}

// read returns a chain that the kernel lists. held are the lengths that are in a set: a rule that does not look for all
// of them is none of ours any more.
func (e encoder) read(id dataplane.ChainID, listed chainOf, held func(set string) lengths) dataplane.Chain {
	chain := dataplane.Chain{ID: id}
	for rest := listed.main; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].number == rest[0].number && rest[n].comment == rest[0].comment {
			n++
		}
		chain.Rules = append(chain.Rules, e.readRule(id, len(chain.Rules), rest[:n], listed.beside, held))
		rest = rest[n:]
	}
	chain.References()
	return chain
}

func (e encoder) readRule(
	id dataplane.ChainID, at int, group []kernelRule, beside map[string][]kernelRule, held func(set string) lengths,
) dataplane.Rule {
	r := iptables.ParseRule(id.Family, group[0].comment)
	name := besideName(id, at)
	if r.Unknown == "" && group[0].number == at {
		current := true
		for _, m := range r.Matches {
			if in, is := m.(dataplane.InSet); is && hasNet(e.types[in.Set]) {
				current = current && group[0].lengths.covers(held(in.Set))
			}
		}
		want, err := e.rule(r, name, group[0].lengths)
		if err == nil && current && same(want.main, group) && same(want.beside, beside[name]) {
			return r
		}
	}
	return unknown(append(slices.Clone(group), beside[name]...))
}

// same reports whether the rules are these.
func same(want [][]expr, got []kernelRule) bool {
	return slices.EqualFunc(want, got, func(w []expr, g kernelRule) bool { return canonical(w) == canonical(g.exprs) })
}

// unknown returns what is known of rules that we do not write.
func unknown(group []kernelRule) (r dataplane.Rule) {
	var words []string
	for _, k := range group {
		words = append(words, canonical(k.exprs))
		sets, chains := references(k.exprs)
		r.Sets = append(r.Sets, sets...)
		for _, chain := range chains {
			if id, is := parseChainName(0, chain); is {
				r.Jumps = append(r.Jumps, id.Name)
			}
		}
	}
	r.Unknown = strings.Join(words, " ")
	if r.Unknown == "" {
		r.Unknown = "nothing"
	}
	return r
}

// hookSeparator stands between a hook's comment and the words of its rule.
const hookSeparator = " | "

// encodeHook returns the rules of a hook.
func (e encoder) encodeHook(h dataplane.Hook, at int) ([]kernelRule, error) {
	r := dataplane.Rule{Verdict: dataplane.Verdict{Action: dataplane.Jump, Chain: h.Chain.Name}}
	if h.Match.Via != (dataplane.Via{}) {
		r.Matches = append(r.Matches, h.Match.Via)
	}
	if h.Match.Connection != (dataplane.Connection{}) {
		r.Matches = append(r.Matches, h.Match.Connection)
	}
	encoded, err := e.rule(r, "", nil)
	if err != nil {
		return nil, err
	}
	var rules []kernelRule
	for _, exprs := range encoded.main {
		rules = append(rules, kernelRule{
			exprs: exprs, comment: h.Comment + hookSeparator + iptables.Words{}.HookMatch(h.Match) + " -j " + h.Chain.Name,
			number: at,
		})
	}
	return rules, nil
}

// readHooks returns the hooks in a base chain that the kernel lists. What is no hook as we write it, or stands there
// for the second time, is one with an unknown match.
func (e encoder) readHooks(b base, listed []kernelRule) map[dataplane.Hook]struct{} {
	hooks := map[dataplane.Hook]struct{}{}
	for at := 0; len(listed) > 0; at++ {
		n := 1
		for n < len(listed) && listed[n].number == listed[0].number && listed[n].comment == listed[0].comment {
			n++
		}
		h := e.parseHook(b, listed[0].comment)
		want, err := e.encodeHook(h, at)
		_, again := hooks[h]
		if err != nil || again || baseOf(h) != b || listed[0].number != at ||
			!slices.EqualFunc(want, listed[:n], func(w, g kernelRule) bool {
				return w.comment == g.comment && canonical(w.exprs) == canonical(g.exprs)
			}) {
			what := unknown(listed[:n])
			h.Chain.Name, h.Match = "", dataplane.HookMatch{Unknown: fmt.Sprintf("rule %d: %s", at, what.Unknown)}
			if len(what.Jumps) > 0 {
				h.Chain.Name = what.Jumps[0]
			}
			if b.last != h.Last() { // the name says which base chain it is in
				h.Chain.Name = map[bool]string{true: dataplane.ChainAccept}[b.last]
			}
		}
		hooks[h] = struct{}{}
		listed = listed[n:]
	}
	return hooks
}

func (e encoder) parseHook(b base, words string) dataplane.Hook {
	h := dataplane.Hook{Chain: dataplane.ChainID{Family: e.family, Table: b.table}, Builtin: b.builtin}
	var rest string
	h.Comment, rest, _ = strings.Cut(words, hookSeparator)
	match, chain, _ := strings.Cut(rest, " -j ")
	h.Chain.Name, h.Match = chain, iptables.ParseHookMatch(match)
	return h
}
