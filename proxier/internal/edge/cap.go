package edge

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Cap is how many connections there may be at once, of one or of several listeners. When there are as many, a new one
// takes the place of another. To refuse new ones would let a client that holds connections keep out the kubelet, whose
// probes each come on a new one.
//
// The client that has the most connections gives one of its own: the one that has been idle longest. So a client that
// holds many from one address loses only its own.
type Cap struct {
	max int

	mu   sync.Mutex
	held map[*conn]struct{}
	of   map[netip.Prefix]int // how many each client has
}

// NewCap returns a Cap of max connections, at least 1.
func NewCap(max int) *Cap {
	return &Cap{max: max, held: map[*conn]struct{}{}, of: map[netip.Prefix]int{}}
}

// Listen returns l with connections that count for all the caps.
func Listen(l net.Listener, caps ...*Cap) net.Listener { return listener{l, caps} }

type listener struct {
	net.Listener
	caps []*Cap
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, client: clientOf(accepted), caps: l.caps}
	c.since.Store(time.Now().UnixNano())
	for _, cap := range l.caps {
		if other := cap.enter(c); other != nil {
			other.Close()
		}
	}
	return c, nil
}

// clientOf returns the network that counts as one client. A host has a /64 of IPv6 for itself alone (RFC 6177).
func clientOf(c net.Conn) netip.Prefix {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	addr, bits := at.Addr().Unmap().WithZone(""), 64
	if addr.Is4() {
		bits = 32
	}
	client, _ := addr.Prefix(bits) // both lengths are possible
	return client
}

// enter counts the connection, and returns the one that has to go for it, which counts no longer; nil is none.
func (c *Cap) enter(n *conn) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[n] = struct{}{}
	c.of[n.client]++
	if len(c.held) <= c.max {
		return nil
	}
	var first *conn
	for other := range c.held {
		if other != n && (first == nil || c.before(other, first)) {
			first = other
		}
	}
	if first != nil {
		c.remove(first)
	}
	return first
}

// before reports whether a goes before b: of the client with more connections, then one that is not being answered,
// then the one that waits longer.
func (c *Cap) before(a, b *conn) bool {
	if x, y := c.of[a.client], c.of[b.client]; x != y {
		return x > y
	}
	if x, y := a.busy.Load(), b.busy.Load(); x != y {
		return y
	}
	return a.since.Load() < b.since.Load()
}

func (c *Cap) leave(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(n)
}

func (c *Cap) remove(n *conn) {
	if _, there := c.held[n]; !there {
		return
	}
	delete(c.held, n)
	if c.of[n.client]--; c.of[n.client] == 0 {
		delete(c.of, n.client)
	}
}

// conn is a connection that counts for caps until it is closed.
type conn struct {
	net.Conn
	client netip.Prefix
	caps   []*Cap
	busy   atomic.Bool
	since  atomic.Int64 // when its last request was answered, or when it came: nanoseconds since 1970
}

func (c *conn) begin() { c.busy.Store(true) }

func (c *conn) end() {
	c.since.Store(time.Now().UnixNano())
	c.busy.Store(false)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	for _, cap := range c.caps {
		cap.leave(c)
	}
	return c.Conn.Close()
}

// CloseWrite lets net/http end an answer before it closes a connection with something unread, upon which the kernel
// resets it.
func (c *conn) CloseWrite() error {
	if half, can := c.Conn.(interface{ CloseWrite() error }); can {
		return half.CloseWrite()
	}
	return nil
}
