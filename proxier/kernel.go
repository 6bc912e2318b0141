package proxier

import (
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Kernel is the boundary between deciding and doing. Linux, an in-memory kernel and a fault-injecting wrapper stand behind
// it and pass one contract suite (internal/kernel/kerneltest). It is used by one goroutine.
type Kernel interface {
	// Observe reads everything that is ours, and what is needed to tell it from the rest.
	Observe() (dataplane.Observation, error)
	// NodeAddresses reads only what Observe returns under that name.
	NodeAddresses() ([]netip.Addr, error)
	// Connections returns the connection counts of one virtual server's real servers; none when it does not exist.
	Connections(dataplane.VirtualServerID) ([]dataplane.Connections, error)
	// Apply carries out ops in their order and returns one error or nil for each, aligned with ops. A failed op does
	// not stop those behind it. An error wraps the errno where there is one.
	Apply(ops []dataplane.Op) []error
}
