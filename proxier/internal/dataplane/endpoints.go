package dataplane

import "github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"

// usable returns the endpoints of one family that a front end sends new connections to: those that are ready. The list
// keeps its order.
func usable(endpoints []cluster.Endpoint, family cluster.Family) []cluster.Endpoint {
	var chosen []cluster.Endpoint
	for _, e := range endpoints {
		if e.Ready && cluster.FamilyOf(e.Addr) == family {
			chosen = append(chosen, e)
		}
	}
	return chosen
}
