package proxier

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/events"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/freeze"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/observe"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/predecessor"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/servicehealth"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Run carries Services into this node's kernel until ctx ends, and leaves the kernel as it is then. version is what the
// program calls itself.
func Run(ctx context.Context, c Config, version string, log *slog.Logger) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	by, err := c.chooseNetfilter(ctx)
	if err != nil {
		return err
	}
	log.Info("netfilter", "by", string(by.Netfilter), "variant", string(by.Variant), "why", by.Why)
	if err := admitted(c, by, log); err != nil {
		return err
	}
	succession, err := succeed(ctx, c, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // a signal came while we waited for the predecessor's end
		}
		return err
	}
	defer succession.release()
	// The lists of the API are on their way while the kernel is looked at.
	from, err := open(ctx, c, version, log)
	if err != nil {
		return err
	}
	watcher := source.NewWatcher(from.Source, c.NodeName)
	go watcher.Run(ctx)
	facts, err := kernel.Probe(scheduler.KernelNames(), by.Netfilter)
	if err != nil {
		return err
	}
	families := kernel.Families(by.Netfilter)
	log.Info("starting", "version", version, "node", c.NodeName, "kernel", fmt.Sprintf("%d.%d",
		facts.KernelMajor, facts.KernelMinor),
		"families", fmt.Sprint(families), "schedulers", fmt.Sprint(facts.Schedulers), "pid", os.Getpid())

	plan := c.dataplane(families, facts)
	if c.DetectLocalMode == DetectNodeCIDR {
		if plan.Pods.CIDRs, err = awaitPodCIDRs(ctx, watcher, c.NodeName, log); err != nil {
			return err
		}
	}
	linux, err := kernel.NewLinux(c.linux(plan, by.Netfilter))
	if err != nil {
		return err
	}
	defer linux.Close()
	frozen := freeze.Open(c.StateDir, log)
	begin := func() error { return prepare(c, plan, linux, log) }
	if frozen.State().Until.IsZero() {
		if err := begin(); err != nil {
			return err
		}
		begin = nil
	}

	board := observe.NewBoard(c.NodeName, version, openCounter, from.origin())
	if c.StateDir != "" {
		defer observe.KeepJournal(board.Journal, c.StateDir, version, log)()
	}
	frozen.Noted = func(text string) { board.Journal.Note(time.Now(), text) }
	board.Freeze, board.Waiting, succession.alone = frozen.Status, watcher.Waiting, frozen.Do
	board.Schedulers, board.VIPMode = facts.Schedulers, plan.VIPs
	metrics, table := observe.NewMetrics(linux, version), observe.NewConnectionTable()
	board.Table = table
	metrics.Registry.MustRegister(observe.NewConnectionMetrics(table))
	metrics.Registry.MustRegister(observe.NewFrozenUntil(frozen.State))
	passing, reading := &engine.Stopwatch{}, &engine.Stopwatch{}
	health := &observe.Health{Board: board, Families: families, Answered: metrics.CountAnswer,
		Node: func() (*v1.Node, bool) {
			return watcher.Node(), c.Manifests == "" && watcher.NodesKnown()
		}, MaxViewAge: c.MaxViewAge.Duration, Waits: succession.waits, Frozen: frozen.State,
		Works: []*engine.Stopwatch{passing, reading}}
	if from.client != nil {
		health.View = from.client.View
		metrics.Registry.MustRegister(observe.NewViewAge(from.client.View))
	}
	servers := newHTTPServers(log, metrics.CountNodeProblems)
	board.ListenerProblems, board.Unready = servers.problems, health.Unready
	mirror := &mirror{version: version}
	defer servers.serve(httpServersOf(c, health, board, metrics, frozen, mirror))()
	observers := []engine.Observer{
		observe.NewLog(log), metrics, board.Journal, board, table, succession, observe.NewGarbage(),
		&otherRules{in: by.Netfilter.Other(), families: families, log: log, alone: frozen.Do},
	}
	if c.ServiceMetrics > 0 {
		traffic := observe.NewServiceMetrics(c.ServiceMetrics)
		metrics.Registry.MustRegister(traffic)
		observers = append(observers, traffic)
	}
	go table.Watch(ctx, observe.TableWatch, log, metrics.CountNodeProblems)
	portFailed := observe.LogHealthCheck(log)
	if from.client != nil {
		sink := events.NewSink(events.REST{Interface: from.client.Events}, log, metrics.CountEvent)
		go sink.Run(ctx)
		events.Started(sink, time.Now(), c.NodeName, version)
		observers = append(observers, events.New(c.NodeName, sink, c.readyNodes(watcher)))
		portFailed = events.WithHealthChecks(sink, c.NodeName, portFailed)
	}
	checks := observe.NewHealthChecks(servicehealth.Config{
		Serves: c.healthCheckOn(watcher), Healthy: health.Healthy, Report: portFailed,
	})
	defer checks.Servers.Close()

	settings := c.settings(plan)
	settings.Predecessor = succession.owns
	settings.APIServers = from.reached.All
	config := engine.Config{
		Source: watcher, Observers: append(observers, checks), Rest: c.MinSyncPeriod.Duration,
		AuditPeriod: c.AuditPeriod.Duration,
		OpenReader:  openReader(linux, log), ProcessorTime: kernel.ProcessorTime, AuditCost: metrics.CountAudit,
		Passing: passing, Reading: reading,
		Frozen: frozen.State().Until, TellFrozen: frozen.Tell, Begin: begin,
		NameWriter: func(ctx context.Context) engine.Writer {
			name, known := predecessor.NameWriter(ctx, predecessor.NewDetector(), c.Link)
			return engine.Writer{Name: name, Known: known}
		},
	}
	if c.DetectLocalMode == DetectNodeCIDR {
		config.Outdated = func() error { return podCIDRsChanged(watcher.Node(), plan.Pods.CIDRs) }
	}
	l := engine.NewLoop(engine.New(settings, linux, watcher), config)
	frozen.Serve(l)
	mirror.loop.Store(l)
	handlers := kernel.WatchHandlers{
		Addresses: func(change kernel.AddressChange) { l.AddressChanged(engine.AddressChange(change)) },
		Ours:      func(change kernel.AddressChange) { l.OursGone(engine.AddressChange(change)) },
		LinkGone: func() {
			log.Warn("our link has been deleted; an audit restores everything", "link", c.Link)
			l.LinkGone()
		},
	}
	go func() {
		if err := kernel.Watch(ctx, c.Link, handlers); err != nil {
			log.Warn("only audits see changes of the node's addresses and the end of our link", "err", err)
		}
	}()
	if err := l.Run(ctx); err != nil {
		return err
	}
	log.Info("stopping; the dataplane stays in place")
	return nil
}

// openReader opens a Reader for audits, which let changes go first on the processor.
func openReader(linux *kernel.Linux, log *slog.Logger) func() (dataplane.Reader, error) {
	return func() (dataplane.Reader, error) {
		if err := kernel.LowerPriority(); err != nil {
			log.Warn("audits compete with changes for the processor", "err", err)
		}
		return linux.OpenReader()
	}
}

// healthCheckOn reports whether health check node ports are served on an address of the node; nil is on all.
func (c Config) healthCheckOn(w *source.Watcher) func(netip.Addr) bool {
	limits := dataplane.Config{
		NodePortAddresses: networks(c.nodePortNetworks()), NodePortsOnPrimary: c.nodePortsOnPrimary(),
	}
	if len(limits.NodePortAddresses) == 0 && !limits.NodePortsOnPrimary {
		return nil
	}
	return func(addr netip.Addr) bool {
		var node dataplane.Node
		if n := w.Node(); n != nil {
			node.Primary = engine.PrimaryAddresses(n)
		}
		return limits.ServesNodePortsOn(addr, node)
	}
}

// readyNodes returns what names the nodes that share the reporting of Events: none where only this node is watched.
func (c Config) readyNodes(w *source.Watcher) func() []string {
	if c.WatchNodes == OwnNode {
		return func() []string { return nil }
	}
	return w.ReadyNodes
}

// linux returns what the adapter has to know.
func (c Config) linux(d dataplane.Config, by kernel.Netfilter) kernel.LinuxConfig {
	return kernel.LinuxConfig{
		Link: c.Link, Families: d.Families, Sysctls: slices.Sorted(maps.Keys(dataplane.Foundation(d).Sysctls)),
		Exclude:     networks(c.ExcludeCIDRs),
		IgnoreLinks: ignoredLinks(c.Link), Netfilter: by,
	}
}

// openCounter opens a second, read-only view of the kernel for status, so that it takes none of the engine's time.
func openCounter() (observe.ConnectionCounter, error) { return kernel.NewConnectionCounter() }
