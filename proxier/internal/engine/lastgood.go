package engine

import (
	"net/netip"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// lastGood returns what is in force for a Service, so that it stays so while what is written is rejected. The
// engine knows what it has compiled: before; after a restart, where that is nil, the kernel remembers what it is
// programmed with.
func lastGood(before *service, api *v1.Service, programmed func(question) (string, bool)) cluster.LastGood {
	places := sync.OnceValue(func() map[servedKey]*PortRow { return before.places() })
	return func(key string, port *cluster.ServicePort) (string, bool) {
		if before == nil {
			addr, err := netip.ParseAddr(api.Spec.ClusterIP)
			if err != nil || port == nil {
				return "", false
			}
			return programmed(question{key, dataplane.VirtualServerID{Addr: addr, Port: port.Port, Protocol: port.Protocol}})
		}
		if weight, slice := before.sliceWeights[key]; slice {
			return weight, true
		}
		settings := before.settings
		if port != nil {
			settings = nil
			if at := places()[servedKey{port.Name, port.Port}]; at != nil {
				settings = at.Settings
			}
		}
		for _, s := range settings {
			if s.Key == key {
				return s.Value, s.OfService()
			}
		}
		return "", false
	}
}

// servedKey identifies a port of a Service.
type servedKey struct {
	name string
	port uint16
}

// places returns the ports by name and number; the first of equal ones counts.
func (s *service) places() map[servedKey]*PortRow {
	at := make(map[servedKey]*PortRow, len(s.ports))
	for i := range s.ports {
		key := servedKey{s.ports[i].Name, s.ports[i].Port}
		if at[key] == nil {
			at[key] = &s.ports[i]
		}
	}
	return at
}

// question is a setting that is read from the kernel: of a virtual server, by the name of its annotation.
type question struct {
	key string
	id  dataplane.VirtualServerID
}

// programmed returns what the kernel has for a port of the Service.
func (e *Engine) programmed(name cluster.Name, q question) (string, bool) {
	v, found := e.have.VirtualServers[q.id]
	if owner := e.want.Owner(q.id); !found || owner != name && owner != (cluster.Name{}) {
		return "", false
	}
	switch q.key {
	case annotation.Scheduler:
		s, known := scheduler.OfKernel(v.Scheduler)
		return s.Name, known
	case annotation.SchedulerFlags:
		return v.Flags.String(), true
	case annotation.OnePacket:
		return map[bool]string{true: "true", false: "false"}[v.OnePacket], true
	case annotation.MaxConnections:
		for _, r := range v.RealServers {
			return annotation.ConnectionLimit{Upper: r.Upper, Lower: r.Lower}.String(), r.Upper != 0
		}
	}
	return "", false
}
