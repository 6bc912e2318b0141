package predecessor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
)

// rule is one line of iptables-save that begins with -A.
type rule struct {
	chain, text     string // text is what stands behind "-A chain "
	words           []string
	target, comment string
}

// option returns the word behind the option, "" without one.
func (r rule) option(name string) string {
	if at := slices.Index(r.words, name); at >= 0 && at+1 < len(r.words) {
		return r.words[at+1]
	}
	return ""
}

// sets returns the sets that the rule names: by a match (--match-set), or by the target SET (--add-set, --del-set,
// --map-set).
func (r rule) sets() (names []string) {
	for i, word := range r.words[:max(0, len(r.words)-1)] {
		if strings.HasPrefix(word, "--") && strings.HasSuffix(word, "-set") {
			names = append(names, r.words[i+1])
		}
	}
	return names
}

// table is one table as iptables-save prints it.
type table struct {
	name   string
	chains []string
	rules  []rule
}

// parseSave reads what iptables-save prints, of one table or of all.
func parseSave(text string) (tables []table) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			tables = append(tables, table{name: name})
			continue
		}
		if len(tables) == 0 {
			continue
		}
		t := &tables[len(tables)-1]
		if name, ok := strings.CutPrefix(line, ":"); ok {
			name, _, _ = strings.Cut(name, " ")
			t.chains = append(t.chains, name)
		} else if text, ok := strings.CutPrefix(line, "-A "); ok {
			t.rules = append(t.rules, parseRule(text))
		}
	}
	return tables
}

func parseRule(text string) rule {
	chain, text, _ := strings.Cut(text, " ")
	r := rule{chain: chain, text: text, words: iptables.Split(text)}
	r.target, r.comment = r.option("-j"), r.option("--comment")
	if r.target == "" {
		r.target = r.option("-g")
	}
	return r
}

// removal is what goes of one table.
type removal struct {
	table string
	// rules are the proxy's in chains that stay.
	rules  []rule
	chains []string
	// kept are chains of the proxy's that stay because rules of others lead to them, each with such a rule.
	kept []string
	// sets are the sets that the rules name which stay.
	sets []string
}

// plan decides what is removed from a table. A chain to which a rule of somebody else's leads stays as it is, with the
// chains to which it leads itself: portmap plugins, for example, can be configured to use KUBE-MARK-MASQ.
func plan(t table, of trace) removal {
	p := removal{table: t.name}
	goes := map[string]bool{}
	for _, chain := range t.chains {
		if of.owns(t.name, chain) {
			goes[chain] = true
		}
	}
	for again := true; again; {
		again = false
		for _, r := range t.rules {
			if !goes[r.target] || goes[r.chain] || of.ownsRule(t.name, r) {
				continue
			}
			goes[r.target], again = false, true
			p.kept = append(p.kept, fmt.Sprintf("chain %s of table %s (rule -A %s %s)", r.target, t.name, r.chain, r.text))
		}
	}
	for _, chain := range t.chains {
		if goes[chain] {
			p.chains = append(p.chains, chain)
		}
	}
	for _, r := range t.rules {
		switch {
		case goes[r.chain]:
		case of.ownsRule(t.name, r):
			p.rules = append(p.rules, r)
		default:
			p.sets = append(p.sets, r.sets()...)
		}
	}
	return p
}

// empty says that there is nothing to remove.
func (p removal) empty() bool { return len(p.rules)+len(p.chains) == 0 }

// restore returns the input of iptables-restore --noflush that carries the removal out, all of it or nothing: jumps
// first, then the chains, which are emptied before the first one goes, because they lead to each other.
func (p removal) restore() string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%s\n", p.table)
	for _, chain := range p.chains {
		fmt.Fprintf(&b, ":%s - [0:0]\n", chain)
	}
	for _, r := range p.rules {
		fmt.Fprintf(&b, "-D %s %s\n", r.chain, r.text)
	}
	for _, chain := range p.chains {
		fmt.Fprintf(&b, "-X %s\n", chain)
	}
	b.WriteString("COMMIT\n")
	return b.String()
}
