package engine

import (
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// nameOwners gives failures to the Services whose objects they are. An audit looks at entries and addresses on behalf
// of nobody, and what the kernel refuses of a Service stays its own, whoever finds it. Where several Services want the
// object, the one to which the refusal was reported keeps it, else the first one by name gets it.
func (e *Engine) nameOwners(r *Report) {
	nobody := cluster.Name{}
	unnamed := dataplane.NewTouched()
	for _, f := range r.Failures[nobody] {
		unnamed.Add(keys(f.Op, nobody))
	}
	if len(unnamed.Entries)+len(unnamed.Addresses) == 0 {
		return
	}
	named := dataplane.NewTouched()
	for name, retry := range e.retries {
		if name != nobody {
			nameFrom(named.Entries, unnamed.Entries, retry.keys.Entries, name)
			nameFrom(named.Addresses, unnamed.Addresses, retry.keys.Addresses, name)
			for _, piece := range retry.pieces {
				nameFrom(named.Entries, unnamed.Entries, piece.Entries, name)
				nameFrom(named.Addresses, unnamed.Addresses, piece.Addresses, name)
			}
		}
	}
	e.want.NameOwners(unnamed)
	unnamed.Add(named)
	failures := r.Failures[nobody]
	delete(r.Failures, nobody)
	for _, f := range failures {
		r.fail(e.owner(f.Op, unnamed), f.Op, f.Err)
	}
}

// nameFrom names a Service for those keys that are its own, unless one ahead of it by name is named.
func nameFrom[K comparable](named, unnamed, own map[K]cluster.Name, name cluster.Name) {
	for key := range unnamed {
		_, is := own[key]
		if before, already := named[key]; is && (!already || name.Compare(before) < 0) {
			named[key] = name
		}
	}
}
