package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// doubts are the virtual servers of which the mirror may be wrong: an operation on one has failed in a way that cannot
// be if the mirror is right, or that says nothing about what was done. The next pass looks at it for itself, before it
// does anything; all the others need no look.
//
// It cannot wait for the next try of what failed: where the creation of a virtual server got no answer, and its Service
// goes before the next try, its set entry would go, and with it the only trace that it is ours.
type doubts map[dataplane.VirtualServerID]struct{}

// unexpected reports whether the failure cannot be if the mirror is right, or leaves unknown what was done: the object
// exists or is missing against expectation, or acknowledgements were lost.
func unexpected(err error) bool {
	for _, errno := range []error{syscall.EEXIST, syscall.ENOENT, syscall.ESRCH, syscall.ENODEV, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return outcomeUnknown(err)
}

// outcomeUnknown reports whether the failure leaves open what was done: acknowledgements were lost (ENOBUFS) or did not
// come in time.
func outcomeUnknown(err error) bool {
	return errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ETIMEDOUT)
}

// missingInKernel reports whether the failure says that something is not there which the mirror has: somebody has taken
// it away, and may have taken everything, as kube-proxy 1.37 does with --cleanup and when it starts in nftables mode
// (pkg/proxy/ipvs/cleanup.go). What else Linux means by the same numbers does not count: ENOENT for a virtual server is
// a scheduler that it does not have (ip_vs_ctl.c, ip_vs_add_service), EADDRNOTAVAIL an IPv6 address that it does not
// want on this link.
func (e *Engine) missingInKernel(op dataplane.Op, err error) bool {
	made := op.Verb == dataplane.Create
	switch o := op.Object.(type) {
	case dataplane.VirtualServerObject, dataplane.RealServerObject:
		id, _ := virtualServerOf(op)
		_, had := e.have.VirtualServers[id]
		_, real := o.(dataplane.RealServerObject)
		return had && (errors.Is(err, syscall.ESRCH) || real && !made && errors.Is(err, syscall.ENOENT))
	case dataplane.SetEntry:
		_, had := e.have.Sets[o.Set]
		return had && errors.Is(err, syscall.ENOENT)
	case dataplane.Address:
		return len(e.have.Links) > 0 && errors.Is(err, syscall.ENODEV) || !made && errors.Is(err, syscall.EADDRNOTAVAIL)
	case dataplane.Route:
		return !made && errors.Is(err, syscall.ESRCH)
	}
	return false
}

// auditNext has the next pass audit, whatever it is for, and causes one after the first delay of a retry: a program
// that deletes objects may not be done yet. While that happens again and again, the passes for its sake alone come ever
// more rarely.
func (e *Engine) auditNext(now time.Time) {
	e.auditDue = true
	e.retries.put(now, cluster.Name{}, dataplane.NewTouched(), true)
}

// virtualServerOf returns the virtual server to which the operation's object belongs.
func virtualServerOf(op dataplane.Op) (dataplane.VirtualServerID, bool) {
	switch o := op.Object.(type) {
	case dataplane.VirtualServerObject:
		return o.ID, true
	case dataplane.RealServerObject:
		return o.VirtualServer, true
	}
	return dataplane.VirtualServerID{}, false
}

// inspectDoubts reads the virtual servers that are in doubt, each for itself.
func (e *Engine) inspectDoubts() error {
	for _, id := range slices.SortedFunc(maps.Keys(e.doubts), dataplane.VirtualServerID.Compare) {
		v, present, err := e.kernel.VirtualServer(id)
		if err != nil {
			return fmt.Errorf("look at %s again: %w", id, err)
		}
		delete(e.doubts, id)
		delete(e.foreign, id)
		switch {
		case !present:
			e.have.DropVirtualServer(id)
		case e.have.Recorded(id) || e.have.Owns(id) && !e.excluded(id.Addr):
			e.have.SetVirtualServer(id, v)
		default:
			e.have.DropVirtualServer(id)
			e.foreign[id] = v
		}
	}
	return nil
}

// abandonPass is the end of a pass that could not read what it had to: nothing is done, and nothing forgotten.
func (e *Engine) abandonPass(r Report, err error, touched dataplane.Touched, dirty []cluster.Name) Report {
	r.Err, e.abandoned = err, true
	e.expireContests(r.Start)
	r.Contested = e.contests.report()
	e.retries.putUnread(r.Start, touched)
	for _, name := range dirty {
		e.retries.dirty(name)
	}
	r.Pending = len(e.retries)
	r.countRetries(e)
	return r
}
