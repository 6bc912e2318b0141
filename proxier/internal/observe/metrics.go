package observe

import (
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/events"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// traffic is what the kernel adapter counts by itself.
type traffic interface{ Traffic() kernel.Traffic }

// Metrics makes Prometheus metrics of Reports. Labels are bounded: verb, kind, result. Services are named for as long
// as they have Problems, so that an alert says whose they are.
type Metrics struct {
	Registry *prometheus.Registry
	kernel   traffic

	passes, audits, ops, drift, failures, forgotten, cutOff, events *prometheus.CounterVec
	auditCPU                                                        *prometheus.CounterVec
	duration                                                        prometheus.Histogram
	changes                                                         *prometheus.HistogramVec
	services, waiting, draining, pending, foreign, synced           prometheus.Gauge
	contested                                                       *prometheus.GaugeVec
	nodeProblems                                                    []cluster.Problem
	problems                                                        *prometheus.GaugeVec
	messages, sends, processes                                      *trafficCount

	// Those of kube-proxy that dashboards and alerts use, under its names.
	healthz, livez, readyz *prometheus.CounterVec
	noLocal                *prometheus.GaugeVec
	syncDuration           prometheus.Histogram
	programming            prometheus.Histogram
	syncLast               prometheus.Gauge

	known map[cluster.Name]engine.Row
}

func NewMetrics(k traffic, version string) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ipvs_proxier_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "ipvs_proxier_" + name, Help: help})
	}
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		kernel:   k,
		known:    map[cluster.Name]engine.Row{},
		passes:   counter("passes_total", "Syncs, by result (success or error).", "result"),
		audits:   counter("audits_total", "Syncs that compared the whole kernel."),
		auditCPU: counter("audit_cpu_seconds_total",
			"Processor time in which audits beside the syncs read the kernel, by whose it is: the thread that reads, or the programs that it runs.", "of"),
		ops: counter("operations_total", "Operations that the kernel has applied.", "verb", "kind"),
		drift: counter("drift_repaired_total", "Operations that repaired what somebody had changed in the kernel.",
			"kind"),
		forgotten: counter("forgotten_flows_total",
			"UDP flows that connection tracking was made to forget, because their endpoint is gone."),
		cutOff: counter("cut_off_connections_total",
			"Connections that connection tracking was made to forget, because their client is no longer in the source ranges."),
		events: counter("events_total", "Events for the API, by result (created, exists, failed or dropped).", "result"),
		failures: counter("operation_failures_total",
			"Operations that were refused, or left out because one that they need was.", "verb", "kind"),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "ipvs_proxier_pass_duration_seconds",
			Help:    "Time of a sync, from the first look at a Service to the last answer of the kernel.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 20),
		}),
		changes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ipvs_proxier_change_duration_seconds",
			Help:    "Time of a change of a Service or its endpoints, by stage: watch (from what led to changed endpoints, by the control plane's clock, to its arrival here), queue (to the start of a sync), compile (to the first operation of the sync), kernel (its operations), total (from arrival to the end of the sync).",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 20),
		}, []string{"stage"}),
		services:  gauge("services", "Services that are served."),
		waiting:   gauge("waiting_services", "Services that wait for the next syncs, after a start or very many changes at once."),
		draining:  gauge("draining_real_servers", "Real servers at weight 0 that wait for their connections to end."),
		pending:   gauge("pending_retries", "Services, and the foundation, with operations to be tried again."),
		foreign:   gauge("foreign_virtual_servers", "Virtual servers of others, which are left alone."),
		synced:    gauge("last_success_timestamp_seconds", "When a sync last ended without an error, in seconds since 1970."),
		messages:  newTrafficCount("netlink_messages", "Netlink requests sent since the start."),
		sends:     newTrafficCount("netlink_sends", "System calls that carried netlink requests since the start."),
		processes: newTrafficCount("processes_started", "Programs started since the start, such as iptables-restore."),
		problems: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ipvs_proxier_problems", Help: "What is rejected or not supported, by Service and reason. Namespace and service are empty for Nodes: the annotations, addresses and kernel of this one, addresses on which the proxier cannot serve, and addresses of others.",
		}, []string{"namespace", "service", "reason"}),
		contested: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ipvs_proxier_contested_objects",
			Help: "Objects of the kernel that others undo again and again, by kind; each is repaired once in a tenth of --contest-window.",
		}, []string{"kind"}),
	}
	for _, result := range events.Results {
		m.events.WithLabelValues(result)
	}
	m.CountAudit(engine.AuditCost{})
	m.countContested(engine.Contested{})
	code := func(path string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubeproxy_proxy_" + path + "_total", Help: "Answers of /" + path + ", by status.",
		}, []string{"code"})
	}
	m.healthz, m.livez = code("healthz"), code("livez")
	m.readyz = counter("readyz_total", "Answers of /readyz, by status.", "code")
	// What alerts compare is there from the start.
	m.readyz.WithLabelValues("200")
	m.readyz.WithLabelValues("503")
	m.noLocal = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
		Help: "Service ports, in each family, whose traffic policy is Local and whose endpoints are all on other nodes.",
	}, []string{"traffic_policy"})
	m.noLocal.WithLabelValues("internal")
	m.noLocal.WithLabelValues("external")
	// The buckets are kube-proxy's, so that quantiles over nodes of both kinds mean something.
	m.syncDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "kubeproxy_sync_proxy_rules_duration_seconds", Help: "Time of a sync.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
	})
	m.syncLast = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
		Help: "When a sync last ended without an error, in seconds since 1970.",
	})
	m.programming = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "kubeproxy_network_programming_duration_seconds",
		Help: "Time from what led to changed endpoints to their being in the kernel.",
		Buckets: slices.Concat(prometheus.LinearBuckets(0.25, 0.25, 2), prometheus.LinearBuckets(1, 1, 59),
			prometheus.LinearBuckets(60, 5, 12), prometheus.LinearBuckets(120, 30, 7)),
	})
	for _, stage := range []string{"watch", "queue", "compile", "kernel", "total"} {
		m.changes.WithLabelValues(stage)
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "ipvs_proxier_info", Help: "Deprecated: ipvs_proxier_build_info takes its place.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "ipvs_proxier_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.Registry.MustRegister(build, m.passes, m.audits, m.auditCPU, m.ops, m.drift, m.failures, m.forgotten, m.cutOff,
		m.events, m.duration, m.services, m.waiting, m.draining, m.pending, m.foreign, m.synced,
		m.messages, m.sends, m.processes, m.problems, m.contested, m.healthz, m.livez, m.readyz, m.noLocal,
		m.syncDuration, m.syncLast, m.programming, m.changes, info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe implements Observer.
func (m *Metrics) Observe(r engine.Report) {
	if r.Error() == nil {
		m.passes.WithLabelValues("success").Inc()
		if r.Backlog == 0 {
			ended := float64(r.Start.Add(r.Duration).UnixMilli()) / 1000
			m.synced.Set(ended)
			m.syncLast.Set(ended)
		}
	} else {
		m.passes.WithLabelValues("error").Inc()
	}
	if r.Whole {
		m.audits.WithLabelValues().Inc()
		m.foreign.Set(float64(r.Foreign))
	}
	for label, n := range r.Ops {
		m.ops.WithLabelValues(label.Verb.String(), label.Kind.String()).Add(float64(n))
	}
	for op := range r.Drift() {
		m.drift.WithLabelValues(op.Op.Object.Kind().String()).Inc()
	}
	for _, failures := range r.Failures {
		for _, f := range failures {
			m.failures.WithLabelValues(f.Op.Verb.String(), f.Op.Object.Kind().String()).Inc()
		}
	}
	m.duration.Observe(r.Duration.Seconds())
	m.syncDuration.Observe(r.Duration.Seconds())
	m.time(r)
	m.forgotten.WithLabelValues().Add(float64(r.Forgotten))
	m.cutOff.WithLabelValues().Add(float64(r.CutOff))
	m.waiting.Set(float64(r.Backlog))
	m.draining.Set(float64(r.Draining))
	m.pending.Set(float64(r.Pending))
	for _, row := range r.Changed {
		m.count(row)
	}
	if r.Err == nil {
		now := r.ProblemsOfNodes()
		m.countProblems(cluster.Name{}, m.nodeProblems, now)
		m.nodeProblems = now
	}
	m.countContested(r.Contested)
	m.services.Set(float64(r.Served))
	if m.kernel != nil {
		t := m.kernel.Traffic()
		m.messages.set(t.Messages)
		m.sends.set(t.Sends)
		m.processes.set(t.Processes)
	}
}

// countContested sets the number of each kind, so that alerts find it from the start.
func (m *Metrics) countContested(c engine.Contested) {
	for kind := dataplane.KindLink; kind <= dataplane.KindRoute; kind++ {
		if kind != dataplane.KindHook { // hooks count as the rules of their table
			m.contested.WithLabelValues(kind.String()).Set(float64(c.Objects[kind]))
		}
	}
}

// CountNodeProblems replaces the series of the Problems before by those of now. They are Problems of this node that are
// in no Report; each caller has reasons of its own.
func (m *Metrics) CountNodeProblems(before, now []cluster.Problem) {
	m.countProblems(cluster.Name{}, before, now)
}

// CountAudit counts what a reading of the kernel cost.
func (m *Metrics) CountAudit(c engine.AuditCost) {
	m.auditCPU.WithLabelValues("thread").Add(c.Thread.Seconds())
	m.auditCPU.WithLabelValues("programs").Add(c.Programs.Seconds())
}

// time observes the stages of what has changed. Clocks of two machines may differ: nothing takes less than no time.
func (m *Metrics) time(r engine.Report) {
	observe := func(stage string, d time.Duration) { m.changes.WithLabelValues(stage).Observe(max(d, 0).Seconds()) }
	for _, c := range r.Changes {
		observe("queue", c.Queue)
		observe("total", c.Total)
		for _, d := range c.Watch {
			observe("watch", d)
		}
		for _, d := range c.Programmed {
			m.programming.Observe(max(d, 0).Seconds())
		}
	}
	if len(r.Changes) > 0 {
		observe("compile", r.Compile)
		observe("kernel", r.Kernel)
	}
}

// CountAnswer counts an answer of /healthz, /livez or /readyz.
func (m *Metrics) CountAnswer(path string, status int) {
	of := map[string]*prometheus.CounterVec{"healthz": m.healthz, "livez": m.livez, "readyz": m.readyz}[path]
	of.WithLabelValues(strconv.Itoa(status)).Inc()
}

// CountEvent counts what became of an Event.
func (m *Metrics) CountEvent(result string) { m.events.WithLabelValues(result).Inc() }

func (m *Metrics) count(row engine.Row) {
	before := m.known[row.Name]
	m.countProblems(row.Name, before.Problems, row.Problems)
	m.add(before, -1)
	delete(m.known, row.Name)
	if len(row.Problems) > 0 || row.NoLocalInternal > 0 || row.NoLocalExternal > 0 {
		m.known[row.Name] = engine.Row{
			Problems: row.Problems, NoLocalInternal: row.NoLocalInternal, NoLocalExternal: row.NoLocalExternal,
		}
		m.add(row, 1)
	}
}

// countProblems makes the Service's series those of its Problems now; the others go.
func (m *Metrics) countProblems(name cluster.Name, before, now []cluster.Problem) {
	counts := map[cluster.Reason]int{}
	for _, p := range now {
		counts[p.Reason]++
	}
	for reason, n := range counts {
		m.problems.WithLabelValues(name.Namespace, name.Name, reason.Name).Set(float64(n))
	}
	for _, p := range before {
		if counts[p.Reason] == 0 {
			m.problems.DeleteLabelValues(name.Namespace, name.Name, p.Reason.Name)
		}
	}
}

func (m *Metrics) add(row engine.Row, sign float64) {
	m.noLocal.WithLabelValues("internal").Add(sign * float64(row.NoLocalInternal))
	m.noLocal.WithLabelValues("external").Add(sign * float64(row.NoLocalExternal))
}
