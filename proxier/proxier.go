package proxier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/manifests"
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
	succession, err := succeed(ctx, c, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while waiting for a predecessor's end
		}
		return err
	}
	defer succession.release()
	facts, err := kernel.Probe(scheduler.Names())
	if err != nil {
		return err
	}
	families := kernel.Families()
	config := c.dataplane(families, facts)
	linux, err := kernel.NewLinux(c.linux(config))
	if err != nil {
		return err
	}
	defer linux.Close()
	log.Info("starting", "version", version, "node", c.NodeName, "kernel", fmt.Sprintf("%d.%d", facts.KernelMajor, facts.KernelMinor),
		"families", fmt.Sprint(families), "schedulers", fmt.Sprint(facts.Schedulers), "pid", os.Getpid())
	if err := prepare(c, config, linux, log); err != nil {
		return err
	}

	from, err := open(ctx, c, version, log)
	if err != nil {
		return err
	}
	watcher, err := source.NewWatcher(from.Source, c.NodeName)
	if err != nil {
		return err
	}
	board := newBoard(c.NodeName, version, openCounter, from.mistakes)
	metrics := newMetrics(linux, version)
	health := &health{board: board, families: families, answered: metrics.answered, node: func() (*v1.Node, bool) {
		return watcher.Node(), c.Manifests == "" && watcher.NodesKnown()
	}}
	stop, err := serve(c, health, board, metrics, log)
	if err != nil {
		return err
	}
	defer stop()
	checks := newHealthChecks(servicehealth.Config{Serves: c.healthCheckOn(watcher), Healthy: health.healthy, Report: logHealthCheck(log)})
	defer checks.servers.Close()

	settings := c.settings(config)
	settings.Predecessor = succession.owns
	l := &loop{
		health:    health,
		engine:    newEngine(settings, linux, watcher),
		watcher:   watcher,
		observers: []Observer{newLogObserver(log), metrics, board, checks, succession},
		audit:     c.AuditPeriod.Duration,
		rest:      c.MinSyncPeriod.Duration,
		addresses: make(chan struct{}, 1),
	}
	go watcher.Run(ctx)
	go func() {
		if err := kernel.WatchAddresses(ctx, c.Link, l.addressesChanged); err != nil {
			log.Warn("addresses are looked at with audits only", "err", err)
		}
	}()
	l.run(ctx)
	log.Info("ending; the dataplane stays in place")
	return nil
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

// linux returns what the adapter has to know.
func (c Config) linux(d dataplane.Config) kernel.LinuxConfig {
	return kernel.LinuxConfig{
		Link: c.Link, Families: d.Families, Sysctls: slices.Sorted(maps.Keys(dataplane.Foundation(d).Sysctls)), Exclude: networks(c.ExcludeCIDRs),
		IgnoreLinks: ignoredLinks(c.Link),
	}
}

// openCounter opens a second, read-only view of the kernel for status, so that it takes none of the engine's time.
func openCounter() (connectionCounter, error) { return kernel.NewConnectionCounter() }

// opened is a source with what belongs to it.
type opened struct {
	source.Source
	mistakes func() []string
}

// open opens the source that the configuration names.
func open(ctx context.Context, c Config, version string, log *slog.Logger) (opened, error) {
	if c.Manifests != "" {
		directory, err := manifests.Open(c.Manifests, func(file, mistake string) {
			if mistake == "" {
				log.Info("manifest is whole again", "file", file)
			} else {
				log.Error("manifest cannot be used", "file", file, "reason", mistake)
			}
		})
		if err != nil {
			return opened{}, err
		}
		go func() {
			if err := directory.Run(ctx); err != nil {
				log.Error("manifests are not watched", "err", err)
			}
		}()
		return opened{source.Source{Services: directory.Services(), Slices: directory.Slices(), Nodes: directory.Nodes()}, directory.Mistakes}, nil
	}
	config, err := restConfig(c.Kubeconfig)
	if err != nil {
		return opened{}, err
	}
	config.UserAgent = "ipvs-proxier/" + version
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return opened{}, fmt.Errorf("kubernetes client: %w", err)
	}
	return opened{source.FromClient(client, c.selection()), func() []string { return nil }}, nil
}

// selection returns what to ask the API for.
func (c Config) selection() source.Selection {
	s := source.Selection{ProxyName: c.ServiceProxyName}
	if c.WatchNodes == OwnNode {
		s.OnlyNode = c.NodeName
	}
	return s
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig != "" {
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
		return config, nil
	}
	config, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("no source of Services: give --manifests or --kubeconfig, or run in a cluster")
	}
	if err != nil {
		return nil, fmt.Errorf("in-cluster configuration: %w", err)
	}
	return config, nil
}

// loop waits for reasons to make a pass.
type loop struct {
	engine    *engine
	health    *health
	watcher   *source.Watcher
	observers []Observer
	audit     time.Duration
	addresses chan struct{}
	// rest is the least time between the end of a pass and the start of one that changes ask for; ended is when the last one
	// ended, gathering says that changes wait.
	rest      time.Duration
	ended     time.Time
	gathering bool
}

func (l *loop) addressesChanged() {
	select {
	case l.addresses <- struct{}{}:
	default:
	}
}

func (l *loop) run(ctx context.Context) {
	// Nothing is deleted before every source has told what it has.
	if !l.watcher.WaitForSync(ctx) {
		return
	}
	l.watcher.Take() // the first pass takes all
	l.pass(nil, true)
	timer := time.NewTimer(0)
	defer timer.Stop()
	audited := time.Now()
	for {
		timer.Reset(l.wait(time.Now(), audited))
		select {
		case <-ctx.Done():
			return
		case <-l.watcher.Changed():
			if l.gathering = time.Since(l.ended) < l.rest; l.gathering {
				continue
			}
			l.pass(l.watcher.Take(), false)
		case <-l.addresses:
			dirty, err := l.engine.readAddresses()
			if err != nil || len(dirty) > 0 {
				l.pass(dirty, err != nil)
			}
		case now := <-timer.C:
			l.gathering = false
			due := l.audit > 0 && now.Sub(audited) >= l.audit
			if due {
				audited = now
			}
			l.pass(l.watcher.Take(), due)
		}
	}
}

// wait returns how long there is nothing to do by itself.
func (l *loop) wait(now, audited time.Time) time.Duration {
	wait := time.Hour
	for _, due := range []time.Time{l.engine.retries.next(), l.engine.drains.next(), l.engine.stale.next()} {
		if !due.IsZero() {
			wait = min(wait, due.Sub(now))
		}
	}
	if l.gathering {
		wait = min(wait, l.ended.Add(l.rest).Sub(now))
	}
	if l.audit > 0 {
		wait = min(wait, audited.Add(l.audit).Sub(now))
	}
	return max(wait, time.Millisecond)
}

func (l *loop) pass(dirty []cluster.Name, audit bool) {
	start := time.Now()
	l.health.begin(start)
	defer l.health.end()
	r := l.engine.pass(start, dirty, audit)
	l.ended = time.Now()
	r.Duration = l.ended.Sub(start)
	for _, o := range l.observers {
		o.Observe(r)
	}
}

// Cleanup removes everything that is ours from this node's kernel, and nothing else: virtual servers, real servers, addresses and
// the link, chains and their hooks, sets. Sysctls keep their values. It returns the number of operations.
func Cleanup(c Config) (int, error) {
	config := c.dataplane(kernel.Families(), dataplane.Facts{})
	linux, err := kernel.NewLinux(c.linux(config))
	if err != nil {
		return 0, err
	}
	defer linux.Close()
	return cleanup(linux)
}

func cleanup(k Kernel) (int, error) {
	seen, err := k.Observe()
	if err != nil {
		return 0, fmt.Errorf("read the kernel: %w", err)
	}
	e := &engine{kernel: k, have: seen.State, stale: stale{frontEnds: map[dataplane.VirtualServerID]bool{}}}
	r := Report{failed: map[cluster.Name][]Failure{}}
	touched := dataplane.All(nil, seen.State)
	e.apply(&r, dataplane.Diff(seen.State, dataplane.NewState(), touched), touched)
	e.forget(time.Now(), &r)
	return r.OpCount(), r.Error()
}
