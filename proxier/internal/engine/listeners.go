package engine

import (
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// sockets are those on which the node's programs listen, by their ports. A node may have tens of thousands.
type sockets map[uint16][]dataplane.Listener

func socketsOf(listeners []dataplane.Listener) sockets {
	s := sockets{}
	for _, l := range listeners {
		s[l.Port] = append(s[l.Port], l)
	}
	return s
}

// hear reports whether one of them is in the way of the front end.
func (s sockets) hear(id dataplane.VirtualServerID) bool {
	return slices.ContainsFunc(s[id.Port], func(l dataplane.Listener) bool { return l.Hears(id) })
}

// recordListeners records the node's sockets. It returns the Services that have a front end on a port where one came or
// went. Only front ends on addresses of the node itself can be in a socket's way: nothing reaches a socket by an
// address of our link.
func (e *Engine) recordListeners(listeners []dataplane.Listener) (dirty []cluster.Name) {
	changed := map[uint16]struct{}{}
	same := func(l dataplane.Listener) dataplane.Listener { return l }
	for _, l := range append(OnlyIn(e.listening, listeners, same), OnlyIn(listeners, e.listening, same)...) {
		changed[l.Port] = struct{}{}
	}
	e.listening = listeners
	if len(changed) == 0 {
		return nil
	}
	e.listeners = socketsOf(listeners)
	for name := range e.services {
		f, _ := e.want.Fragment(name)
		if slices.ContainsFunc(f.FrontEnds, func(front dataplane.FrontEnd) bool {
			_, on := changed[front.ID.Port]
			return on && !front.Bind
		}) {
			dirty = append(dirty, name)
		}
	}
	return dirty
}
