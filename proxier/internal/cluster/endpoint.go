package cluster

import (
	"fmt"
	"net/netip"
	"slices"

	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// BroadcastEndpoint is the reason of an endpoint at a broadcast address of the node's networks.
var BroadcastEndpoint = Reason{Name: "BroadcastEndpoint", OfNode: true}

// Endpoint is one endpoint of one Service port.
type Endpoint struct {
	Addr netip.Addr
	Port uint16
	// Ready, Serving and Terminating are the conditions of the EndpointSlice with the API's defaults for what is not
	// set: ready, serving, not terminating.
	Ready, Serving, Terminating bool
	// Local says that the endpoint is on this node. One without a nodeName is never local.
	Local bool
	// Remote says that the endpoint is on another node. One without a nodeName is neither Local nor Remote.
	Remote bool
	// Place is where it is, Weight 0 to 65535 what annotations give it, else 1.
	scheduler.Place
	Weight uint32
	// Identity is the UID of what stands behind the address, or the address itself where that is not known: a new pod
	// with the address of an old one has another.
	Identity string
	// NodeHint and ZoneHint say whether the EndpointSlice controller means the endpoint for clients of this node, and
	// of its zone.
	NodeHint, ZoneHint Hint
	// WeightOf says which object gives the weight.
	WeightOf WeightOf
}

// Hint says whether an endpoint's topology hints name this node, or this node's zone.
type Hint uint8

// The values of a Hint.
const (
	NoHint        Hint = iota // the endpoint is for everybody
	HintElsewhere             // only others are named
	HintHere
)

// canBeEndpoint reports whether IPVS takes the address on any node: it wants one that the node has a route to as a
// unicast or local address (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_new_dest, Linux 6.12). The API server (1.37) takes
// 255.255.255.255.
func canBeEndpoint(addr netip.Addr) bool {
	return addr.Zone() == "" && !addr.Is4In6() && !addr.IsUnspecified() && !addr.IsLoopback() && !addr.IsMulticast() &&
		addr != broadcast &&
		!(addr.Is6() && addr.IsLinkLocalUnicast())
}

func (p *parser) sliceEndpoints(slice *discovery.EndpointSlice, port uint16) []Endpoint {
	endpoints := make([]Endpoint, 0, len(slice.Endpoints))
	weight, weighted := p.sliceWeight(slice)
	for i, e := range slice.Endpoints {
		if len(e.Addresses) == 0 {
			continue
		}
		// Only the first address counts: the others are reserved (k8s.io/api/discovery/v1, Endpoint.Addresses).
		addr, err := netip.ParseAddr(e.Addresses[0])
		if err != nil || addr.Is4() != (slice.AddressType == discovery.AddressTypeIPv4) || !canBeEndpoint(addr) {
			p.problem(InvalidField, endpointField(slice, i),
				"%s is no %s address that can be an endpoint; it is left out", budget.Quote(e.Addresses[0]), slice.AddressType)
			p.leaveOut(slice, e.Addresses[0], "no "+string(slice.AddressType)+" address that can be an endpoint")
			continue
		}
		if _, is := slices.BinarySearchFunc(p.in.Broadcasts, addr, netip.Addr.Compare); is {
			p.problem(BroadcastEndpoint, endpointField(slice, i),
				"%s is a broadcast address of a network that this node is in, and the kernel takes no such endpoint; it is left out", addr)
			p.broadcast = true
			p.leaveOut(slice, e.Addresses[0], "a broadcast address of a network that this node is in")
			continue
		}
		c, place, identity := e.Conditions, scheduler.Place{Node: text(e.NodeName), Zone: text(e.Zone)}, ""
		if e.TargetRef != nil {
			identity = string(e.TargetRef.UID)
		}
		if identity == "" {
			identity = addr.String()
		}
		weightOf := WeightOfSlice
		if !weighted {
			weight, weightOf = p.weigh.of(place)
		}
		endpoints = append(endpoints, Endpoint{
			Addr: addr, Port: port,
			Ready: is(c.Ready, true), Serving: is(c.Serving, true), Terminating: is(c.Terminating, false),
			Local:  e.NodeName != nil && *e.NodeName == p.in.NodeName,
			Remote: e.NodeName != nil && *e.NodeName != p.in.NodeName,
			Place:  place, Weight: weight, Identity: identity,
			NodeHint: p.nodeHint(e.Hints), ZoneHint: p.zoneHint(e.Hints), WeightOf: weightOf,
		})
	}
	return endpoints
}

func endpointField(slice *discovery.EndpointSlice, i int) string {
	return fmt.Sprintf("endpointslice %s endpoints[%d]", budget.Printable(slice.Name), i)
}

func (p *parser) nodeHint(hints *discovery.EndpointHints) Hint {
	if hints == nil || len(hints.ForNodes) == 0 {
		return NoHint
	}
	for _, node := range hints.ForNodes {
		if node.Name == p.in.NodeName {
			return HintHere
		}
	}
	return HintElsewhere
}

func (p *parser) zoneHint(hints *discovery.EndpointHints) Hint {
	if hints == nil || len(hints.ForZones) == 0 {
		return NoHint
	}
	for _, zone := range hints.ForZones {
		if zone.Name == p.in.Zone && p.in.Zone != "" {
			return HintHere
		}
	}
	return HintElsewhere
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func is(condition *bool, otherwise bool) bool {
	if condition == nil {
		return otherwise
	}
	return *condition
}

// mergeEndpoints sorts by address and port and keeps one of each. Slices disagree while one is being replaced, or when
// a new pod has the address of an old one. Then the better condition counts (kubernetes#135266, #135593): one that does
// not terminate, then one that is ready, then one that serves, then a local one.
func mergeEndpoints(all []Endpoint) []Endpoint {
	slices.SortFunc(all, func(a, b Endpoint) int {
		if c := a.Addr.Compare(b.Addr); c != 0 {
			return c
		}
		if a.Port != b.Port {
			return int(a.Port) - int(b.Port)
		}
		return b.rank() - a.rank()
	})
	return slices.CompactFunc(all, func(a, b Endpoint) bool { return a.Addr == b.Addr && a.Port == b.Port })
}

func (e Endpoint) rank() (n int) {
	for _, good := range []bool{!e.Terminating, e.Ready, e.Serving, e.Local} {
		n *= 2
		if good {
			n++
		}
	}
	return n
}
