package engine

import (
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// beyondNodeBudget is the reason of more than a Service may have on a node, or than sets have room for.
var beyondNodeBudget = cluster.Reason{Name: "BeyondNodeBudget", OfNode: true, Urgent: true}

// ration leaves out what the sets that all Services share have no room for, and reports what of the Service is not in
// force.
func (e *Engine) ration(s *cluster.Service, f *dataplane.Fragment) {
	delete(e.rationed, f.Owner)
	e.want.Ration(f)
	beyond := f.Beyond
	allowed := fmt.Sprintf("allowed are %d front ends (one of %s counts as %d), %d real servers and %d set entries",
		budget.FrontEnds, strings.Join(scheduler.NamesOf(func(s scheduler.Scheduler) bool { return s.CostlyTable }), " or "),
		budget.FrontEndsOfTable, budget.RealServers, budget.Entries)
	hairpins := fmt.Sprintf("allowed are %d endpoints of this node", budget.Hairpins)
	if beyond.Full != "" {
		e.rationed[f.Owner] = beyond
		allowed = fmt.Sprintf("set %s has only its reserve left, of which each service has at most %d entries",
			beyond.Full, budget.SetShare)
		hairpins = allowed
	}
	if beyond.FrontEnds > 0 {
		s.Problems.Addf(beyondNodeBudget, "front ends",
			"%s; %d are not served, from %s on; in force are the %d before",
			allowed, beyond.FrontEnds, beyond.First, len(f.FrontEnds))
	}
	if beyond.Hairpins > 0 {
		s.Problems.Addf(beyondNodeBudget, "endpoints",
			"%s; %d of them cannot reach themselves by way of the service; all are served to others",
			hairpins, beyond.Hairpins)
	}
}

// roomAgain returns the Services for which there is room by now.
func (e *Engine) roomAgain() (dirty []cluster.Name) {
	for name, beyond := range e.rationed {
		if e.want.HasRoom(beyond.Full, beyond.Lacking) {
			dirty = append(dirty, name)
		}
	}
	return dirty
}
