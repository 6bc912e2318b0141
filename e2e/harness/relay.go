package harness

import (
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Relay carries the bytes of connections between clients and a server that it dials, and does to them what networks and
// load balancers do. It is in order at first.
type Relay struct {
	listen func() (net.Listener, error)
	dial   func() (net.Conn, error)
	over   sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	change   *sync.Cond
	pairs    []*pair
	late     time.Duration
	silent   bool
	reset    bool
	closed   bool
}

// pair is one connection of a client with its own connection to the server.
type pair struct {
	client, server net.Conn
	// dead carries nothing any more, and says nothing of it.
	dead bool
}

// NewRelay serves the clients of a listener until Close.
func NewRelay(listen func() (net.Listener, error), dial func() (net.Conn, error)) (*Relay, error) {
	r := &Relay{listen: listen, dial: dial}
	r.change = sync.NewCond(&r.mu)
	return r, r.Listen()
}

// Listen ends a Refuse.
func (r *Relay) Listen() error {
	listener, err := r.listen()
	if err != nil {
		return err
	}
	r.set(func() { r.listener = listener })
	r.over.Go(func() { r.accept(listener) })
	return nil
}

// Refuse has new connections refused, as where nobody listens, and resets those that are there.
func (r *Relay) Refuse() {
	r.mu.Lock()
	_ = r.listener.Close()
	r.mu.Unlock()
	r.Cut()
}

// Slow has each piece of an answer come later by that time; 0 has it come at once.
func (r *Relay) Slow(late time.Duration) { r.set(func() { r.late = late }) }

// Silence accepts connections and carries nothing, in neither direction, until Resume or Abandon.
func (r *Relay) Silence() { r.set(func() { r.silent = true }) }

// Resume ends a silence: what was held back is delivered.
func (r *Relay) Resume() { r.set(func() { r.silent = false }) }

// Abandon ends a silence for new connections. Those that are there stay silent for ever, as by a router that forgot
// them.
func (r *Relay) Abandon() {
	r.set(func() {
		r.silent = false
		for _, p := range r.pairs {
			p.dead = true
		}
	})
}

// Reset resets all connections that are there and each new one, until Accept.
func (r *Relay) Reset() {
	r.set(func() { r.reset = true })
	r.Cut()
}

// Accept ends a Reset.
func (r *Relay) Accept() { r.set(func() { r.reset = false }) }

// Cut resets all connections that are there.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pairs {
		abort(p.client)
		abort(p.server)
	}
}

// Connections is how many clients are connected.
func (r *Relay) Connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pairs)
}

// Close ends it with all connections.
func (r *Relay) Close() {
	r.set(func() { r.closed = true })
	r.Refuse()
	r.over.Wait()
}

func (r *Relay) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	r.change.Broadcast()
}

// abort closes a connection by RST.
func abort(c net.Conn) {
	if tcp, is := c.(*net.TCPConn); is {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (r *Relay) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		r.over.Go(func() { r.serve(client) })
	}
}

func (r *Relay) serve(client net.Conn) {
	p := r.join(client)
	if p == nil {
		abort(client)
		return
	}
	defer r.leave(p)
	var both sync.WaitGroup
	both.Go(func() { r.carry(p, p.client, p.server, false) })
	both.Go(func() { r.carry(p, p.server, p.client, true) })
	both.Wait()
}

// join connects the client to the server; nil where it gets no connection.
func (r *Relay) join(client net.Conn) *pair {
	r.mu.Lock()
	refused := r.reset || r.closed
	r.mu.Unlock()
	if refused {
		return nil
	}
	server, err := r.dial()
	if err != nil {
		return nil
	}
	p := &pair{client: client, server: server}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reset || r.closed {
		abort(server)
		return nil
	}
	r.pairs = append(r.pairs, p)
	return p
}

func (r *Relay) leave(p *pair) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pairs = slices.DeleteFunc(r.pairs, func(other *pair) bool { return other == p })
}

// carry carries one direction until an end goes; then the other end is closed too, as by a server that is killed.
func (r *Relay) carry(p *pair, from io.Reader, to io.Writer, answer bool) {
	defer func() {
		_ = p.client.Close()
		_ = p.server.Close()
		r.set(func() { p.dead = true }) // whoever waits in a silence sees the end
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && r.await(p, answer) {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// await waits until a piece may go on; false when it never will.
func (r *Relay) await(p *pair, answer bool) bool {
	r.mu.Lock()
	late := r.late
	for r.silent && !p.dead && !r.closed {
		r.change.Wait()
	}
	lost := p.dead || r.closed
	r.mu.Unlock()
	if answer && late > 0 && !lost {
		time.Sleep(late) // what the lateness is
	}
	return !lost
}
