package proxier

import (
	"fmt"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// Cleanup removes everything that is ours from this node's kernel, and nothing else: virtual servers, real servers, addresses, routes and
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
	e := &engine{kernel: k, have: seen.State, stale: stale{newUnforgotten()}, cutoffs: cutoffs{newUnforgotten()}}
	r := Report{failed: map[cluster.Name][]Failure{}}
	touched := dataplane.All(nil, seen.State)
	e.apply(&r, dataplane.Diff(seen.State, dataplane.NewState(), touched), touched)
	e.forget(time.Now(), &r)
	return r.OpCount(), r.Error()
}
