package engine

import (
	"fmt"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Removing are the options of Remove.
type Removing struct {
	// Link is the name of our link; Shared says that another proxy has one of that name.
	Link   string
	Shared bool
	// HandOver leaves virtual servers, addresses and the link to another proxy.
	HandOver bool
	// Force takes the addresses on a shared link, and their virtual servers, for ours, also where no set of ours says
	// that they are.
	Force bool
	// DryRun removes nothing.
	DryRun bool
}

// Removal is what was removed, or would be.
type Removal struct {
	// Objects are kind and name of each thing, in the order in which they go.
	Objects []string
	// Left says what stays that might be ours, why, and how to remove it; empty where nothing does.
	Left string
}

// Remove removes what is ours from a kernel that holds have, which the caller must not use any more. UDP flows through
// what has gone are forgotten. With an error, the removal is what has gone all the same.
func Remove(k dataplane.Kernel, have *dataplane.State, o Removing) (Removal, error) {
	done := Removal{Left: o.leave(have)}
	touched := dataplane.All(nil, have)
	ops := dataplane.Diff(have, dataplane.NewState(), touched)
	if o.DryRun {
		for _, op := range ops {
			done.Objects = append(done.Objects, named(op))
		}
		return done, nil
	}
	gone := &removals{Kernel: k}
	e := &Engine{kernel: gone, have: have, stale: stale{newPendingFrontEnds()}, cutoffs: cutoffs{newPendingFrontEnds()}}
	r := Report{Failures: map[cluster.Name][]Failure{}}
	e.apply(&r, ops, touched)
	e.forget(time.Now(), &r)
	done.Objects = gone.objects
	return done, r.Error()
}

// leave takes out of the State what is to stay in the kernel, though Observe takes it for ours. It says so where that
// might surprise.
func (o Removing) leave(have *dataplane.State) (left string) {
	if o.HandOver {
		have.Links, have.Addresses = nil, nil
		for id := range have.VirtualServers {
			have.DropVirtualServer(id)
		}
		return ""
	}
	// What is on a link that others have as well is ours where we have run, and our sets show that: they go last.
	if _, present := have.Links[o.Link]; !present || !o.Shared || o.Force || len(have.Sets) > 0 {
		return ""
	}
	addresses, servers := have.Addresses, 0
	have.Links, have.Addresses = nil, nil
	for id := range have.VirtualServers {
		_, addressed := addresses[id.Addr]
		if _, routed := have.Routes[id.Addr]; addressed && !routed {
			have.DropVirtualServer(id)
			servers++
		}
	}
	return fmt.Sprintf("link %s with %d addresses and %d virtual servers on them stay: another proxy has a link of that name, and no set of ours on this node says that they are ours; "+
		"if they are, remove them with --force", o.Link, len(addresses), servers)
}

// removals notes what a Kernel has removed.
type removals struct {
	dataplane.Kernel
	objects []string
}

func (r *removals) Apply(ops []dataplane.Op) []error {
	errs := r.Kernel.Apply(ops)
	for i, op := range ops {
		if errs[i] == nil {
			r.objects = append(r.objects, named(op))
		}
	}
	return errs
}

func named(op dataplane.Op) string { return op.Object.Kind().String() + " " + op.Object.String() }
