package dataplane

import (
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// purse is what one Service may have on this node, and what of it is left.
type purse struct{ frontEnds, realServers, entries int }

func newPurse() purse { return purse{budget.FrontEnds, budget.RealServers, budget.Entries} }

// pays takes out what the front end costs; false where there is not enough of something, and then nothing.
func (p *purse) pays(f *FrontEnd) bool {
	left := purse{p.frontEnds - 1, p.realServers - len(f.VirtualServer.RealServers), p.entries - len(f.Entries)}
	if s, _ := scheduler.OfKernel(f.VirtualServer.Scheduler); s.CostlyTable {
		left.frontEnds = p.frontEnds - budget.FrontEndsOfTable
	}
	if left.frontEnds < 0 || left.realServers < 0 || left.entries < 0 {
		return false
	}
	*p = left
	return true
}
