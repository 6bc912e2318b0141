package proxier

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// doubts are the virtual servers of which the mirror may be wrong: an operation on one has failed in a way that cannot be if the mirror is
// right, or that tells nothing about what was done. The next pass looks at it for itself, before it does anything; all the others need no
// look.
//
// It cannot wait for the next try of what failed: where the creation of a virtual server got no answer, and its Service goes before the next try, its set entry would go, and with
// it the only trace that it is ours.
type doubts map[dataplane.VirtualServerID]struct{}

// surprising tells whether the failure cannot be if the mirror is right, or leaves unknown what was done: the object exists
// or is missing against expectation, or acknowledgements were lost.
func surprising(err error) bool {
	for _, errno := range []error{syscall.EEXIST, syscall.ENOENT, syscall.ESRCH, syscall.ENODEV, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return unknown(err)
}

// unknown tells whether the failure leaves open what was done: acknowledgements were lost (ENOBUFS) or did not come in time.
func unknown(err error) bool {
	return errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ETIMEDOUT)
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

// settleDoubts looks at the virtual servers that are in doubt.
func (e *engine) settleDoubts() error {
	for id := range e.doubts {
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

// blind is the end of a pass that could not read what it had to: nothing is done, and nothing forgotten.
func (e *engine) blind(r Report, err error, touched dataplane.Touched, dirty []cluster.Name) Report {
	r.Err = err
	e.retries.put(r.Start, cluster.Name{}, touched, true)
	for _, name := range dirty {
		e.retries.dirty(name)
	}
	return r
}
