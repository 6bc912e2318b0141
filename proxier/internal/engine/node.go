package engine

import (
	"fmt"
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// readNode records the Nodes and returns the Services that are compiled otherwise for it: all when this node has
// another zone or address, else those that might have the address of another node.
func (e *Engine) readNode() (dirty []cluster.Name) {
	version := e.lister.NodesVersion()
	if version == e.nodesVersion {
		return nil
	}
	e.nodesVersion = version
	e.claims.stale = true
	zone, primary := "", []netip.Addr(nil)
	e.nodeProblems = nil
	if node := e.lister.Node(); node != nil {
		zone, primary = node.Labels[v1.LabelTopologyZone], PrimaryAddresses(node)
		e.nodeProblems, e.nodeVersion = e.problemsOf(node), node.ResourceVersion
	}
	weights := e.lister.NodeWeightsVersion()
	all := weights != e.weightsVersion && !e.settings.NoNodeWeights || zone != e.node.Zone ||
		!slices.Equal(primary, e.node.Primary)
	e.weightsVersion, e.node.Zone, e.node.Primary = weights, zone, primary
	for name, s := range e.services {
		if all || len(s.outside) > 0 {
			dirty = append(dirty, name)
			continue
		}
		f, _ := e.want.Fragment(name)
		e.claims.note(name, f, e.lister.NodeAt)
	}
	return dirty
}

// problemsOf returns what is rejected of the Node's annotations, with what is in force instead.
func (e *Engine) problemsOf(node *v1.Node) []cluster.Problem {
	mistakes := cluster.AnnotationProblems(annotation.Node, node.Annotations)
	key, _ := annotation.Lookup(annotation.Node, annotation.Weight)
	if text, written := node.Annotations[key.String()]; written && e.settings.NoNodeWeights {
		mistakes.Addf(cluster.AnnotationWithoutEffect, key.Field(),
			"%s: --node-weights=none gives annotations of Nodes no meaning", budget.Quote(text))
	}
	problems := mistakes.Reported()
	for i, p := range problems {
		if p.Reason == cluster.InvalidAnnotation {
			problems[i].InForce = "1 (" + cluster.SourceDefault + ")"
			if weight, said := e.lister.NodeWeight(node.Name); said && !e.settings.NoNodeWeights {
				problems[i].InForce = fmt.Sprintf("%d (%s)", weight, cluster.SourceLastGood)
			}
		}
	}
	return problems
}

// PrimaryAddresses returns the node's first InternalIP of each family, else its first ExternalIP, as kube-proxy chooses
// them.
func PrimaryAddresses(node *v1.Node) []netip.Addr {
	var primary []netip.Addr
	for _, kind := range []v1.NodeAddressType{v1.NodeInternalIP, v1.NodeExternalIP} {
		for _, a := range node.Status.Addresses {
			addr, is := addressOf(a)
			if a.Type == kind && is && !slices.ContainsFunc(primary, func(p netip.Addr) bool { return p.Is4() == addr.Is4() }) {
				primary = append(primary, addr)
			}
		}
	}
	return primary
}

// readAddresses reads the node's addresses, and nothing else, and returns the Services that are dirty for their sake.
func (e *Engine) readAddresses() ([]cluster.Name, error) {
	addresses, broadcasts, err := e.kernel.NodeAddresses()
	if err != nil {
		return nil, err
	}
	if e.touches != nil {
		e.touches.addresses = true
	}
	return e.recordAddresses(addresses, broadcasts), nil
}

// sourcesMoved reports whether routes are to have other sources than they were made with. The kernel keeps a route
// whose source is not an address of the node any more; what becomes of its source is described at lose.
func (e *Engine) sourcesMoved() bool { return e.want.Sources() != e.node.Sources() }

// lose records addresses that have gone, whether or not they are back, and reports whether routes preferred one of them
// as their source. From Linux 6.6 on an IPv6 route loses its preferred source with the address, without a notification
// (net/ipv6/route.c, fib6_remove_prefsrc); it does not get it back with the address. Before that only routes on the
// address's own link did, and ours are on another one. So what the kernel has is not known, and all of these routes are
// written by the next pass. IPv4 routes keep their source: fib_sync_down_addr (net/ipv4/fib_semantics.c) looks at no
// route in the table of local ones.
func (e *Engine) lose(gone func(netip.Addr) bool) (lost bool) {
	source := e.want.Sources().IPv6
	if e.have == nil || !source.IsValid() || !gone(source) {
		return false
	}
	for vip, has := range e.have.Routes {
		if has == source {
			e.have.Routes[vip] = dataplane.UnknownSource
			e.unsure[vip] = cluster.Name{}
			lost = true
		}
	}
	return lost
}

// addressOf returns what the Node lists there as an address, if it is one: the API server (1.37) takes any text.
func addressOf(a v1.NodeAddress) (addr netip.Addr, is bool) {
	addr, err := netip.ParseAddr(a.Address)
	return addr.Unmap(), err == nil
}

// recordAddresses records the addresses of the node's links, and the broadcast addresses of their networks, and returns
// the Services that depend on those that came or went: by node ports, by clients whose address stands for the node, by
// endpoints that may be at it, or because the address is theirs, or one of their endpoints'.
func (e *Engine) recordAddresses(addresses, broadcasts []netip.Addr) (dirty []cluster.Name) {
	own, shared := !slices.Equal(e.node.Addresses, addresses), !slices.Equal(e.broadcasts, broadcasts)
	if !own && !shared {
		return nil
	}
	changed := func(addr netip.Addr) bool {
		return slices.Contains(e.node.Addresses, addr) != slices.Contains(addresses, addr) ||
			among(e.broadcasts, addr) != among(broadcasts, addr)
	}
	refused := func(r dataplane.RealServer) bool { return among(broadcasts, r.Addr) }
	for name, s := range e.services {
		f, _ := e.want.Fragment(name)
		if own && (s.nodePorts || s.restricted || s.anywhere) || shared && s.broadcast ||
			slices.ContainsFunc(s.outside, changed) ||
			slices.ContainsFunc(f.FrontEnds, func(front dataplane.FrontEnd) bool {
				return changed(front.ID.Addr) || shared && slices.ContainsFunc(front.VirtualServer.RealServers, refused)
			}) {
			dirty = append(dirty, name)
		}
	}
	e.node.Addresses, e.broadcasts, e.claims.stale = addresses, broadcasts, true
	return dirty
}

// among reports whether the address is in a sorted list.
func among(sorted []netip.Addr, addr netip.Addr) bool {
	_, is := slices.BinarySearchFunc(sorted, addr, netip.Addr.Compare)
	return is
}
