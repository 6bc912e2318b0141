package dataplane

import "github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"

// usable returns the endpoints of one family that a front end sends new connections to: those that are ready; if there are
// none, those that terminate and still serve (KEP-1669), so that the last endpoints of a rollout answer until they end. The
// list keeps its order.
func usable(endpoints []cluster.Endpoint, family cluster.Family) []cluster.Endpoint {
	var ready, serving []cluster.Endpoint
	for _, e := range endpoints {
		switch {
		case cluster.FamilyOf(e.Addr) != family:
		case e.Ready:
			ready = append(ready, e)
		case e.Serving && e.Terminating:
			serving = append(serving, e)
		}
	}
	if len(ready) > 0 {
		return ready
	}
	return serving
}
