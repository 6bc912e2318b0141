package observe

import "github.com/prometheus/client_golang/prometheus"

// trafficCount is what talking to the kernel has taken since the start. It is a counter. A gauge of the same name
// without "_total" was there first, and stays beside it for one version.
type trafficCount struct {
	counter prometheus.Counter
	old     prometheus.Gauge
	last    uint64
}

func newTrafficCount(name, help string) *trafficCount {
	name = "ipvs_proxier_" + name
	return &trafficCount{
		counter: prometheus.NewCounter(prometheus.CounterOpts{Name: name + "_total", Help: help}),
		old: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: name, Help: "Deprecated: " + name + "_total is the same as a counter.",
		}),
	}
}

// set takes the count of now, which never falls.
func (c *trafficCount) set(now uint64) {
	c.counter.Add(float64(now - c.last))
	c.old.Set(float64(now))
	c.last = now
}

// Describe implements prometheus.Collector.
func (c *trafficCount) Describe(to chan<- *prometheus.Desc) {
	c.counter.Describe(to)
	c.old.Describe(to)
}

// Collect implements prometheus.Collector.
func (c *trafficCount) Collect(to chan<- prometheus.Metric) {
	c.counter.Collect(to)
	c.old.Collect(to)
}
