package engine

import (
	"maps"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// inherited reports whether rules of another version are in the kernel: they ask a set that this version does not have.
func (e *Engine) inherited() bool {
	for _, chain := range e.have.Chains {
		for _, set := range chain.Sets {
			if _, ours := e.want.State.Sets[set]; !ours {
				return true
			}
		}
	}
	return false
}

// keepRules leaves inherited rules, and the sets that they ask, in force until a start has looked at all Services. Our
// own rules would match sets that are half filled until then: new connections to Services that are not in them yet
// would be refused.
func (e *Engine) keepRules(target *dataplane.State) {
	sets := make(map[string]ipset.Set, len(target.Sets)+len(e.have.Sets))
	maps.Copy(sets, e.have.Sets)
	maps.Copy(sets, target.Sets)
	target.Sets, target.Chains, target.Hooks = sets, e.have.Chains, e.have.Hooks
}
