// Package server is ipvs-load serve: it answers every request with its identity and the client's address that it saw.
package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/wire"
)

// Config is a server.
type Config struct {
	ID     string // what it answers with
	Delay  time.Duration
	Jitter time.Duration // the delay varies evenly by this much up and down; at most Delay
	Listen []target.Target
	// Connections is how many TCP connections and SCTP associations there may be at once, 0 for DefaultConnections; one
	// more is closed when it comes, as held ones are what tests are about. Full, if not nil, is called when that
	// happens, at most once.
	Connections int
	Full        func()
}

// DefaultConnections is far above what one server holds in a test of tens of thousands.
const DefaultConnections = 250_000

// MaxDelay is the longest service delay.
const MaxDelay = time.Hour

// Validate says in one sentence what makes the server impossible, or returns nil.
func (c *Config) Validate() error {
	if err := wire.CheckID(c.ID); err != nil {
		return fmt.Errorf("id: %w", err)
	}
	switch {
	case len(c.Listen) == 0:
		return errors.New("nothing to listen on; give --listen tcp://ADDRESS:PORT or udp://ADDRESS:PORT at least once")
	case c.Connections < 0:
		return fmt.Errorf("max connections %d is out of range; allowed is 1 and more, and 0 for %d",
			c.Connections, DefaultConnections)
	case c.Delay < 0 || c.Delay > MaxDelay:
		return fmt.Errorf("delay %v is out of range; allowed is 0 to %v", c.Delay, MaxDelay)
	case c.Jitter < 0 || c.Jitter > c.Delay:
		return fmt.Errorf("delay jitter %v is out of range; allowed is 0 to the delay, which is %v", c.Jitter, c.Delay)
	}
	return nil
}

// Server listens on all its addresses.
type Server struct {
	config   Config
	alarm    *alarm
	tcp      []net.Listener
	udp      []*datagrams
	serving  sync.WaitGroup
	mu       sync.Mutex
	closed   bool
	full     sync.Once
	accepted map[net.Conn]struct{}
}

// New opens every listener of a valid Config, or none.
func New(c Config) (*Server, error) {
	if c.Connections == 0 {
		c.Connections = DefaultConnections
	}
	if c.Full == nil {
		c.Full = func() {}
	}
	s := &Server{config: c, accepted: map[net.Conn]struct{}{}}
	var err error
	if c.Delay > 0 {
		if s.alarm, err = newAlarm(); err != nil {
			return nil, err
		}
	}
	for _, t := range c.Listen {
		if t.Protocol == target.UDP {
			var d *datagrams
			if d, err = listenUDP(t); err == nil {
				s.udp = append(s.udp, d)
			}
		} else {
			var l net.Listener
			if l, err = listen(t); err == nil {
				s.tcp = append(s.tcp, l)
			}
		}
		if err != nil {
			s.close()
			return nil, fmt.Errorf("listen on %s: %w", t, err)
		}
	}
	return s, nil
}

// network keeps an IPv4 wildcard from becoming one of both families, which package net makes of plain "tcp".
func network(t target.Target) string {
	name := t.Protocol.String()
	if t.Addr.Addr().Is4() {
		name += "4"
	}
	return name
}

// Addresses are what the server really listens on, in the order of its configuration within each protocol, TCP and SCTP
// first.
func (s *Server) Addresses() []string {
	var all []string
	for _, l := range s.tcp {
		scheme := "tcp://"
		if _, sctp := l.(sctpListener); sctp {
			scheme = "sctp://"
		}
		all = append(all, scheme+l.Addr().String())
	}
	for _, d := range s.udp {
		all = append(all, "udp://"+d.conn.LocalAddr().String())
	}
	return all
}

// String is the line that says what the server does.
func (s *Server) String() string {
	line := fmt.Sprintf("serving as %s on %s", s.config.ID, strings.Join(s.Addresses(), " "))
	if s.config.Delay > 0 {
		line += fmt.Sprintf(", each answer delayed by %v", s.config.Delay)
	}
	if s.config.Jitter > 0 {
		line += fmt.Sprintf(" ± %v", s.config.Jitter)
	}
	return line
}

// Serve answers until the context ends. Open connections are then closed, delayed answers are not given any more.
func (s *Server) Serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.close)()
	errs := make(chan error, len(s.tcp)+len(s.udp))
	for _, l := range s.tcp {
		s.serving.Go(func() { errs <- s.acceptAll(l) })
	}
	for _, d := range s.udp {
		s.serving.Go(func() { errs <- s.answerAll(d) })
	}
	var err error
	for range cap(errs) {
		// A listener that fails takes the server down: half a server would be mistaken for a whole one.
		if e := <-errs; e != nil && ctx.Err() == nil && err == nil {
			err = e
			s.close()
		}
	}
	s.close()
	s.serving.Wait()
	return err
}

func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	for _, l := range s.tcp {
		l.Close()
	}
	for _, d := range s.udp {
		d.conn.Close()
	}
	for c := range s.accepted {
		c.Close()
	}
	if s.alarm != nil {
		s.alarm.close()
	}
}

// delay is the service delay of the next answer.
func (s *Server) delay() time.Duration {
	if s.config.Jitter == 0 {
		return s.config.Delay
	}
	return s.config.Delay - s.config.Jitter + rand.N(2*s.config.Jitter+1)
}
