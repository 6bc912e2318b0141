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

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/servicehealth"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Observer is told of every pass. It must not block.
type Observer interface{ Observe(Report) }

// Run carries Services into this node's kernel until ctx ends, and leaves the kernel as it is then. version is what the
// program calls itself.
func Run(ctx context.Context, c Config, version string, log *slog.Logger) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	variant, why, err := kernel.ChooseIptables(ctx, c.Iptables)
	if err != nil {
		return err
	}
	log.Info("iptables", "variant", string(variant), "why", why)
	succession, err := succeed(ctx, c, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while waiting for a predecessor's end
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
	facts, err := kernel.Probe(scheduler.KernelNames())
	if err != nil {
		return err
	}
	families := kernel.Families()
	log.Info("starting", "version", version, "node", c.NodeName, "kernel", fmt.Sprintf("%d.%d", facts.KernelMajor, facts.KernelMinor),
		"families", fmt.Sprint(families), "schedulers", fmt.Sprint(facts.Schedulers), "pid", os.Getpid())

	config := c.dataplane(families, facts)
	if c.DetectLocalMode == DetectNodeCIDR {
		if config.Pods.CIDRs, err = awaitPodCIDRs(ctx, watcher, c.NodeName, log); err != nil {
			return err
		}
	}
	linux, err := kernel.NewLinux(c.linux(config))
	if err != nil {
		return err
	}
	defer linux.Close()
	if err := prepare(c, config, linux, log); err != nil {
		return err
	}

	board := newBoard(c.NodeName, version, openCounter, from)
	board.schedulers, board.vipMode = facts.Schedulers, config.VIPs
	metrics, table := newMetrics(linux, version), newConnectionTable()
	board.table = table
	metrics.registry.MustRegister(newConnectionMetrics(table))
	health := &health{board: board, families: families, answered: metrics.answered, node: func() (*v1.Node, bool) {
		return watcher.Node(), c.Manifests == "" && watcher.NodesKnown()
	}, maxViewAge: c.MaxViewAge.Duration, waits: succession.waits}
	if from.client != nil {
		health.view = from.client.View
		metrics.registry.MustRegister(newViewAge(from.client.View))
	}
	doors := newDoors(log, metrics.nodeHas)
	board.doors = doors
	defer doors.serve(doorsOf(c, health, board, metrics))()
	observers := []Observer{newLogObserver(log), metrics, board, table, succession, newGarbage()}
	go table.watch(ctx, tableWatch, log, metrics.nodeHas)
	portFailed := logHealthCheck(log)
	if from.client != nil {
		sink := newEventSink(restEvents{from.client.Events}, log, metrics.told)
		go sink.run(ctx)
		started(sink, time.Now(), c.NodeName, version)
		observers = append(observers, newEventObserver(c.NodeName, sink, c.readyNodes(watcher)))
		portFailed = healthCheckEvents(sink, c.NodeName, portFailed)
	}
	checks := newHealthChecks(servicehealth.Config{Serves: c.healthCheckOn(watcher), Healthy: health.healthy, Report: portFailed})
	defer checks.servers.Close()

	settings := c.settings(config)
	settings.Predecessor = succession.owns
	settings.APIServers = from.reached.All
	l := &loop{
		health:    health,
		engine:    newEngine(settings, linux, watcher),
		watcher:   watcher,
		observers: append(observers, checks),
		audits:    newAuditor(beside(linux, log), c.AuditPeriod.Duration, health),
		rest:      c.MinSyncPeriod.Duration,
		addresses: newAddressChanges(),
		link:      make(chan struct{}, 1),
		made:      make(chan struct{}, 1),
		waiting:   map[cluster.Name]source.Change{},
	}
	l.engine.beside = newBesideMaker(ctx, signal(l.made))
	l.audits.cost = metrics.audited
	if c.DetectLocalMode == DetectNodeCIDR {
		l.outdated = func() error { return podCIDRsChanged(watcher.Node(), config.Pods.CIDRs) }
	}
	linkGone := signal(l.link)
	told := kernel.Told{Addresses: l.addresses.tell, LinkGone: func() {
		log.Warn("our link has been deleted; an audit restores everything", "link", c.Link)
		linkGone()
	}}
	go func() {
		if err := kernel.Watch(ctx, c.Link, told); err != nil {
			log.Warn("only audits see changes of the node's addresses and the end of our link", "err", err)
		}
	}()
	if err := l.run(ctx); err != nil {
		return err
	}
	log.Info("stopping; the dataplane stays in place")
	return nil
}

// beside opens a Reader for audits, which let changes go first on the processor.
func beside(linux *kernel.Linux, log *slog.Logger) func() (Reader, error) {
	return func() (Reader, error) {
		if err := kernel.StandBack(); err != nil {
			log.Warn("audits compete with changes for the processor", "err", err)
		}
		return linux.Beside()
	}
}

// healthCheckOn tells whether health check node ports are served on an address of the node; nil is on all.
func (c Config) healthCheckOn(w *source.Watcher) func(netip.Addr) bool {
	limits := dataplane.Config{NodePortAddresses: networks(c.nodePortNetworks()), NodePortsOnPrimary: c.nodePortsOnPrimary()}
	if len(limits.NodePortAddresses) == 0 && !limits.NodePortsOnPrimary {
		return nil
	}
	return func(addr netip.Addr) bool {
		var node dataplane.Node
		if n := w.Node(); n != nil {
			node.Primary = primaryAddresses(n)
		}
		return limits.ServesNodePortsOn(addr, node)
	}
}

// readyNodes returns what names the nodes that share the telling of Events: none where only this node is watched.
func (c Config) readyNodes(w *source.Watcher) func() []string {
	if c.WatchNodes == OwnNode {
		return func() []string { return nil }
	}
	return w.ReadyNodes
}

// linux returns what the adapter has to know.
func (c Config) linux(d dataplane.Config) kernel.LinuxConfig {
	return kernel.LinuxConfig{
		Link: c.Link, Families: d.Families, Sysctls: slices.Sorted(maps.Keys(dataplane.Foundation(d).Sysctls)), Exclude: networks(c.ExcludeCIDRs),
		IgnoreLinks: ignoredLinks(c.Link),
	}
}

// openCounter opens a second, read-only view of the kernel for status, so that it takes none of the engine's time.
func openCounter() (connectionCounter, error) { return kernel.NewConnectionCounter() }
