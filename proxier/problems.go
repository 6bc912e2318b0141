package proxier

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// checkSchedulers replaces a scheduler that this node's kernel lacks by the default, and says so in a Problem.
func (e *engine) checkSchedulers(s *cluster.Service) {
	has := e.settings.Dataplane.Facts.Schedulers
	if has == nil {
		return // nobody has asked the kernel
	}
	lacking := ""
	for i := range s.Ports {
		chosen, _ := scheduler.Lookup(s.Ports[i].Choice.Scheduler)
		if slices.Contains(has, chosen.Kernel) {
			continue
		}
		lacking = chosen.Name
		s.Ports[i].Choice = cluster.Choice{Scheduler: scheduler.Default, Source: cluster.SourceDefault}
	}
	if lacking == "" {
		return
	}
	s.Problems = cluster.SortProblems(append(s.Problems, cluster.Problem{
		Reason: cluster.SchedulerMissing,
		Field:  "scheduler",
		Message: fmt.Sprintf("the kernel of this node has no scheduler %s (module ip_vs_%s); it has %s; in force is %s",
			lacking, lacking, strings.Join(has, ", "), scheduler.Default),
	}))
}
