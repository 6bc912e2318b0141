package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
)

// The reasons that are found here.
var (
	// ExternalIPNotAllowed: an external IP outside of the operator's networks.
	ExternalIPNotAllowed = Reason{Name: "ExternalIPNotAllowed"}
	// SourceRangesOpen: source ranges that leave a family open.
	SourceRangesOpen = Reason{Name: "SourceRangesOpen"}
)

// external reads the fields that let clients from outside of the cluster in, and the traffic policies.
func (p *parser) external(s *Service) {
	spec := p.in.Service.Spec
	s.InternalLocal = spec.InternalTrafficPolicy != nil &&
		*spec.InternalTrafficPolicy == v1.ServiceInternalTrafficPolicyLocal
	s.ExternalLocal = spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal
	external := addresses{field: "spec.externalIPs"}
	for i, text := range spec.ExternalIPs {
		field := fmt.Sprintf("spec.externalIPs[%d]", i)
		if addr, ok := p.outside(field, text, s.ClusterIPs); ok && p.allowed(field, addr) {
			external.add(addr)
		}
	}
	s.ExternalIPs = external.reported(p)
	balancers := addresses{field: "status.loadBalancer.ingress"}
	for i, ingress := range p.in.Service.Status.LoadBalancer.Ingress {
		// One with a host name only, or with ipMode Proxy, sends its traffic to node ports or to pods by itself
		// (KEP-1860).
		if ingress.IP == "" || ingress.IPMode != nil && *ingress.IPMode != v1.LoadBalancerIPModeVIP {
			continue
		}
		addr, ok := p.outside(fmt.Sprintf("status.loadBalancer.ingress[%d].ip", i), ingress.IP, s.ClusterIPs)
		if ok {
			balancers.add(addr)
		}
	}
	s.LoadBalancerIPs = balancers.reported(p)
	s.SourceRanges = p.sourceRanges(s.LoadBalancerIPs)
	if port := spec.HealthCheckNodePort; spec.Type == v1.ServiceTypeLoadBalancer && s.ExternalLocal && port != 0 {
		if port < 1 || port > 65535 {
			p.problem(InvalidField, "spec.healthCheckNodePort", "%d is not between 1 and 65535; no health check is served", port)
		} else {
			s.HealthCheckNodePort = uint16(port)
		}
	}
}

// addresses are those of one field, each once.
type addresses struct {
	field string
	list  []netip.Addr
	more  int
}

func (a *addresses) add(addr netip.Addr) {
	switch {
	case slices.Contains(a.list, addr): // which is short
	case len(a.list) == budget.Addresses:
		a.more++
	default:
		a.list = append(a.list, addr)
	}
}

// reported returns the addresses, and reports those beyond the budget.
func (a *addresses) reported(p *parser) []netip.Addr {
	if a.more > 0 {
		p.problem(BeyondBudget, a.field, "these are %d addresses; allowed are %d; in force are the first ones",
			len(a.list)+a.more, budget.Addresses)
	}
	return a.list
}

// outside reads an address from outside of the cluster. It is served if the Service has a cluster IP of its family.
func (p *parser) outside(field, text string, clusterIPs []netip.Addr) (netip.Addr, bool) {
	addr, not := parseServed(text)
	if not != "" {
		p.problem(InvalidField, field, "%s is %s; it is not served", budget.Quote(text), not)
		return addr, false
	}
	return addr, slices.ContainsFunc(clusterIPs, func(c netip.Addr) bool { return c.Is4() == addr.Is4() })
}

// allowed reports whether the operator lets Services have the external IP. Whoever may write a Service could take over
// any address with it (CVE-2020-8554).
func (p *parser) allowed(field string, addr netip.Addr) bool {
	var names []string
	for _, cidr := range p.in.ExternalIPCIDRs {
		if cidr.Contains(addr) {
			return true
		}
		names = append(names, cidr.String())
	}
	allowed := "none are allowed"
	if len(names) > 0 {
		allowed = "allowed are " + budget.List(names)
	}
	p.problem(ExternalIPNotAllowed, field, "%s is in no network of --external-ip-cidrs (%s); it is not served",
		addr, allowed)
	return false
}

// sourceRanges reads the networks of the clients. One that cannot be read lets nobody in, and neither do those beyond
// the budget.
func (p *parser) sourceRanges(vips []netip.Addr) []netip.Prefix {
	var ranges []netip.Prefix
	for i, text := range p.in.Service.Spec.LoadBalancerSourceRanges {
		if i == budget.SourceRanges {
			p.problem(BeyondBudget, "spec.loadBalancerSourceRanges",
				"these are %d networks; allowed are %d; the first ones are in force, the others let nobody in",
				len(p.in.Service.Spec.LoadBalancerSourceRanges), budget.SourceRanges)
			ranges = append(ranges, netip.Prefix{}) // of whatever family they are, it is not open
			break
		}
		cidr, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil || cidr.Addr().Is4In6() {
			p.problem(InvalidField, fmt.Sprintf("spec.loadBalancerSourceRanges[%d]", i),
				"%s is not a network such as 192.0.2.0/24; it lets nobody in", budget.Quote(text))
			cidr = netip.Prefix{}
		}
		ranges = append(ranges, cidr.Masked())
	}
	s := Service{SourceRanges: ranges}
	for _, family := range []Family{IPv4, IPv6} {
		served := slices.ContainsFunc(vips, func(vip netip.Addr) bool { return FamilyOf(vip) == family })
		if served && len(ranges) > 0 && !s.Restricted(family) && !s.openTo(family) {
			p.problem(SourceRangesOpen, "spec.loadBalancerSourceRanges",
				"none of them is of %s: the load balancer's addresses of that family are open to everybody, as with kube-proxy", family)
		}
	}
	return ranges
}

// Restricted reports whether only clients of the family in SourceRanges may reach the load balancer's addresses. A
// network that could not be read (it is not valid) restricts both families. Networks of one family only leave the other
// one open, as kube-proxy has it.
func (s Service) Restricted(family Family) bool {
	return !s.openTo(family) &&
		slices.ContainsFunc(s.SourceRanges, func(r netip.Prefix) bool { return !r.IsValid() || FamilyOf(r.Addr()) == family })
}

// openTo reports whether one of SourceRanges is the whole family.
func (s Service) openTo(family Family) bool {
	return slices.ContainsFunc(s.SourceRanges,
		func(r netip.Prefix) bool { return r.IsValid() && r.Bits() == 0 && FamilyOf(r.Addr()) == family })
}
