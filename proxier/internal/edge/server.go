package edge

import (
	"context"
	"net"
	"net/http"
	"time"
)

// Limits are what a client may take of a server.
type Limits struct {
	// Request is how long a request may take to arrive, its body included.
	Request time.Duration
	// Answer is how long an answer may take, from the end of the request's header until the client has read it.
	Answer time.Duration
	// Idle is how long a connection may wait for its next request.
	Idle time.Duration
	// HeaderBytes bounds the header of a request. net/http adds 4,096.
	HeaderBytes int
	// Connections is how many there may be at once on one address.
	Connections int
}

// Probes returns the limits of servers that answer the kubelet and load balancers, in some hundred bytes.
func Probes() Limits {
	return Limits{
		Request: 5 * time.Second, Answer: 10 * time.Second, Idle: time.Minute, HeaderBytes: 8 << 10, Connections: 256,
	}
}

// Operator returns the limits of the server of metrics and status. The status of thousands of Services is long, and
// each connection count in it is read from the kernel. Prometheus scrapes again after a minute or less, on the same
// connection.
func Operator() Limits {
	l := Probes()
	l.Answer, l.Idle = 2*time.Minute, 2*time.Minute
	return l
}

// Server returns a server of h within the limits, for a listener of [Listen]. No handler may want a request's body: a
// request that has one is answered without waiting for it, and its connection closed.
func Server(h http.Handler, l Limits) *http.Server {
	return &http.Server{
		Handler:     handler{h},
		ReadTimeout: l.Request, WriteTimeout: l.Answer, IdleTimeout: l.Idle, MaxHeaderBytes: l.HeaderBytes,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
}

// connKey is under which a request's context has its connection.
type connKey struct{}

// handler marks a connection as busy during each request.
type handler struct{ next http.Handler }

// ServeHTTP implements http.Handler.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c, ours := r.Context().Value(connKey{}).(*conn); ours {
		c.begin()
		defer c.end()
	}
	if r.ContentLength != 0 {
		// Else net/http reads the body before it writes the answer (net/http/server.go, chunkWriter.writeHeader).
		w.Header().Set("Connection", "close")
	}
	h.next.ServeHTTP(w, r)
}
