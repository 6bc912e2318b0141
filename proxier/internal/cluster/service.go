package cluster

import (
	"fmt"
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
)

// Service is what a Service and its EndpointSlices want, as far as this node carries it out.
type Service struct {
	Name Name
	UID  string
	// Created settles conflicts: the older Service wins. Zero counts as oldest.
	Created time.Time
	// ClusterIPs holds at most one address of each family.
	ClusterIPs []netip.Addr
	Ports      []ServicePort
	// Affinity is the timeout of ClientIP session affinity in whole seconds, 0 for no affinity.
	Affinity time.Duration
	// Problems are sorted and without repetition.
	Problems []Problem
}

// ServicePort is one port with the endpoints behind it.
type ServicePort struct {
	Name     string
	Protocol Protocol
	Port     uint16
	NodePort uint16 // 0 for none
	Choice   Choice
	// Endpoints are of both families, sorted by address and port, without duplicates.
	Endpoints []Endpoint
}

// Input is all that Parse looks at.
type Input struct {
	Service *v1.Service
	Slices  []*discovery.EndpointSlice
	// NodeName decides which endpoints are local.
	NodeName   string
	Schedulers Schedulers
	// LastGood is the canonical name of the scheduler that is programmed for this Service already, "" for none.
	LastGood string
}

// defaultAffinity is what the API server fills in for sessionAffinityConfig.clientIP.timeoutSeconds.
const defaultAffinity = 10800 * time.Second

// maxAffinity is the API's upper bound for it.
const maxAffinity = 86400 * time.Second

// ProxyNameLabel is the label by which a Service chooses another proxy.
const ProxyNameLabel = "service.kubernetes.io/service-proxy-name"

// Proxied tells whether the Service is ours to carry out: it has a cluster IP, is no ExternalName, and has not chosen
// another proxy by the label service.kubernetes.io/service-proxy-name (whatever its value).
func Proxied(s *v1.Service) bool {
	_, otherProxy := s.Labels[ProxyNameLabel]
	return !otherProxy && s.Spec.Type != v1.ServiceTypeExternalName && s.Spec.ClusterIP != "" && s.Spec.ClusterIP != v1.ClusterIPNone
}

// Parse reads a Service that is [Proxied], and its EndpointSlices. What cannot be honoured becomes a Problem of the result;
// the rest is carried out.
func Parse(in Input) Service {
	p := parser{in: in}
	s := Service{
		Name:    Name{in.Service.Namespace, in.Service.Name},
		UID:     string(in.Service.UID),
		Created: in.Service.CreationTimestamp.Time,
	}
	choice, problems := readAnnotations(in.Service.Annotations, in.Schedulers.choice(s.Name.Namespace), in.LastGood)
	p.problems = problems
	s.ClusterIPs = p.clusterIPs()
	s.Affinity = p.affinity()
	for i, port := range in.Service.Spec.Ports {
		if parsed, ok := p.port(i, port); ok {
			parsed.Choice = choice
			s.Ports = append(s.Ports, parsed)
		}
	}
	p.unsupported()
	s.Problems = SortProblems(p.problems)
	return s
}

type parser struct {
	in       Input
	problems []Problem
}

func (p *parser) problem(reason Reason, field, format string, args ...any) {
	p.problems = append(p.problems, Problem{reason, field, fmt.Sprintf(format, args...)})
}

func (p *parser) clusterIPs() []netip.Addr {
	texts := p.in.Service.Spec.ClusterIPs
	if len(texts) == 0 {
		texts = []string{p.in.Service.Spec.ClusterIP}
	}
	var addrs []netip.Addr
	for i, text := range texts {
		field := fmt.Sprintf("spec.clusterIPs[%d]", i)
		addr, err := netip.ParseAddr(text)
		switch {
		case err != nil || addr.Zone() != "" || addr.Is4In6() || !addr.IsGlobalUnicast():
			p.problem(InvalidField, field, "%q is no unicast IP address; it is not served", text)
		case len(addrs) > 0 && addrs[0].Is4() == addr.Is4():
			p.problem(InvalidField, field, "%s is a second address of its family; it is not served, %s is", addr, addrs[0])
		default:
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

func (p *parser) affinity() time.Duration {
	spec := p.in.Service.Spec
	if spec.SessionAffinity != v1.ServiceAffinityClientIP {
		return 0
	}
	c := spec.SessionAffinityConfig
	if c == nil || c.ClientIP == nil || c.ClientIP.TimeoutSeconds == nil {
		return defaultAffinity
	}
	timeout := time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
	if timeout <= 0 || timeout > maxAffinity {
		p.problem(InvalidField, "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
			"%d is not between 1 and %d; in force is %d", *c.ClientIP.TimeoutSeconds, int(maxAffinity.Seconds()), int(defaultAffinity.Seconds()))
		return defaultAffinity
	}
	return timeout
}

func (p *parser) port(i int, port v1.ServicePort) (ServicePort, bool) {
	field := fmt.Sprintf("spec.ports[%d]", i)
	protocol, known := parseProtocol(port.Protocol)
	if !known {
		p.problem(InvalidField, field+".protocol", "%q is not TCP, UDP or SCTP; the port is not served", port.Protocol)
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
		Name:      port.Name,
		Protocol:  protocol,
		Port:      uint16(port.Port),
		NodePort:  uint16(nodePort),
		Endpoints: p.endpoints(port.Name, protocol),
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

// unsupported says which fields of the Service this version does not carry out yet, so that nobody waits for them in vain.
func (p *parser) unsupported() {
	spec := p.in.Service.Spec
	if len(spec.ExternalIPs) > 0 {
		p.problem(UnsupportedField, "spec.externalIPs", "this version does not serve external IPs; ClusterIP and node ports are served")
	}
	for _, ingress := range p.in.Service.Status.LoadBalancer.Ingress {
		if ingress.IP != "" && (ingress.IPMode == nil || *ingress.IPMode == v1.LoadBalancerIPModeVIP) {
			p.problem(UnsupportedField, "status.loadBalancer.ingress", "this version does not serve load balancer addresses itself; ClusterIP and node ports are served")
			break
		}
	}
	if spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal {
		p.problem(UnsupportedField, "spec.externalTrafficPolicy", "this version does not carry out Local; in force is Cluster")
	}
	if spec.InternalTrafficPolicy != nil && *spec.InternalTrafficPolicy == v1.ServiceInternalTrafficPolicyLocal {
		p.problem(UnsupportedField, "spec.internalTrafficPolicy", "this version does not carry out Local; in force is Cluster")
	}
}
