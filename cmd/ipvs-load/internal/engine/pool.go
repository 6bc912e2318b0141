package engine

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// opensAtOnce bounds the connections that a worker opens at the same time before the run, so that the target's queue of
// half-open connections does not overflow.
const opensAtOnce = 128

// conn is a connection that outlives its requests. While it is down its fd is -1; the request that gets it opens it
// again, and waits for that as a user would.
type conn struct {
	index      int
	generation uint32 // distinguishes its successive sockets
	fd         int
	stands     bool
	route      *route
	slot       *slot // the request that has it
}

// pool is the connections of one worker. Requests take the one that has rested longest, so that all of them get their
// turn.
type pool struct {
	all  []*conn
	free []*conn // a ring: the oldest at head
	head int
	size int
}

func newPool(n int, route func(number int64) *route, worker, workers int) *pool {
	p := &pool{free: make([]*conn, n)}
	for i := range n {
		c := &conn{index: i, fd: -1, route: route(int64(worker + i*workers))}
		p.all = append(p.all, c)
		p.put(c)
	}
	return p
}

func (p *pool) put(c *conn) {
	p.free[(p.head+p.size)%len(p.free)] = c
	p.size++
}

// take returns the connection that has rested longest, nil when all are at work.
func (p *pool) take() *conn {
	if p.size == 0 {
		return nil
	}
	c := p.free[p.head]
	p.head = (p.head + 1) % len(p.free)
	p.size--
	return c
}

// find returns the connection whose present socket has that generation.
func (p *pool) find(index int, generation uint32) *conn {
	if p == nil || index < 0 || index >= len(p.all) {
		return nil
	}
	if c := p.all[index]; c.fd >= 0 && c.generation == generation {
		return c
	}
	return nil
}

func (p *pool) close() {
	for _, c := range p.all {
		if c.fd >= 0 {
			unix.Close(c.fd)
		}
	}
}

// dial makes the connection's socket and sends the SYN.
func (w *worker) dial(c *conn) (op string, err error) {
	c.generation++
	c.stands = false
	if c.fd, op, err = c.route.open(nil); err != nil {
		c.fd = -1
		return op, err
	}
	if err := unix.Connect(c.fd, c.route.to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return "connect", err
	}
	if err := w.poller.add(c.fd, slotConn-c.index, c.generation, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP); err != nil {
		return "epoll_ctl", err
	}
	return "", nil
}

func (c *conn) hangUp() {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	c.fd, c.stands = -1, false
}

// prepare opens the connections that stay before the run begins, as far as the timeout allows. Those that do not stand
// by then are opened by their first request, whose latency includes that.
func (w *worker) prepare() error {
	if w.pool == nil {
		return nil
	}
	began := time.Now()
	next, pending := 0, 0
	for !w.stop.Load() {
		for ; pending < opensAtOnce && next < len(w.pool.all); next++ {
			c := w.pool.all[next]
			if _, err := w.dial(c); err != nil {
				c.hangUp()
				w.tally.Held.Failed++
				continue
			}
			pending++
		}
		left := w.config.Timeout - time.Since(began)
		if pending == 0 || left <= 0 {
			break
		}
		events, err := w.poller.wait(left)
		if err != nil {
			return err
		}
		for i := range events {
			c := w.pool.find(int(slotConn-events[i].Fd), uint32(events[i].Pad))
			if c == nil || c.stands {
				continue
			}
			pending--
			if socketError(c.fd) != nil || events[i].Events&unix.EPOLLHUP != 0 {
				c.hangUp()
				w.tally.Held.Failed++
				continue
			}
			c.stands = true
			w.tally.Held.Opened++
			if events[i].Events&unix.EPOLLRDHUP != 0 { // and has ended already
				c.hangUp()
				w.tally.Held.Lost++
			}
		}
	}
	for _, c := range w.pool.all {
		if c.fd >= 0 && !c.stands {
			c.hangUp()
			w.tally.Held.Failed++
		}
	}
	return nil
}

// ask begins a request on a connection that stays.
func (w *worker) ask(x *slot, c *conn) {
	x.conn, x.route, c.slot = c, c.route, x
	if c.stands {
		x.fd, x.state = c.fd, waiting
		w.sendRequest(x)
		return
	}
	x.state = connecting
	op, err := w.dial(c)
	x.fd = c.fd
	if err != nil {
		w.fail(x, op, err)
	}
}

// conversation takes an event of a connection that stays to its request. One that ends while it rests has been lost,
// which no request notices.
func (w *worker) conversation(c *conn, events uint32) {
	if x := c.slot; x != nil {
		w.advance(x, events)
		return
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.hangUp()
		w.tally.Held.Lost++
	}
}

// rest ends a request's hold of its connection, which lives on only after an answer: what might still come on it would
// be taken for the next request's.
func (w *worker) rest(x *slot, answered bool) {
	c := x.conn
	c.slot = nil
	if !answered {
		if c.stands {
			w.tally.Held.Lost++
		} else {
			w.tally.Held.Failed++
		}
		c.hangUp()
	}
	w.pool.put(c)
}
