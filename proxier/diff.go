package proxier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/threeway"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Diff is what differs between what Services want by the API (or the manifests), what the daemon has in memory, and
// what the kernel holds.
type Diff struct {
	API    DiffSide `json:"api"`
	Memory DiffSide `json:"memory"`
	Kernel DiffSide `json:"kernel"`
	// Notes say what makes the comparison less than it could be.
	Notes       []string         `json:"notes,omitempty"`
	Differences []DiffDifference `json:"differences"`
}

// DiffSide is one of the three sides.
type DiffSide struct {
	// Objects counts what is there, 0 where Unknown says why it could not be read.
	Objects int    `json:"objects"`
	Unknown string `json:"unknown,omitempty"`
}

// DiffDifference is an object that is not the same on all sides.
type DiffDifference = threeway.Row

// DiffBehind says which side is behind.
type DiffBehind = threeway.Behind

// The sides that may be behind.
const (
	DiffKernel = threeway.Kernel
	DiffMemory = threeway.Memory
	DiffBoth   = threeway.Both
)

// lookAgain is the time between two looks: what differs once only was a change on its way.
const lookAgain = time.Second

// MakeDiff compares the three. It writes nothing, and needs either the source of Services or the daemon on the socket
// of the configuration: with one of them missing it compares the other with the kernel. It fails where both are
// missing, or where the kernel cannot be read. patience bounds how long it waits for the source.
func MakeDiff(
	ctx context.Context, c Config, version string, patience time.Duration, log *slog.Logger,
) (Diff, error) {
	if err := c.Validate(); err != nil {
		return Diff{}, fmt.Errorf("configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	by, err := c.chooseNetfilter(ctx)
	if err != nil {
		return Diff{}, err
	}
	facts, err := kernel.Probe(scheduler.KernelNames(), by.Netfilter)
	if err != nil {
		return Diff{}, err
	}
	d := diffing{dryRun: dryRun{Config: c, by: by, facts: facts, log: log}, version: version}
	d.unheardAPI = d.listen(ctx, version, patience)
	if err := d.openKernel(ctx); err != nil {
		return Diff{}, err
	}
	defer d.linux.Close()
	if err := d.look(ctx); err != nil {
		return Diff{}, err
	}
	if len(d.Differences) == 0 {
		return d.Diff, nil
	}
	select {
	case <-time.After(lookAgain):
	case <-ctx.Done():
		return Diff{}, ctx.Err()
	}
	before := d.Differences
	if err := d.look(ctx); err != nil {
		return Diff{}, err
	}
	d.Differences = threeway.Stay(before, d.Differences)
	return d.Diff, nil
}

// diffing is a comparison that is under way.
type diffing struct {
	Diff
	dryRun
	version string
	// unheardAPI says why the Services are not known; nil where they are.
	unheardAPI error
	linux      *kernel.Linux
	settings   engine.Settings
}

// listen waits until the Services are known.
func (d *diffing) listen(ctx context.Context, version string, patience time.Duration) error {
	from, err := open(ctx, d.Config, version, d.log)
	if err != nil {
		return err
	}
	d.from, d.watcher = from, source.NewWatcher(from.Source, d.NodeName)
	go d.watcher.Run(ctx)
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !d.watcher.WaitForSync(waiting) {
		return from.unheard(waiting)
	}
	return nil
}

// openKernel opens the kernel, with or without Services.
func (d *diffing) openKernel(ctx context.Context) (err error) {
	if d.unheardAPI == nil {
		d.linux, d.settings, err = d.dryRun.open(ctx)
		return err
	}
	d.linux, err = kernel.NewLinux(d.Config.linux(d.dataplane(kernel.Families(d.by.Netfilter), d.facts), d.by.Netfilter))
	return err
}

// look reads the three sides as they are now, and compares them.
func (d *diffing) look(ctx context.Context) error {
	d.Diff = Diff{Differences: []DiffDifference{}}
	memory, err := d.memory(ctx)
	if err != nil {
		d.Memory.Unknown = err.Error()
		if d.unheardAPI != nil {
			return fmt.Errorf("neither the API nor the daemon can be asked: %w; %w", d.unheardAPI, err)
		}
	}
	seen, err := d.linux.Observe()
	if err != nil {
		return fmt.Errorf("read the kernel: %w", err)
	}
	inKernel := seen.State.Listing(iptables.Words{})
	var api threeway.Side
	if d.unheardAPI != nil {
		d.API.Unknown = d.unheardAPI.Error()
	} else {
		after := seen.State.Clone()
		ops, _, err := engine.DryRun(d.settings, seen, d.watcher, d.linux.Connections)
		if err != nil {
			return err
		}
		for _, op := range ops {
			after.Apply(op)
		}
		api = after.Listing(iptables.Words{})
	}
	d.API.Objects, d.Memory.Objects, d.Kernel.Objects = len(api), len(memory), len(inKernel)
	d.Differences = append(d.Differences, threeway.Compare(api, memory, inKernel)...)
	return nil
}

// memory asks the daemon.
func (d *diffing) memory(ctx context.Context) (threeway.Side, error) {
	if d.Config.Socket == "" {
		return nil, errors.New("the configuration switches the daemon's socket off")
	}
	m, err := fetchMirror(ctx, d.Config.Socket)
	if err != nil {
		return nil, err
	}
	if m.Version != d.version {
		d.Notes = append(d.Notes, fmt.Sprintf(
			"the daemon is of version %s and this program of version %s: rules may differ in words", m.Version, d.version))
	}
	return m.Objects, nil
}
