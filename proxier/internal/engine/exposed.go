package engine

import (
	"fmt"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// sourceRangesUnguarded: nothing would keep clients to the source ranges here.
var sourceRangesUnguarded = cluster.Reason{Name: "SourceRangesUnguarded", OfNode: true}

// shutExposed takes down what all clients reach though not all may, now that the pass has tried to write what keeps to
// the source ranges. That it is wanted stays as failed, so that it is made again as soon as that is there. Rules of
// another version keep to the ranges by sets of their own, until a start has looked at all Services.
func (e *Engine) shutExposed(r *Report, touched dataplane.Touched) {
	if e.starting && e.inherited() {
		return
	}
	ids := dataplane.Exposed(e.have, e.want.State, touched)
	if len(ids) == 0 {
		return
	}
	ops, shut := dataplane.TakeDown(e.have, ids), dataplane.NewTouched()
	for _, op := range ops {
		shut.Add(keys(op, cluster.Name{}))
	}
	for _, id := range ids {
		shut.VirtualServers[id] = e.want.Owner(id)
		if _, of := shut.Addresses[id.Addr]; of {
			shut.Addresses[id.Addr] = e.want.Owner(id)
		}
	}
	e.touches.note(shut, ops)
	first := len(r.operations.ops)
	r.operations.ops = append(slices.Clip(r.operations.ops), ops...)
	e.applyFrom(r, first, ops, shut)
	for _, op := range dataplane.Diff(e.have, e.want.State, shut) {
		if _, real := op.Object.(dataplane.RealServerObject); real || op.Verb != dataplane.Create {
			continue // comes with its virtual server
		}
		why := "it has no virtual server"
		if id, is := virtualServerOf(op); is {
			why = dataplane.Unguarded(e.have, e.want.State, id) + "; all clients would reach it"
		}
		r.fail(e.owner(op, shut), op, fmt.Errorf("%s: %w: %s", op, errBlocked, why))
	}
}

// addUnguarded adds what is not served because nothing would keep clients to the source ranges.
func (e *Engine) addUnguarded(problems *cluster.Problems, front *dataplane.FrontEnd) {
	if why := dataplane.Unguarded(e.have, e.want.State, front.ID); why != "" {
		problems.Addf(sourceRangesUnguarded, front.Kind.String()+" "+front.ID.String(),
			"%s; all clients would reach it, so it is not served until this is there; all else of the service is", why)
	}
}
