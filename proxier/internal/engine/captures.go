package engine

import (
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// rulesUnread is the reason of rules of others that could not be looked at.
var rulesUnread = cluster.Reason{Name: "RulesUnread", OfNode: true}

// recordCaptures records the rules of others that come before IPVS. It returns the Services whose packets they take now
// and did not before, or no longer take. Such a rule is reported and never touched: it may be intended.
func (e *Engine) recordCaptures(seen dataplane.Observation) (dirty []cluster.Name) {
	e.unreadRules = nil
	for _, err := range seen.UnreadRules {
		e.unreadRules = append(e.unreadRules, cluster.Problem{
			Reason: rulesUnread, Field: "iptables",
			Message: budget.Cut("the nat table of the other kind of iptables cannot be read, and may take packets of services away: " + err),
		})
	}
	before := e.captures
	if before.Same(seen.Captures) {
		return nil
	}
	e.captures = seen.Captures
	for name := range e.services {
		f, _ := e.want.Fragment(name)
		for _, front := range f.FrontEnds {
			if capturedBy(before.Of(front.ID)) != capturedBy(e.captures.Of(front.ID)) {
				dirty = append(dirty, name)
				break
			}
		}
	}
	return dirty
}

// capturedBy says which rules take the packets of a front end, "" for none. One rule often stands for both built-in
// chains.
func capturedBy(rules []dataplane.Capture) string {
	type written struct{ program, rule string }
	var order []written
	hooks := map[written][]string{}
	for _, c := range rules {
		rule := written{c.Program, c.Rule}
		if hooks[rule] == nil {
			order = append(order, rule)
		}
		hooks[rule] = append(hooks[rule], c.Hook)
	}
	var words []string
	for _, rule := range order {
		where := "ahead of ours"
		if rule.program != "" {
			where = "written by " + rule.program
		}
		words = append(words, fmt.Sprintf("%s, %s in nat %s",
			budget.Quote(rule.rule), where, strings.Join(hooks[rule], " and ")))
	}
	return strings.Join(words, "; ")
}
