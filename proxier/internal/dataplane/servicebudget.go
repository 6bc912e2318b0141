package dataplane

import (
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// serviceBudget is what one Service may have on this node, and what of it is left.
type serviceBudget struct{ frontEnds, realServers, entries int }

func newServiceBudget() serviceBudget {
	return serviceBudget{budget.FrontEnds, budget.RealServers, budget.Entries}
}

// spend takes out what the front end costs; false where there is not enough of something, and then nothing.
func (p *serviceBudget) spend(f *FrontEnd) bool {
	left := serviceBudget{p.frontEnds - 1, p.realServers - len(f.VirtualServer.RealServers), p.entries - len(f.Entries)}
	if s, _ := scheduler.OfKernel(f.VirtualServer.Scheduler); s.CostlyTable {
		left.frontEnds = p.frontEnds - budget.FrontEndsOfTable
	}
	if left.frontEnds < 0 || left.realServers < 0 || left.entries < 0 {
		return false
	}
	*p = left
	return true
}
