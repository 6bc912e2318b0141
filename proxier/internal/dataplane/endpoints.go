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
	var ready, serving, localReady, localServing []cluster.Endpoint
	for _, e := range endpoints {
		switch {
		case cluster.FamilyOf(e.Addr) != family:
		case e.Ready:
			ready = append(ready, e)
			if e.Local {
				localReady = append(localReady, e)
			}
		case e.Serving && e.Terminating:
			serving = append(serving, e)
			if e.Local {
				localServing = append(localServing, e)
			}
		}
	}
	c := choice{cluster: nearest(ready), local: localReady}
	if len(ready) == 0 {
		c.cluster = serving
	}
	if len(localReady) == 0 {
		c.local = localServing
	}
	return c
}

// nearest returns the ready endpoints that are meant for this node: by their node hints, if all have one and one names this
// node (KEP-3015), else by their zone hints in the same way (KEP-2433). Otherwise the hints are incomplete, or none is
// near, and all count.
func nearest(ready []cluster.Endpoint) []cluster.Endpoint {
	for _, hint := range []func(cluster.Endpoint) cluster.Hint{
		func(e cluster.Endpoint) cluster.Hint { return e.NodeHint },
		func(e cluster.Endpoint) cluster.Hint { return e.ZoneHint },
	} {
		var near []cluster.Endpoint
		complete := true
		for _, e := range ready {
			complete = complete && hint(e) != cluster.NoHint
			if hint(e) == cluster.HintHere {
				near = append(near, e)
			}
		}
		if complete && len(near) > 0 {
			return near
		}
	}
	return ready
}
