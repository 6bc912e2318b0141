package observe

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

// Detail is what status says, beside what it says of each Service, of one that the request names.
type Detail struct {
	InternalTrafficPolicy string `json:"internalTrafficPolicy"`
	// ExternalTrafficPolicy is empty where nothing leads in from outside.
	ExternalTrafficPolicy string   `json:"externalTrafficPolicy,omitempty"`
	SourceRanges          []string `json:"loadBalancerSourceRanges,omitempty"`
	HealthCheckNodePort   uint16   `json:"healthCheckNodePort,omitempty"`
	// Endpoints are all that EndpointSlices list for the ports, and those that drain.
	Endpoints []EndpointStatus `json:"endpoints"`
	// Unlisted are what EndpointSlices list for no port.
	Unlisted []UnlistedStatus `json:"unlisted,omitempty"`
	// Changes are the last ones that the journal has, the newest last.
	Changes []JournalEntry `json:"changes,omitempty"`
}

// EndpointStatus is one endpoint of one port.
type EndpointStatus struct {
	Port     string `json:"port,omitempty"`
	Protocol string `json:"protocol"`
	Address  string `json:"address"` // with port
	// Slice names the EndpointSlice; it is empty where none lists the endpoint any more.
	Slice string `json:"slice,omitempty"`
	Node  string `json:"node,omitempty"`
	Zone  string `json:"zone,omitempty"`
	// Local says that it is on this node.
	Local       bool `json:"local"`
	Ready       bool `json:"ready"`
	Serving     bool `json:"serving"`
	Terminating bool `json:"terminating"`
	// Weight is what annotations give it, WeightSource says which. KernelWeight is what the kernel has, the least where
	// front ends differ; both are 0 where no front end has it.
	Weight       uint32 `json:"weight"`
	WeightSource string `json:"weightSource,omitempty"`
	KernelWeight uint32 `json:"kernelWeight"`
	// Active and Inactive are the sums of the connections through all front ends.
	Active   uint32 `json:"activeConnections"`
	Inactive uint32 `json:"inactiveConnections"`
	// State is the worst of the front ends that have it; empty where none has.
	State State `json:"state,omitempty"`
	// TakesFrom are the kinds of front ends that send new connections to it; LeftOut says of the others why they do
	// not.
	TakesFrom []string        `json:"takesFrom"`
	LeftOut   []LeftOutStatus `json:"leftOut,omitempty"`
}

// LeftOutStatus says why front ends of these kinds send no new connections to an endpoint.
type LeftOutStatus struct {
	FrontEnds []string `json:"frontEnds"`
	Because   string   `json:"because"`
}

// UnlistedStatus is an endpoint that no port gets, or all of an EndpointSlice where there is no address.
type UnlistedStatus struct {
	Slice   string `json:"slice"`
	Address string `json:"address,omitempty"`
	Because string `json:"because"`
}

// NewDetail joins what the Inquiry has found out about a Service with what s says that the kernel has.
func NewDetail(s *ServiceStatus, a engine.Answer) *Detail {
	d := &Detail{
		InternalTrafficPolicy: policyName(a.Service.InternalLocal), HealthCheckNodePort: a.Service.HealthCheckNodePort,
		Endpoints: []EndpointStatus{},
	}
	if slices.ContainsFunc(s.FrontEnds, func(f FrontEndStatus) bool { return f.Kind != dataplane.ClusterIP.String() }) {
		d.ExternalTrafficPolicy = policyName(a.Service.ExternalLocal)
	}
	for _, cidr := range a.Service.SourceRanges {
		text := cidr.String()
		if !cidr.IsValid() {
			text = "one that cannot be read"
		}
		d.SourceRanges = append(d.SourceRanges, text)
	}
	for _, u := range a.Unlisted {
		d.Unlisted = append(d.Unlisted, UnlistedStatus{u.Slice, u.Address, u.Why})
	}
	for i, port := range a.Service.Ports {
		of := newPortFronts(s, port.Name, port.Protocol)
		for _, fate := range a.Fates[i] {
			d.Endpoints = append(d.Endpoints, of.endpoint(fate, a.SliceOf[fate.Addr]))
		}
		d.Endpoints = append(d.Endpoints, of.rest()...)
	}
	return d
}

func policyName(local bool) string {
	if local {
		return "Local"
	}
	return "Cluster"
}

// portFronts are the front ends of one port, as status has them.
type portFronts struct {
	name, protocol string
	fronts         []*FrontEndStatus
	errors         []string
	// met are the addresses of endpoints that were looked at.
	met map[string]bool
}

func newPortFronts(s *ServiceStatus, name string, protocol cluster.Protocol) portFronts {
	of := portFronts{name: name, protocol: protocol.String(), errors: s.Errors, met: map[string]bool{}}
	for i := range s.FrontEnds {
		if f := &s.FrontEnds[i]; f.Port == name && f.Protocol == of.protocol {
			of.fronts = append(of.fronts, f)
		}
	}
	return of
}

func (of portFronts) endpoint(fate dataplane.Fate, slice string) EndpointStatus {
	at := netip.AddrPortFrom(fate.Addr, fate.Port)
	e := EndpointStatus{
		Port: of.name, Protocol: of.protocol, Address: at.String(), Slice: slice, Node: fate.Node, Zone: fate.Zone,
		Local: fate.Local, Ready: fate.Ready, Serving: fate.Serving, Terminating: fate.Terminating,
		Weight: fate.Weight, WeightSource: fate.WeightOf.String(), TakesFrom: []string{},
	}
	of.met[e.Address] = true
	for _, f := range of.fronts {
		if !sameFamily(f.Address, fate.Addr) {
			continue
		}
		why := fate.External
		if f.Kind == dataplane.ClusterIP.String() {
			why = fate.Internal
		}
		i := slices.IndexFunc(f.RealServers, func(r RealServerStatus) bool { return r.Address == e.Address })
		if i >= 0 {
			e.count(f.RealServers[i])
		}
		switch {
		case why != "":
			e.leftOut(f.Kind, string(why))
		case f.LostTo != "":
			e.leftOut(f.Kind, "the front end is lost to the Service "+f.LostTo)
		case !f.Programmed || f.State == Missing:
			e.leftOut(f.Kind, "the kernel does not have the front end")
		case i < 0:
			e.leftOut(f.Kind, "it has changed just now, and the next sync programs it")
		default:
			e.takes(f, f.RealServers[i], of.errors)
		}
	}
	return e
}

// takes records what the kernel does with an endpoint that the front end is to have.
func (e *EndpointStatus) takes(f *FrontEndStatus, r RealServerStatus, errors []string) {
	switch {
	case r.State == Missing:
		e.leftOut(f.Kind, "the kernel does not have it"+refusal(errors, r.Address))
	case r.State == Draining || r.State == Extra:
		e.leftOut(f.Kind, "it has changed just now, and the next sync programs it")
	case e.Weight == 0:
		e.leftOut(f.Kind, "its weight is 0 ("+e.WeightSource+")")
	case r.State != Unknown && r.Weight == 0:
		e.leftOut(f.Kind, "its weight in the kernel is 0")
	case r.Ceiling > 0 && r.Active+r.Inactive >= r.Ceiling:
		e.leftOut(f.Kind, fmt.Sprintf("it has reached its ceiling of %d connections", r.Ceiling))
	case !slices.Contains(e.TakesFrom, f.Kind):
		e.TakesFrom = append(e.TakesFrom, f.Kind)
	}
}

// refusal returns what the kernel says of a real server that it refuses.
func refusal(errors []string, address string) string {
	for _, text := range errors {
		if strings.Contains(text, "-> "+address+" ") {
			return ", and refuses it: " + text
		}
	}
	return ""
}

// leftOut notes why front ends of a kind send it no new connections; those of one reason are named together.
func (e *EndpointStatus) leftOut(kind, because string) {
	for i := range e.LeftOut {
		if l := &e.LeftOut[i]; l.Because == because {
			if !slices.Contains(l.FrontEnds, kind) {
				l.FrontEnds = append(l.FrontEnds, kind)
			}
			return
		}
	}
	e.LeftOut = append(e.LeftOut, LeftOutStatus{[]string{kind}, because})
}

// worst orders states by how much an operator has to look at them.
var worst = []State{"", OK, Unknown, Starting, Draining, Differs, Extra, Missing}

// count adds what one front end's real server has.
func (e *EndpointStatus) count(r RealServerStatus) {
	if e.State == "" || r.Weight < e.KernelWeight {
		e.KernelWeight = r.Weight
	}
	e.Active, e.Inactive = e.Active+r.Active, e.Inactive+r.Inactive
	if slices.Index(worst, r.State) > slices.Index(worst, e.State) {
		e.State = r.State
	}
}

// rest returns the real servers in the kernel that are no endpoint any more, each once.
func (of portFronts) rest() (gone []EndpointStatus) {
	at := map[string]int{}
	for _, f := range of.fronts {
		for _, r := range f.RealServers {
			if of.met[r.Address] {
				continue
			}
			i, known := at[r.Address]
			if !known {
				i, at[r.Address] = len(gone), len(gone)
				gone = append(gone, EndpointStatus{Port: of.name, Protocol: of.protocol, Address: r.Address, TakesFrom: []string{}})
			}
			gone[i].count(r)
			because := "no EndpointSlice lists it any more, and it drains"
			if r.State != Draining {
				because = "no EndpointSlice lists it"
			}
			gone[i].leftOut(f.Kind, because)
		}
	}
	return gone
}

// sameFamily reports whether the address with a port, as text, is of the family of the other.
func sameFamily(address string, other netip.Addr) bool {
	at, err := netip.ParseAddrPort(address)
	return err == nil && at.Addr().Is4() == other.Is4()
}
