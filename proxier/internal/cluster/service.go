package cluster

import (
	"fmt"
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Service is what a Service and its EndpointSlices want, as far as this node serves it.
type Service struct {
	Name Name
	UID  string
	// Version is the resourceVersion that was read: Events name it.
	Version string
	// Created decides conflicts: the older Service wins. Zero counts as oldest.
	Created time.Time
	// ClusterIPs holds at most one address of each family.
	ClusterIPs []netip.Addr
	// ExternalIPs and LoadBalancerIPs are addresses from outside of the cluster, of the families of ClusterIPs. The
	// load balancer's are those whose ipMode is VIP.
	ExternalIPs, LoadBalancerIPs []netip.Addr
	// SourceRanges limits the clients of LoadBalancerIPs, see [Service.Restricted].
	SourceRanges []netip.Prefix
	// InternalLocal says that the traffic policy of ClusterIPs is Local, ExternalLocal that the one of all other
	// addresses and of the node ports is.
	InternalLocal, ExternalLocal bool
	// HealthCheckNodePort is the port by which load balancers learn whether this node has endpoints of its own; 0 for
	// none.
	HealthCheckNodePort uint16
	Ports               []ServicePort
	// Affinity is the timeout of ClientIP session affinity in whole seconds, 0 for no affinity.
	Affinity time.Duration
	// ClusterIPHidden says that the ClusterIPs are not to be served; the Service still has their families.
	ClusterIPHidden bool
	// Settings are those in force for the whole Service.
	Settings []Setting
	// SliceWeights are the weights of EndpointSlices that are in force, by [SliceWeightKey].
	SliceWeights map[string]string
	// Broadcast says that endpoints are left out for Input.Broadcasts.
	Broadcast bool
	Problems  Problems
}

// ServicePort is one port with the endpoints behind it.
type ServicePort struct {
	Name     string
	Protocol Protocol
	Port     uint16
	NodePort uint16 // 0 for none
	// Settings are those in force for this port; the fields below say the same in our types.
	Settings []Setting
	// Scheduler is a canonical name, registered in package scheduler.
	Scheduler string
	// Flags are flags that the scheduler supports.
	Flags scheduler.Flags
	// SlowStart is how long the weight of a new endpoint grows, 0 for no time.
	SlowStart time.Duration
	// Limit is the ceiling of connections of each endpoint.
	Limit annotation.ConnectionLimit
	// DrainTimeout is how long the connections of an endpoint that is gone may go on; 0 ends them at once.
	DrainTimeout time.Duration
	// OnePacket schedules every datagram by itself.
	OnePacket bool
	// Endpoints are of both families, sorted by address and port, without duplicates.
	Endpoints []Endpoint
}

// Setting returns the setting of a key; the zero Setting when it has none.
func (p ServicePort) Setting(key string) Setting {
	for _, s := range p.Settings {
		if s.Key == key {
			return s
		}
	}
	return Setting{}
}

// Input is all that Parse reads.
type Input struct {
	Service *v1.Service
	Slices  []*discovery.EndpointSlice
	// NodeName decides which endpoints are local. Zone is the node's, "" when it has none.
	NodeName, Zone string
	Operator       Operator
	// NoAliases says that annotations of other projects have no meaning.
	NoAliases bool
	// KernelSchedulers are the schedulers of this node's kernel; nil where they are not known.
	KernelSchedulers []string
	// NodeWeight returns what the annotation of a Node says about its endpoints; nil is nothing.
	NodeWeight func(node string) (weight uint32, said bool)
	// Broadcasts are the broadcast addresses of the node's networks, sorted: they are no endpoints here.
	Broadcasts []netip.Addr
	// ExternalIPCIDRs are the networks in which Services may have externalIPs.
	ExternalIPCIDRs []netip.Prefix
	// LastGood is what is in force for the Service already; nil is nothing.
	LastGood LastGood
	// Pause, if not nil, is called now and then, so that other goroutines can run where this takes long.
	Pause func()
	// LeaveOut, if not nil, is called with each endpoint in Slices that no port gets.
	LeaveOut func(Unlisted)
}

// Unlisted is an endpoint of an EndpointSlice that no port of the Service gets.
type Unlisted struct {
	Slice string
	// Address is as the slice has it; empty where all endpoints of the slice are meant.
	Address string
	// Why says what it is instead of one that a port could have, such as "no IPv4 address that can be an endpoint".
	Why string
}

// ProxyNameLabel is the label by which a Service chooses another proxy.
const ProxyNameLabel = "service.kubernetes.io/service-proxy-name"

// Proxied reports whether the Service is ours to serve: it has a cluster IP, is no ExternalName, and its label
// service.kubernetes.io/service-proxy-name names us: proxyName, or, where that is empty, there is no such label.
func Proxied(s *v1.Service, proxyName string) bool { return Unproxied(s, proxyName) == "" }

// Unproxied says why the Service is not [Proxied], as the end of "it is not served here: "; empty where it is.
func Unproxied(s *v1.Service, proxyName string) string {
	name, labelled := s.Labels[ProxyNameLabel]
	switch {
	case labelled && (proxyName == "" || name != proxyName):
		return "its label " + ProxyNameLabel + " names another proxy"
	case !labelled && proxyName != "":
		return "it lacks the label " + ProxyNameLabel + ", which names this proxy with --service-proxy-name"
	case s.Spec.Type == v1.ServiceTypeExternalName:
		return "it is an ExternalName, which is for DNS alone"
	case s.Spec.ClusterIP == v1.ClusterIPNone:
		return "it is headless, which is for DNS alone"
	case s.Spec.ClusterIP == "":
		return "it has no cluster IP"
	}
	return ""
}

// Parse reads a Service that is [Proxied], and its EndpointSlices. What is rejected becomes a Problem of the result;
// the rest is used.
func Parse(in Input) Service {
	p := parser{in: in}
	if p.in.Pause == nil {
		p.in.Pause = func() {}
	}
	s := Service{
		Name:    Name{in.Service.Namespace, in.Service.Name},
		UID:     string(in.Service.UID),
		Version: in.Service.ResourceVersion,
		Created: in.Service.CreationTimestamp.Time,
	}
	s.ClusterIPs = p.clusterIPs()
	s.Affinity = p.affinity()
	p.external(&s)
	p.others(&s)
	p.weights(&s)
	s.Ports = p.ports()
	p.exposure(&s)
	p.sticky, p.frontEnds = s.Affinity > 0, len(s.Ports)*s.addresses()
	p.options(s.Ports)
	p.cautions(s.Ports)
	s.SliceWeights, s.Broadcast = p.sliceWeights, p.broadcast
	s.Problems = p.problems
	return s
}

type parser struct {
	in       Input
	problems Problems
	weigh    weigh
	// written is what has been read of the annotations, by the names of the keys.
	said map[string]written
	// listed are the endpoints of slices that have been read, by their places; nil where each is read once.
	listed []*listed
	// sticky says that the Service has session affinity, and frontEnds how many front ends it has beside its node
	// ports.
	sticky    bool
	frontEnds int
	// cut says that there are more endpoints than are read.
	cut bool
	// broadcast is what Broadcast becomes.
	broadcast bool
	// sliceWeights are what SliceWeights becomes.
	sliceWeights map[string]string
}

func (p *parser) problem(reason Reason, field, format string, args ...any) {
	p.problems.Addf(reason, field, format, args...)
}

func (p *parser) clusterIPs() []netip.Addr {
	texts := p.in.Service.Spec.ClusterIPs
	if len(texts) == 0 {
		texts = []string{p.in.Service.Spec.ClusterIP}
	}
	var addrs []netip.Addr
	for i, text := range texts {
		field := fmt.Sprintf("spec.clusterIPs[%d]", i)
		addr, not := parseServed(text)
		switch {
		case not != "":
			p.problem(InvalidField, field, "%s is %s; it is not served", budget.Quote(text), not)
		case len(addrs) > 0 && addrs[0].Is4() == addr.Is4():
			p.problem(InvalidField, field, "%s is a second address of its family; it is not served, %s is", addr, addrs[0])
		default:
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// parseServed reads an address that can be a Service's, or says what it is instead. IPv4 link-local addresses can:
// nothing ties them to a link, and kube-proxy serves them, too.
func parseServed(text string) (addr netip.Addr, not string) {
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		not = "no IP address"
	case addr.Zone() != "":
		not = "an IP address with a zone"
	case addr.Is4In6():
		not = "an IPv4 address written as an IPv6 one"
	case addr.IsUnspecified():
		not = "the unspecified address"
	case addr.IsLoopback():
		not = "a loopback address"
	case addr.IsMulticast():
		not = "a multicast address"
	case addr == broadcast:
		not = "the broadcast address"
	case addr.Is6() && addr.IsLinkLocalUnicast():
		not = "a link-local IPv6 address, which means nothing without a link"
	}
	return addr, not
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// ports reads the ports, with the endpoints behind them.
func (p *parser) ports() (ports []ServicePort) {
	spec := p.in.Service.Spec.Ports
	if len(spec) > budget.Ports {
		p.problem(BeyondBudget, "spec.ports", "these are %d ports; allowed are %d; in force are the first ones",
			len(spec), budget.Ports)
		spec = spec[:budget.Ports]
	}
	for i, port := range spec {
		if parsed, ok := p.port(i, port); ok {
			ports = append(ports, parsed)
		}
	}
	p.endpoints(ports)
	p.unmatched(keys(ports))
	return ports
}

func (p *parser) port(i int, port v1.ServicePort) (ServicePort, bool) {
	field := fmt.Sprintf("spec.ports[%d]", i)
	protocol, known := parseProtocol(port.Protocol)
	if !known {
		p.problem(InvalidField, field+".protocol", "%s is not TCP, UDP or SCTP; the port is not served",
			budget.Quote(string(port.Protocol)))
		return ServicePort{}, false
	}
	if port.Port < 1 || port.Port > 65535 {
		p.problem(InvalidField, field+".port", "%d is not between 1 and 65535; the port is not served", port.Port)
		return ServicePort{}, false
	}
	nodePort := port.NodePort
	if nodePort < 0 || nodePort > 65535 {
		p.problem(InvalidField, field+".nodePort", "%d is not between 1 and 65535; no node port is served", nodePort)
		nodePort = 0
	}
	return ServicePort{
		Name:     port.Name,
		Protocol: protocol,
		Port:     uint16(port.Port),
		NodePort: uint16(nodePort),
	}, true
}

// parseProtocol reads the API's word; an absent one is TCP, as the API server fills it in.
func parseProtocol(protocol v1.Protocol) (Protocol, bool) {
	switch protocol {
	case v1.ProtocolTCP, "":
		return TCP, true
	case v1.ProtocolUDP:
		return UDP, true
	case v1.ProtocolSCTP:
		return SCTP, true
	}
	return 0, false
}
