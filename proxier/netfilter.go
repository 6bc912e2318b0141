package proxier

import (
	"context"
	"log/slog"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// chooseNetfilter chooses by whether the kernel has what the configuration would need of nftables.
func (c Config) chooseNetfilter(ctx context.Context) (kernel.NetfilterChoice, error) {
	config := c.dataplane(kernel.Families(kernel.NFTables),
		dataplane.Facts{KernelMajor: 6, RandomFully: true, IPVSMatch: true, OwnTables: true})
	return kernel.ChooseNetfilter(ctx, c.Netfilter, c.Iptables, dataplane.Foundation(config))
}

// netfilterInUse returns the backend that an earlier start has chosen: nftables where there are tables of ours, unless
// the configuration says otherwise.
func (c Config) netfilterInUse(ctx context.Context) (kernel.NetfilterChoice, error) {
	if c.Netfilter == kernel.AutoNetfilter && kernel.HasTables() {
		c.Netfilter = string(kernel.NFTables)
	}
	return c.chooseNetfilter(ctx)
}

// otherRules takes away the sets and rules of ours that are where they are not held now, once those are in place that
// are.
type otherRules struct {
	in       kernel.Netfilter
	families []cluster.Family
	log      *slog.Logger
	begun    bool
	// alone calls a function while nothing is frozen, or not at all when the context ends first.
	alone func(context.Context, func()) bool
}

// Observe implements Observer.
func (o *otherRules) Observe(r engine.Report) {
	if o.begun || r.Backlog > 0 || r.Pending > 0 || r.Error() != nil {
		return
	}
	o.begun = true
	go o.alone(context.Background(), func() {
		removed, err := kernel.RemoveRules(o.in, o.families, false)
		switch {
		case err != nil:
			o.log.Error("sets and rules of an earlier start stay beside those in force", "in", string(o.in), "err", err)
		case len(removed) > 0:
			o.log.Info("removed the sets and rules of an earlier start", "in", string(o.in), "objects", len(removed))
		}
	})
}
