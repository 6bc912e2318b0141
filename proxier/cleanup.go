package proxier

import (
	"context"
	"fmt"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/predecessor"
)

// CleanupOptions are what an operator wants of Cleanup beside its rule. The zero value is the rule.
type CleanupOptions struct {
	// HandOver leaves virtual servers, addresses and the link to a living kube-proxy in ipvs mode.
	HandOver bool
	// Force cleans up beside a living proxy of another kind. It takes the addresses on the link, and their virtual
	// servers, for ours, also where no set of ours says that they are.
	Force bool
	// DryRun removes nothing.
	DryRun bool
}

// Removal is what Cleanup has removed, or would remove.
type Removal = engine.Removal

// Cleanup removes what is ours from this node's kernel, and nothing else: virtual servers, real servers, addresses,
// routes and the link, chains and their hooks, sets. Sysctls keep their values. It holds the lock meanwhile, and
// removes nothing while a service proxy of any kind is alive. With an error, the Removal is what has gone all the same;
// with DryRun, it is what would go if it were not for the error.
func Cleanup(ctx context.Context, c Config, o CleanupOptions) (Removal, error) {
	var refused error
	if o.DryRun {
		refused = predecessor.Held()
	} else {
		lock, err := predecessor.Hold()
		if err != nil {
			return Removal{}, err
		}
		defer lock.Release()
	}
	by, err := c.netfilterInUse(ctx)
	if err != nil {
		return Removal{}, err
	}
	config := c.dataplane(kernel.Families(by.Netfilter), dataplane.Facts{})
	linux, err := kernel.NewLinux(c.linux(config, by.Netfilter))
	if err != nil {
		return Removal{}, err
	}
	defer linux.Close()
	seen, err := linux.Observe()
	if err != nil {
		return Removal{}, fmt.Errorf("read the kernel: %w", err)
	}
	if refused == nil {
		unready := func() (string, error) { return predecessor.Unready(ctx, servedFamilies(seen.State)) }
		refused = admitCleanup(predecessor.NewDetector().Alive(ctx), unready, o)
	}
	if refused != nil && !o.DryRun {
		return Removal{}, refused
	}
	gone, err := engine.Remove(linux, seen.State, engine.Removing{
		Link: c.Link, Shared: slices.Contains(predecessor.Links(), c.Link), HandOver: o.HandOver, Force: o.Force,
		DryRun: o.DryRun,
	})
	if err == nil {
		var rules []string
		rules, err = kernel.RemoveRules(by.Netfilter.Other(), config.Families, o.DryRun)
		gone.Objects = append(gone.Objects, rules...)
	}
	if err == nil {
		err = refused
	}
	return gone, err
}

// servedFamilies are those in which there are virtual servers, sorted.
func servedFamilies(have *dataplane.State) (families []cluster.Family) {
	for id := range have.VirtualServers {
		if family := cluster.FamilyOf(id.Addr); !slices.Contains(families, family) {
			families = append(families, family)
		}
	}
	slices.Sort(families)
	return families
}

// admitCleanup returns why nothing may be removed beside the proxies that are alive. unready says what kube-proxy has
// not written yet of what serves in our place, "" for nothing.
func admitCleanup(living []predecessor.Living, unready func() (string, error), o CleanupOptions) error {
	if o.Force {
		return nil
	}
	if !o.HandOver {
		if len(living) == 0 {
			return nil
		}
		l := living[0]
		hint := "stop it first"
		if l.Proxy == predecessor.KubeProxy {
			hint = "stop it first, or leave to it what it has adopted (--hand-over, for its ipvs mode)"
		}
		return fmt.Errorf(
			"%s is alive on this node (%s). What is on its link may be its own by now, so nothing was removed: %s, or remove all the same (--force)",
			l.Proxy, l.Sign, hint,
		)
	}
	at := slices.IndexFunc(living, func(l predecessor.Living) bool { return l.Proxy == predecessor.KubeProxy })
	if at < 0 {
		return fmt.Errorf("no living kube-proxy was found to hand over to, so nothing was removed: start it first (in a container this needs the node's network and processes), or hand over all the same (--force)")
	}
	if mode := living[at].Mode; mode != "" && mode != "ipvs" {
		return fmt.Errorf("kube-proxy runs in mode %s, which adopts no virtual servers, so nothing was removed: `ipvs-proxier cleanup --force` removes all of ours beside it", mode)
	}
	missing, err := unready()
	if err != nil {
		return err
	}
	if missing != "" {
		return fmt.Errorf("kube-proxy has not written %s yet, so nothing was removed: wait until it has programmed its Services, or hand over all the same (--force)", missing)
	}
	return nil
}
