package dataplane

import "github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"

// Endpoints of one port and family, as the traffic policies choose them. Lists keep the order of the endpoints.
type choice struct {
	// cluster is for the policy Cluster: the ready endpoints that the topology hints leave; if none is ready, those
	// that terminate and still serve (KEP-1669), so that the last endpoints of a rollout answer until they end.
	cluster []cluster.Endpoint
	// local is for the policy Local: those of this node that are ready; if none is, those that terminate and still
	// serve. Topology hints do not matter.
	local []cluster.Endpoint
}

// internal returns the endpoints of cluster IPs. With the policy Local and no endpoint on this node there is nobody to
// answer, whatever else the Service has: the client is refused at once, and no packet goes to another node (KEP-2086).
// noLocal says that it is so.
func (c choice) internal(local bool) (endpoints []cluster.Endpoint, noLocal bool) {
	if !local {
		return c.cluster, false
	}
	return c.local, c.noLocal()
}

// external returns the endpoints of all other front ends. With the policy Local clients keep their address and reach
// the endpoints of this node. When there are none, clients inside of the cluster reach the others, and those outside,
// to which an endpoint could not answer through this node, get no answer: SetNoLocal drops their packets
// (kubernetes#75262, #93456, #97081). noLocal says that this is the case.
func (c choice) external(local bool) (endpoints []cluster.Endpoint, noLocal bool) {
	if !local || c.noLocal() {
		return c.cluster, local
	}
	return c.local, false
}

func (c choice) noLocal() bool { return len(c.local) == 0 && len(c.cluster) > 0 }

// LeftOut says why front ends do not send new connections to an endpoint; empty where they do.
type LeftOut string

// The reasons. An operator reads them after the word "because".
const (
	NotReady       LeftOut = "it is not ready"
	NotServing     LeftOut = "it terminates, and does not serve any more"
	OthersReady    LeftOut = "it terminates, and others are ready"
	ElsewhereLocal LeftOut = "it is on another node, and the traffic policy is Local"
	NowhereLocal   LeftOut = "nobody says on which node it is, and the traffic policy is Local"
	HintsNode      LeftOut = "its topology hints name other nodes, and those of others name this one"
	HintsZone      LeftOut = "its topology hints name other zones, and those of others name this node's zone"
)

// listener hears of each endpoint that a policy leaves out, and why; nil is nobody, and costs nothing.
type listener func(*cluster.Endpoint, LeftOut)

// choose returns the endpoints of one family that front ends send new connections to. The listeners hear of the others
// of that family: of those that the policy Cluster leaves out, and the policy Local.
func choose(endpoints []cluster.Endpoint, family cluster.Family, ofCluster, ofLocal listener) choice {
	of := those(endpoints, func(e *cluster.Endpoint) bool { return cluster.FamilyOf(e.Addr) == family })
	here := func(e *cluster.Endpoint) bool { return e.Local }
	ofLocal.hear(of, here, notHere)
	local, _ := usable(those(of, here), ofLocal)
	all, ready := usable(of, ofCluster)
	if ready {
		all = nearest(all, ofCluster)
	}
	return choice{cluster: all, local: local}
}

func notHere(e *cluster.Endpoint) LeftOut {
	if e.Remote {
		return ElsewhereLocal
	}
	return NowhereLocal
}

// usable returns the ready endpoints; where none is, those that terminate and still serve.
func usable(of []cluster.Endpoint, left listener) (usable []cluster.Endpoint, ready bool) {
	is := func(e *cluster.Endpoint) bool { return e.Ready }
	if usable = those(of, is); len(usable) > 0 {
		left.hear(of, is, unready(true))
		return usable, true
	}
	is = func(e *cluster.Endpoint) bool { return !e.Ready && e.Serving && e.Terminating }
	left.hear(of, is, unready(false))
	return those(of, is), false
}

// unready returns what is said of an endpoint that is not ready, where others are or are not.
func unready(others bool) func(*cluster.Endpoint) LeftOut {
	return func(e *cluster.Endpoint) LeftOut {
		switch {
		case e.Terminating && !e.Serving:
			return NotServing
		case e.Terminating && others:
			return OthersReady
		}
		return NotReady
	}
}

// hear says why the endpoints are left out of which it is not true.
func (l listener) hear(
	endpoints []cluster.Endpoint, is func(*cluster.Endpoint) bool, why func(*cluster.Endpoint) LeftOut,
) {
	if l == nil {
		return
	}
	for i := range endpoints {
		if !is(&endpoints[i]) {
			l(&endpoints[i], why(&endpoints[i]))
		}
	}
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
func nearest(ready []cluster.Endpoint, left listener) []cluster.Endpoint {
	for _, of := range []struct {
		hint func(*cluster.Endpoint) cluster.Hint
		why  LeftOut
	}{
		{func(e *cluster.Endpoint) cluster.Hint { return e.NodeHint }, HintsNode},
		{func(e *cluster.Endpoint) cluster.Hint { return e.ZoneHint }, HintsZone},
	} {
		complete := those(ready, func(e *cluster.Endpoint) bool { return of.hint(e) != cluster.NoHint })
		if len(complete) < len(ready) {
			continue
		}
		here := func(e *cluster.Endpoint) bool { return of.hint(e) == cluster.HintHere }
		if near := those(ready, here); len(near) > 0 {
			left.hear(ready, here, func(*cluster.Endpoint) LeftOut { return of.why })
			return near
		}
	}
	return ready
}
