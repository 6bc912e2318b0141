package engine

import (
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// addConflict adds the Problem of a Service that wants a front end which another Service has. Who has it is decided in
// dataplane/merge.go.
func addConflict(
	problems *cluster.Problems, front *dataplane.FrontEnd, winner cluster.Name, as dataplane.FrontEndKind,
) {
	why := "already and was created first"
	if as.Allocated() && !front.Kind.Allocated() {
		why = "as its " + as.String() + ", which the API gives out once"
	}
	problems.Addf(cluster.FrontEndConflict, front.Kind.String()+" "+front.ID.String(),
		"service %s has this address, port and protocol %s; "+
			"this service is not served there until the other lets go of it", winner, why)
}
