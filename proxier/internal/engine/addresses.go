package engine

import (
	"net/netip"
	"sync"
)

// AddressChange is a change of an address of a link.
type AddressChange struct {
	// Gone is the address that a link has lost; it is not valid where a link has got one.
	Gone netip.Addr
	// Missed says that changes were lost, because there were more than the socket's buffer holds.
	Missed bool
}

// addressChanges are the changes of the node's addresses that the loop has not looked at yet. Another goroutine adds
// them.
type addressChanges struct {
	// told has an element while there are changes to take.
	told chan struct{}

	mu   sync.Mutex
	gone map[netip.Addr]struct{}
	// any says that the addresses that went are not known: any address may have gone and come again.
	any bool
}

// mostGone is how many addresses that went are remembered by name. A node that loses more of them between two looks
// loses any.
const mostGone = 1024

func newAddressChanges() *addressChanges {
	return &addressChanges{told: make(chan struct{}, 1), gone: map[netip.Addr]struct{}{}}
}

// tell records a change. It does not block.
func (a *addressChanges) tell(c AddressChange) {
	a.mu.Lock()
	if c.Gone.IsValid() {
		a.gone[c.Gone] = struct{}{}
	}
	a.any = a.any || c.Missed || len(a.gone) > mostGone
	if a.any {
		clear(a.gone)
	}
	a.mu.Unlock()
	select {
	case a.told <- struct{}{}:
	default:
	}
}

// take returns which addresses have gone since the last call, whether or not they are back.
func (a *addressChanges) take() (gone func(netip.Addr) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	addrs, all := a.gone, a.any
	a.gone, a.any = map[netip.Addr]struct{}{}, false
	return func(addr netip.Addr) bool {
		_, is := addrs[addr]
		return is || all
	}
}

// misses reports whether an address or a route that the mirror has is among those that have gone. What the program
// itself takes away is not in the mirror any more when that is reported.
func (e *Engine) misses(gone func(netip.Addr) bool) bool {
	if e.have == nil {
		return false
	}
	for addr := range e.have.Addresses {
		if gone(addr) {
			return true
		}
	}
	for addr := range e.have.Routes {
		if gone(addr) {
			return true
		}
	}
	return false
}
