package engine

import (
	"fmt"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// mostPasses is how many passes a dry run takes at most. A pass compiles at least one Service, or takes one piece of a
// big one.
const mostPasses = 1_000_000

// DryRun returns the operations by which an engine that starts now would bring a kernel that was seen in line with what
// l lists, in their order, and its last Report. Nothing is written. It leaves out what comes with time only: the end of
// draining endpoints, the growing weights of new ones.
func DryRun(
	s Settings, seen dataplane.Observation, l Lister,
	connections func(dataplane.VirtualServerID) ([]dataplane.Connections, error),
) ([]dataplane.Op, Report, error) {
	kernel := NewDryRunKernel(seen, connections)
	e := New(s, kernel, l)
	now := time.Now()
	for range mostPasses {
		before := len(kernel.ops)
		r := e.Pass(now, nil, false)
		if r.Err != nil {
			return kernel.ops, r, r.Err
		}
		if r.Backlog == 0 && len(kernel.ops) == before {
			return kernel.ops, r, nil
		}
	}
	return kernel.ops, Report{}, fmt.Errorf("BUG: %d passes do not bring the kernel in line", mostPasses)
}
