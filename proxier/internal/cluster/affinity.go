package cluster

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// SourceAffinity is the source of a scheduler, and of its flags, that nobody has chosen: it is in force because the
// Service has session affinity.
const SourceAffinity = "session affinity"

// affinityFlags are those of a scheduler that is there for session affinity. With [scheduler.Port] one client would
// have many endpoints.
const affinityFlags = scheduler.Fallback

// affinityTables is how many front ends of a Service, without its node ports, may have a large table for session
// affinity. It is half of the tables that a Service's budget allows: the other half is for node ports, whose number is
// the node's.
const affinityTables = budget.FrontEnds / budget.FrontEndsOfTable / 2

// defaultAffinity is what the API server fills in for sessionAffinityConfig.clientIP.timeoutSeconds.
const defaultAffinity = 10800 * time.Second

// maxAffinity is the API's upper bound for it.
const maxAffinity = 86400 * time.Second

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
			"%d is not between 1 and %d; in force is %d",
			*c.ClientIP.TimeoutSeconds, int(maxAffinity.Seconds()), int(defaultAffinity.Seconds()))
		return defaultAffinity
	}
	return timeout
}

// schedulerByDefault returns the scheduler of a port for which nobody has chosen one.
//
// Persistence is the node's own: a client that comes by two nodes keeps two endpoints, unless both nodes chose the same
// one. So a Service with session affinity gets a hash of the client's address. The kernel asks it before there is
// anything to keep (net/netfilter/ipvs/ip_vs_core.c, ip_vs_sched_persist, Linux 6.12). But for the kernel's schedulers,
// it depends on nothing but what all nodes see.
func (p *parser) schedulerByDefault(port *ServicePort) Setting {
	fits := func(name string) bool {
		s, _ := scheduler.Lookup(name)
		return p.has(name) && most(port.Endpoints) <= s.Places && (!s.CostlyTable || p.frontEnds <= affinityTables)
	}
	for _, name := range scheduler.ForAffinity {
		if p.sticky && fits(name) {
			return Setting{annotation.Scheduler, name, SourceAffinity}
		}
	}
	return Setting{annotation.Scheduler, scheduler.Default, SourceDefault}
}

// has reports whether this node's kernel has the scheduler.
func (p *parser) has(name string) bool {
	s, _ := scheduler.Lookup(name)
	return p.in.KernelSchedulers == nil || slices.Contains(p.in.KernelSchedulers, s.Kernel)
}

// byAffinity reports whether session affinity chose the port's scheduler.
func byAffinity(port ServicePort) bool {
	return port.Setting(annotation.Scheduler).Source == SourceAffinity
}

// addresses counts the Service's own addresses that are served.
func (s *Service) addresses() int {
	n := len(s.ExternalIPs) + len(s.LoadBalancerIPs)
	if !s.ClusterIPHidden {
		n += len(s.ClusterIPs)
	}
	return n
}

// unchosen reports whether nobody has chosen the port's scheduler.
func unchosen(port ServicePort) bool {
	source := port.Setting(annotation.Scheduler).Source
	return source == SourceAffinity || source == SourceDefault
}
