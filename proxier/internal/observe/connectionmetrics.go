package observe

import "github.com/prometheus/client_golang/prometheus"

// connectionMetrics shows the table of connections as it is at a scrape. What the kernel does not report has no series.
type connectionMetrics struct {
	table                               *ConnectionTable
	connections, buckets, growsTo, most *prometheus.Desc
}

func NewConnectionMetrics(table *ConnectionTable) *connectionMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("ipvs_proxier_"+name, help, nil, nil)
	}
	return &connectionMetrics{
		table:       table,
		connections: desc("connections", "Connections that IPVS has, in the network namespace of the node: now, or at the last audit where the kernel has no /proc/net/ip_vs_status."),
		buckets:     desc("connection_table_buckets", "Buckets of the table of IPVS's connections."),
		growsTo:     desc("connection_table_max_buckets", "Buckets that the table can grow to (ip_vs.conn_tab_bits)."),
		most:        desc("connections_max", "Connections that IPVS may have (net.ipv4.vs.conn_max), where the kernel limits them."),
	}
}

// Describe implements prometheus.Collector.
func (m *connectionMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.connections, m.buckets, m.growsTo, m.most} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *connectionMetrics) Collect(to chan<- prometheus.Metric) {
	s, _, err := m.table.current()
	if err != nil {
		return // the log and status report it
	}
	gauge := func(d *prometheus.Desc, value int) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value))
	}
	gauge(m.connections, s.Connections)
	if s.MaxBuckets > 0 {
		gauge(m.buckets, s.Buckets)
		gauge(m.growsTo, s.MaxBuckets)
	}
	if s.MaxConnections != nil {
		gauge(m.most, *s.MaxConnections)
	}
}
