package engine

import (
	"maps"
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// DryRunKernel is a kernel in memory for dry runs: it begins as one that was observed, and keeps the operations that
// are applied to it. They are what a sync would do on the observed kernel.
type DryRunKernel struct {
	seen dataplane.Observation
	ops  []dataplane.Op
	// connections are those of the real kernel; nil is none.
	connections func(dataplane.VirtualServerID) ([]dataplane.Connections, error)
}

// NewDryRunKernel returns a kernel that holds what was seen, and owns it from now on. connections reads those of a
// virtual server, on which draining depends; nil is none anywhere.
func NewDryRunKernel(
	seen dataplane.Observation, connections func(dataplane.VirtualServerID) ([]dataplane.Connections, error),
) *DryRunKernel {
	return &DryRunKernel{seen: seen, connections: connections}
}

// Ops returns the operations that were carried out, in their order.
func (k *DryRunKernel) Ops() []dataplane.Op { return k.ops }

// Observe implements dataplane.Kernel. What it returns is a copy: the engine makes it its mirror.
func (k *DryRunKernel) Observe() (dataplane.Observation, error) {
	seen := k.seen
	seen.State, seen.Foreign = seen.State.Clone(), maps.Clone(seen.Foreign)
	return seen, nil
}

// NodeAddresses implements dataplane.Kernel.
func (k *DryRunKernel) NodeAddresses() (addresses, broadcasts []netip.Addr, err error) {
	return k.seen.NodeAddresses, k.seen.Broadcasts, nil
}

// Glance implements dataplane.Kernel: there is nothing to report.
func (k *DryRunKernel) Glance(dataplane.Parts) (dataplane.Glance, error) {
	return dataplane.Glance{Servers: -1, Entries: -1}, nil
}

// VirtualServer implements dataplane.Kernel.
func (k *DryRunKernel) VirtualServer(id dataplane.VirtualServerID) (dataplane.VirtualServer, bool, error) {
	if v, ours := k.seen.State.VirtualServers[id]; ours {
		return v, true, nil
	}
	v, present := k.seen.Foreign[id]
	return v, present, nil
}

// Connections implements dataplane.Kernel.
func (k *DryRunKernel) Connections(id dataplane.VirtualServerID) ([]dataplane.Connections, error) {
	if k.connections == nil {
		return nil, nil
	}
	return k.connections(id)
}

// Apply implements dataplane.Kernel: all succeeds.
func (k *DryRunKernel) Apply(ops []dataplane.Op) []error {
	k.ops = append(k.ops, ops...)
	for _, op := range ops {
		k.seen.State.Apply(op)
	}
	return make([]error, len(ops))
}

// Forget implements dataplane.Kernel.
func (k *DryRunKernel) Forget(map[dataplane.VirtualServerID][]netip.AddrPort) (int, error) {
	return 0, nil
}

// CutOff implements dataplane.Kernel.
func (k *DryRunKernel) CutOff(map[dataplane.VirtualServerID][]netip.Prefix) (int, error) {
	return 0, nil
}
