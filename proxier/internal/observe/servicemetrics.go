package observe

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// ServiceMetrics are counters of the traffic of Services, from those that the kernel keeps of virtual servers. It is an
// [engine.Observer], which learns whose the virtual servers are, and a prometheus.Collector, which reads the kernel
// when it is scraped.
type ServiceMetrics struct {
	most int
	read func() (map[dataplane.VirtualServerID]kernel.ServiceTraffic, error)

	mu       sync.Mutex
	services map[cluster.Name]*serviceTraffic
	sparing  sparing // a scrape that is too soon gets what was read last

	connections, packets, bytes, left *prometheus.Desc
}

// serviceTraffic is that of one Service.
type serviceTraffic struct {
	// servers are its virtual servers, with what the kernel counted of each last.
	servers map[dataplane.VirtualServerID]kernel.ServiceTraffic
	// sum is what was counted of all of them. It never falls, whatever becomes of a virtual server.
	sum kernel.ServiceTraffic
}

// NewServiceMetrics returns metrics of the most Services with the most bytes.
func NewServiceMetrics(most int) *ServiceMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("ipvs_proxier_service_"+name, help, labels, nil)
	}
	return &ServiceMetrics{
		most: most, read: kernel.ReadServiceTraffic, sparing: sparing{now: time.Now},
		services: map[cluster.Name]*serviceTraffic{},
		connections: desc("connections_total",
			"New connections of a Service on this node, as IPVS counts them.", "namespace", "service"),
		packets: desc("packets_total",
			"Packets of a Service on this node: in, from clients, and out, to clients.", "namespace", "service", "direction"),
		bytes: desc("bytes_total",
			"Bytes of IP packets of a Service on this node: in, from clients, and out, to clients.",
			"namespace", "service", "direction"),
		left: desc("metrics_omitted",
			"Services without metrics of their traffic, because --service-metrics allows no more."),
	}
}

// Observe implements engine.Observer.
func (m *ServiceMetrics) Observe(r engine.Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range r.Changed {
		if row.Gone {
			delete(m.services, row.Name)
			continue
		}
		s := m.services[row.Name]
		if s == nil {
			s = &serviceTraffic{}
			m.services[row.Name] = s
		}
		before := s.servers
		s.servers = make(map[dataplane.VirtualServerID]kernel.ServiceTraffic, len(row.FrontEnds))
		for _, f := range row.FrontEnds {
			if f.LostTo == nil {
				s.servers[f.Front.ID] = before[f.Front.ID]
			}
		}
	}
}

// count adds what has come since the last reading.
func (s *serviceTraffic) count(counted map[dataplane.VirtualServerID]kernel.ServiceTraffic) {
	for id, before := range s.servers {
		now, present := counted[id]
		if !present {
			s.servers[id] = kernel.ServiceTraffic{}
			continue
		}
		if now.Connections < before.Connections || now.PacketsIn < before.PacketsIn || now.PacketsOut < before.PacketsOut {
			before = kernel.ServiceTraffic{} // it was made anew
		}
		s.sum.Connections += now.Connections - before.Connections
		s.sum.PacketsIn += now.PacketsIn - before.PacketsIn
		s.sum.PacketsOut += now.PacketsOut - before.PacketsOut
		s.sum.BytesIn += now.BytesIn - before.BytesIn
		s.sum.BytesOut += now.BytesOut - before.BytesOut
		s.servers[id] = now
	}
}

// Describe implements prometheus.Collector.
func (m *ServiceMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.connections, m.packets, m.bytes, m.left} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *ServiceMetrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	m.sparing.read(func() {
		var counted map[dataplane.VirtualServerID]kernel.ServiceTraffic
		if counted, err = m.read(); err == nil {
			for _, s := range m.services {
				s.count(counted)
			}
		}
	})
	if err != nil {
		return // a counter that stands still would look like a Service without traffic
	}
	names := m.largest()
	for _, name := range names {
		sum := m.services[name].sum
		counter := func(d *prometheus.Desc, value uint64, more ...string) {
			labels := append([]string{name.Namespace, name.Name}, more...)
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
		}
		counter(m.connections, sum.Connections)
		counter(m.packets, sum.PacketsIn, "in")
		counter(m.packets, sum.PacketsOut, "out")
		counter(m.bytes, sum.BytesIn, "in")
		counter(m.bytes, sum.BytesOut, "out")
	}
	to <- prometheus.MustNewConstMetric(m.left, prometheus.GaugeValue, float64(len(m.services)-len(names)))
}

// largest returns the Services that have metrics: those with the most bytes, of equals the first ones by name.
func (m *ServiceMetrics) largest() []cluster.Name {
	names := make([]cluster.Name, 0, len(m.services))
	for name := range m.services {
		names = append(names, name)
	}
	bytes := func(name cluster.Name) uint64 { return m.services[name].sum.BytesIn + m.services[name].sum.BytesOut }
	slices.SortFunc(names, func(a, b cluster.Name) int {
		return cmp.Or(cmp.Compare(bytes(b), bytes(a)), a.Compare(b))
	})
	return names[:min(m.most, len(names))]
}
