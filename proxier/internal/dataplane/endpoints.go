package dataplane

import "github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"

// Endpoints of one port and family, as the traffic policies choose them. Lists keep the order of the endpoints.
type choice struct {
	// cluster is for the policy Cluster: the ready endpoints that the topology hints leave; if none is ready, those that
	// terminate and still serve (KEP-1669), so that the last endpoints of a rollout answer until they end.
	cluster []cluster.Endpoint
	// local is for the policy Local: those of this node that are ready; if none is, those that terminate and still serve.
	// Topology hints do not matter.
	local []cluster.Endpoint
}

// choose returns the endpoints of one family that front ends send new connections to.
func choose(endpoints []cluster.Endpoint, family cluster.Family) choice {
	of := those(endpoints, func(e *cluster.Endpoint) bool { return cluster.FamilyOf(e.Addr) == family })
	ready := those(of, func(e *cluster.Endpoint) bool { return e.Ready })
	serving := func(of []cluster.Endpoint) []cluster.Endpoint {
		return those(of, func(e *cluster.Endpoint) bool { return !e.Ready && e.Serving && e.Terminating })
	}
	local := func(e *cluster.Endpoint) bool { return e.Local }
	c := choice{cluster: nearest(ready), local: those(ready, local)}
	if len(ready) == 0 {
		c.cluster = serving(of)
	}
	if len(c.local) == 0 {
		c.local = serving(those(of, local))
	}
	return c
}

// those returns the endpoints of which it is true: the list itself where it is true of all.
func those(endpoints []cluster.Endpoint, is func(*cluster.Endpoint) bool) []cluster.Endpoint {
	n := 0
	for i := range endpoints {
		if is(&endpoints[i]) {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case len(endpoints):
		return endpoints
	}
	chosen := make([]cluster.Endpoint, 0, n)
	for i := range endpoints {
		if is(&endpoints[i]) {
			chosen = append(chosen, endpoints[i])
		}
	}
	return chosen
}

// nearest returns the ready endpoints that are meant for this node: by their node hints, if all have one and one names
// this node (KEP-3015), else by their zone hints in the same way (KEP-2433). Otherwise the hints are incomplete, or
// none is near, and all count.
func nearest(ready []cluster.Endpoint) []cluster.Endpoint {
	for _, hint := range []func(*cluster.Endpoint) cluster.Hint{
		func(e *cluster.Endpoint) cluster.Hint { return e.NodeHint },
		func(e *cluster.Endpoint) cluster.Hint { return e.ZoneHint },
	} {
		complete := those(ready, func(e *cluster.Endpoint) bool { return hint(e) != cluster.NoHint })
		if len(complete) < len(ready) {
			continue
		}
		if near := those(ready, func(e *cluster.Endpoint) bool { return hint(e) == cluster.HintHere }); len(near) > 0 {
			return near
		}
	}
	return ready
}
