package cluster

import (
	"iter"
	"slices"
	"strings"

	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
)

// portKey is what a slice's port has to have in common with the Service port to which it belongs.
type portKey struct {
	name     string
	protocol Protocol
}

// portOf is a port of a slice: the place of the slice, and the number.
type portOf struct {
	slice  int
	number uint16
}

// endpoints gives each Service port its endpoints: a slice's port belongs to it when name and protocol agree; the
// number comes from the slice. The budget is spent in the order of the ports, then by the names of the slices.
func (p *parser) endpoints(ports []ServicePort) {
	byName := func(a, b *discovery.EndpointSlice) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(p.in.Slices, byName) {
		p.in.Slices = slices.SortedFunc(slices.Values(p.in.Slices), byName)
	}
	if len(ports) == 1 { // as most Services have
		port := &ports[0]
		var of []portOf
		p.slicePorts(func(key portKey, at portOf) {
			if key == (portKey{port.Name, port.Protocol}) {
				of = append(of, at)
			}
		})
		port.Endpoints = p.gather(of, budget.Endpoints)
		return
	}
	of := map[portKey][]portOf{}
	p.slicePorts(func(key portKey, at portOf) { of[key] = append(of[key], at) })
	p.listed = make([]*listed, len(p.in.Slices))
	left := budget.AllEndpoints
	for i := range ports {
		ports[i].Endpoints = p.gather(of[portKey{ports[i].Name, ports[i].Protocol}], min(left, budget.Endpoints))
		left -= len(ports[i].Endpoints)
	}
}

// slicePorts calls found with each port of a slice that can be a Service's. One without a number means "all ports",
// which a proxy cannot serve.
func (p *parser) slicePorts(found func(portKey, portOf)) {
	for at, slice := range p.in.Slices {
		if slice.AddressType != discovery.AddressTypeIPv4 && slice.AddressType != discovery.AddressTypeIPv6 {
			continue
		}
		for _, port := range slice.Ports {
			key, known := portKey{text(port.Name), TCP}, true
			if port.Protocol != nil {
				key.protocol, known = parseProtocol(*port.Protocol)
			}
			if known && port.Port != nil && *port.Port >= 1 && *port.Port <= 65535 {
				found(key, portOf{at, uint16(*port.Port)})
			}
		}
	}
}

// gather returns the endpoints of the slices' ports, no more than limit.
func (p *parser) gather(of []portOf, limit int) (all []Endpoint) {
	for _, port := range of {
		p.in.Pause()
		if limit == 0 {
			p.tooManyEndpoints()
			p.leaveOut(p.in.Slices[port.slice], "", beyondBudget)
			return nil
		}
		some, room := p.list(port), limit-len(all)
		more := len(some) > room
		if more {
			p.tooManyEndpoints()
			p.leaveOut(p.in.Slices[port.slice], "", beyondBudget)
			some = some[:room]
		}
		if all == nil {
			all = some
		} else {
			all = append(all, some...)
		}
		if more {
			break
		}
	}
	return mergeEndpoints(all)
}

// listed is what has been read of a slice.
type listed struct{ endpoints []Endpoint }

// list returns the endpoints of a slice's port, in a list of its own. What all ports of a slice have alike is read
// once.
func (p *parser) list(port portOf) []Endpoint {
	slice := p.in.Slices[port.slice]
	if p.listed == nil {
		return p.sliceEndpoints(slice, port.number)
	}
	if p.listed[port.slice] == nil {
		p.listed[port.slice] = &listed{p.sliceEndpoints(slice, 0)}
	}
	endpoints := slices.Clone(p.listed[port.slice].endpoints)
	for i := range endpoints {
		endpoints[i].Port = port.number
	}
	return endpoints
}

// beyondBudget is said of the first slice beyond the Service's budget.
const beyondBudget = "more than one Service may have, at least in part, as are those of the slices behind it"

// leaveOut reports an endpoint that no port gets, or with an empty address all of the slice.
func (p *parser) leaveOut(slice *discovery.EndpointSlice, address, why string) {
	if p.in.LeaveOut != nil {
		p.in.LeaveOut(Unlisted{slice.Name, address, why})
	}
}

// keys returns what the ports of slices have to have in common with those of the Service.
func keys(ports []ServicePort) iter.Seq[portKey] {
	return func(yield func(portKey) bool) {
		for i := range ports {
			if !yield(portKey{ports[i].Name, ports[i].Protocol}) {
				return
			}
		}
	}
}

// unmatched reports the slices of which no port of the Service has endpoints. It looks at each key once.
func (p *parser) unmatched(keys iter.Seq[portKey]) {
	if p.in.LeaveOut == nil {
		return
	}
	wanted := map[portKey]struct{}{}
	for key := range keys {
		wanted[key] = struct{}{}
	}
	matched := make([]bool, len(p.in.Slices))
	p.slicePorts(func(key portKey, at portOf) {
		if _, is := wanted[key]; is {
			matched[at.slice] = true
		}
	})
	for i, slice := range p.in.Slices {
		switch {
		case matched[i]:
		case slice.AddressType != discovery.AddressTypeIPv4 && slice.AddressType != discovery.AddressTypeIPv6:
			p.leaveOut(slice, "", "of address type "+string(slice.AddressType)+", which a proxy cannot serve")
		default:
			p.leaveOut(slice, "", "of no port of the Service: a port of the EndpointSlice is for the one with its name and protocol")
		}
	}
}

func (p *parser) tooManyEndpoints() {
	if !p.cut {
		p.problem(BeyondBudget, "endpoints", "there are more than one Service may have: allowed are %d of a port and %d of all ports together; in force are the first ones, by port, EndpointSlice and place in it",
			budget.Endpoints, budget.AllEndpoints)
	}
	p.cut = true
}
