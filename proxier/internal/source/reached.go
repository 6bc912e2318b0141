package source

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// reachedMost is how many addresses of API servers are kept: those of URLs, and, of names that lead to ever other
// addresses, the first ones that were reached.
const reachedMost = 256

// Reached are the addresses and ports of API servers: those that URLs name, and those that names in URLs led to. The
// zero value is ready to use. Its methods may be called from any goroutine.
type Reached struct {
	mu sync.Mutex
	at map[netip.AddrPort]struct{}
}

// Name adds the URL's host where that is an address, with its port or that of its scheme.
func (r *Reached) Name(u *url.URL) {
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return
	}
	port := uint64(443)
	if u.Scheme == "http" {
		port = 80
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = n
	}
	r.add(netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(port)))
}

// Dial connects, as client-go does by itself, and adds the address that it has reached.
func (r *Reached) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	// The values are those of client-go 0.37 (transport/cache.go, tlsTransportCache.get).
	dialer := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if to, is := conn.RemoteAddr().(*net.TCPAddr); is {
		at := to.AddrPort()
		r.add(netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port()))
	}
	return conn, nil
}

func (r *Reached) add(at netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[netip.AddrPort]struct{}{}
	}
	if len(r.at) < reachedMost {
		r.at[at] = struct{}{}
	}
}

// All returns the addresses and ports.
func (r *Reached) All() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]netip.AddrPort, 0, len(r.at))
	for at := range r.at {
		all = append(all, at)
	}
	return all
}
