package engine

import (
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// service is what stays known of a Service once its Fragment is made: what status shows, what is in force where
// something is rejected, and what it depends on.
type service struct {
	uid, version string
	// problems are nil where there are none.
	problems     *cluster.Problems
	settings     []cluster.Setting
	sliceWeights map[string]string
	ports        []PortRow
	// outside are its addresses but the ClusterIPs.
	outside []netip.Addr
	// restricted says that it has source ranges, nodePorts that it has node ports.
	restricted, nodePorts bool
	// anywhere says that it has endpoints of which nobody says where they are.
	anywhere bool
	// broadcast says that endpoints are left out that are at broadcast addresses of the node's networks.
	broadcast       bool
	healthCheckPort uint16
}

type PortRow struct {
	Name     string
	Port     uint16
	Settings []cluster.Setting
}

// keep returns what stays of the Service, its lists of settings shared with others that say the same.
func (e *Engine) keep(s cluster.Service, f dataplane.Fragment) *service {
	kept := &service{
		uid: s.UID, version: s.Version, anywhere: f.Anywhere, broadcast: s.Broadcast, settings: e.shared.share(s.Settings),
		sliceWeights: s.SliceWeights,
		ports:        make([]PortRow, len(s.Ports)), restricted: len(s.SourceRanges) > 0,
		healthCheckPort: s.HealthCheckNodePort,
	}
	if !s.Problems.None() {
		problems := s.Problems.Kept()
		kept.problems = &problems
	}
	if len(s.ExternalIPs)+len(s.LoadBalancerIPs) > 0 {
		kept.outside = append(append(kept.outside, s.ExternalIPs...), s.LoadBalancerIPs...)
	}
	for i, port := range s.Ports {
		kept.ports[i] = PortRow{port.Name, port.Port, e.shared.share(port.Settings)}
		kept.nodePorts = kept.nodePorts || port.NodePort != 0
	}
	return kept
}
