package engine

import (
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// frontEndConflict is the reason of a front end that another Service has: the same address, port and protocol.
var frontEndConflict = cluster.Reason{Name: "FrontEndConflict"}

// addConflict adds the Problem of a Service that wants a front end which another Service has. dataplane/merge.go
// decides which one has it.
func addConflict(
	problems *cluster.Problems, front *dataplane.FrontEnd, winner cluster.Name, as dataplane.FrontEndKind,
) {
	why := "already and was created first"
	if as.Allocated() && !front.Kind.Allocated() {
		why = "as its " + as.String() + ", which the API gives out once"
	}
	problems.Addf(frontEndConflict, front.Kind.String()+" "+front.ID.String(),
		"service %s has this address, port and protocol %s; "+
			"this service is not served there until the other lets go of it", winner, why)
}
