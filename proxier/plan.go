package proxier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/predecessor"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Plan is what a start would do on this node now.
type Plan struct {
	// Operations are in the order in which they would be carried out.
	Operations []PlannedOperation `json:"operations"`
	// Services counts those that would be served.
	Services int `json:"services"`
}

// PlannedOperation is one change in the kernel, in the words of the log and of metrics.
type PlannedOperation struct {
	Verb   string `json:"verb"`
	Kind   string `json:"kind"`
	Object string `json:"object"`
}

// String returns for example "create virtual-server tcp 10.96.0.10:53 rr".
func (o PlannedOperation) String() string { return o.Verb + " " + o.Kind + " " + o.Object }

// Summary counts the operations by verb and kind, in the order in which they come first.
func (p Plan) Summary() string {
	if len(p.Operations) == 0 {
		return fmt.Sprintf("nothing to do: the kernel holds what %d Services want", p.Services)
	}
	var order []string
	count := map[string]int{}
	for _, o := range p.Operations {
		what := o.Verb + " " + o.Kind
		if count[what]++; count[what] == 1 {
			order = append(order, what)
		}
	}
	for i, what := range order {
		order[i] = fmt.Sprintf("%s %d", what, count[what])
	}
	return fmt.Sprintf("%d operations: %s", len(p.Operations), strings.Join(order, ", "))
}

// MakePlan returns what Run with this configuration would do to the kernel now. It reads the kernel and the source of
// Services, and writes nothing. It needs no running proxier, and holds no lock. ctx bounds how long it waits for the
// source.
func MakePlan(ctx context.Context, c Config, version string, log *slog.Logger) (Plan, error) {
	if err := c.Validate(); err != nil {
		return Plan{}, fmt.Errorf("configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	by, err := c.chooseNetfilter(ctx)
	if err != nil {
		return Plan{}, err
	}
	from, err := open(ctx, c, version, log)
	if err != nil {
		return Plan{}, err
	}
	watcher := source.NewWatcher(from.Source, c.NodeName)
	go watcher.Run(ctx)
	facts, err := kernel.Probe(scheduler.KernelNames(), by.Netfilter)
	if err != nil {
		return Plan{}, err
	}
	if !watcher.WaitForSync(ctx) {
		return Plan{}, from.unheard(ctx)
	}
	return dryRun{c, by, facts, from, watcher, log}.plan(ctx)
}

// dryRun is what it takes to find out what a start would do: the objects are known.
type dryRun struct {
	Config
	by      kernel.NetfilterChoice
	facts   dataplane.Facts
	from    opened
	watcher *source.Watcher
	log     *slog.Logger
}

func (r dryRun) plan(ctx context.Context) (Plan, error) {
	linux, settings, err := r.open(ctx)
	if err != nil {
		return Plan{}, err
	}
	defer linux.Close()
	seen, err := linux.Observe()
	if err != nil {
		return Plan{}, fmt.Errorf("read the kernel: %w", err)
	}
	ops, last, err := engine.DryRun(settings, seen, r.watcher, linux.Connections)
	if err != nil {
		return Plan{}, err
	}
	return planned(ops, last.Served), nil
}

// open opens the kernel, and returns what the engine of a start would go by.
func (r dryRun) open(ctx context.Context) (*kernel.Linux, engine.Settings, error) {
	wanted := r.dataplane(kernel.Families(r.by.Netfilter), r.facts)
	if r.DetectLocalMode == DetectNodeCIDR {
		var err error
		if wanted.Pods.CIDRs, err = awaitPodCIDRs(ctx, r.watcher, r.NodeName, r.log); err != nil {
			return nil, engine.Settings{}, err
		}
	}
	settings := r.settings(wanted)
	settings.APIServers = r.from.reached.All
	if r.TakeOver != "" {
		ledger, err := predecessor.ReadLedger(predecessor.Proxy(r.TakeOver))
		if err != nil {
			return nil, engine.Settings{}, err
		}
		settings.Predecessor = ledger.Owns
	}
	linux, err := kernel.NewLinux(r.linux(wanted, r.by.Netfilter))
	return linux, settings, err
}

func planned(ops []dataplane.Op, services int) Plan {
	p := Plan{Operations: make([]PlannedOperation, 0, len(ops)), Services: services}
	for _, op := range ops {
		p.Operations = append(p.Operations, PlannedOperation{op.Verb.String(), op.Object.Kind().String(), op.Object.String()})
	}
	return p
}

// unheard returns why nothing is known from the source yet.
func (o opened) unheard(ctx context.Context) error {
	why := errors.New("it has not answered in time")
	if o.servers != nil {
		if server, since, err := o.servers.Reach(); !since.IsZero() && err != nil {
			why = fmt.Errorf("%s does not answer: %w", server, err)
		}
	}
	return fmt.Errorf("the Services are not known: %w (%w)", why, context.Cause(ctx))
}
