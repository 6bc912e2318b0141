package engine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/wire"
)

// sharedBuffer is the receive buffer that a shared socket asks for: a burst of answers must not be lost in the client.
// The kernel grants at most net.core.rmem_max.
const sharedBuffer = 4 << 20

// sendDatagram begins a request of mode udp-rr from a socket, and thus a port, of its own.
func (w *worker) sendDatagram(x *slot) {
	x.state = waiting
	fd, op, err := x.route.open(w.ports)
	if err != nil {
		w.fail(x, op, err)
		return
	}
	x.fd = fd
	// Connected, so that ICMP errors come back and foreign datagrams do not.
	if err := unix.Connect(fd, x.route.to); err != nil {
		w.fail(x, "connect", err)
		return
	}
	if err := w.poller.add(fd, x.index, x.generation, unix.EPOLLIN); err != nil {
		w.fail(x, "epoll_ctl", err)
		return
	}
	if _, err := unix.Write(fd, w.requestLine(x)); err != nil {
		w.fail(x, "write", err)
	}
}

// readDatagram looks for the answer among what has arrived for the request; anything else is a stray.
func (w *worker) readDatagram(x *slot) {
	for {
		n, err := unix.Read(x.fd, x.buf[:])
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			w.fail(x, "read", err)
			return
		}
		reply, err := wire.ParseReply(x.buf[:n])
		if err != nil {
			w.finish(x, account.BadReply, "")
			return
		}
		if index, generation, ok := parseToken(reply.Token); ok && index == x.index && generation == x.generation {
			w.outcome.ID, w.outcome.ClientIP = reply.ID, reply.ClientIP
			w.finishWith(x, account.Answered, "")
			return
		}
		w.tally.Strays++
	}
}

// sharedSockets are the sockets of a fixed UDP port: one for each route, with many requests in flight on each.
type sharedSockets struct {
	fds    []int
	routes []*route
	buf    [wire.MaxLine]byte
}

func newSharedSockets(p *poller, all [][]*route) (*sharedSockets, error) {
	s := &sharedSockets{}
	for _, routes := range all {
		for _, r := range routes {
			fd, op, err := r.open(nil)
			if err == nil {
				s.fds, s.routes, op = append(s.fds, fd), append(s.routes, r), "connect"
				err = unix.Connect(fd, r.to)
			}
			if err == nil {
				_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, sharedBuffer)
				op, err = "epoll_ctl", p.add(fd, slotShared-len(s.fds)+1, 0, unix.EPOLLIN)
			}
			if err != nil {
				s.close()
				return nil, fmt.Errorf("open the fixed UDP port: %s: %w", op, err)
			}
		}
	}
	return s, nil
}

func (s *sharedSockets) close() {
	for _, fd := range s.fds {
		unix.Close(fd)
	}
}

func (s *sharedSockets) fd(r *route) int {
	for i := range s.routes {
		if s.routes[i] == r {
			return s.fds[i]
		}
	}
	return -1
}

// sendShared begins a request of mode udp-rr from the fixed port.
func (w *worker) sendShared(x *slot) {
	x.state = waiting
	fd := w.shared.fd(x.route)
	_, err := unix.Write(fd, w.requestLine(x))
	if err != nil && w.failOldest(x.route, x, err) {
		// The error was an ICMP message for an earlier request, which write reports in its own stead.
		_, err = unix.Write(fd, w.requestLine(x))
	}
	if err != nil {
		w.fail(x, "write", err)
	}
}

// readShared hands the answers on a shared socket to the requests whose tokens they carry.
func (w *worker) readShared(socket int) {
	s := w.shared
	for {
		n, err := unix.Read(s.fds[socket], s.buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil && isICMP(err):
			w.failOldest(s.routes[socket], nil, err)
			continue
		case err != nil: // EAGAIN; anything else shows in the requests' timeouts
			return
		}
		reply, err := wire.ParseReply(s.buf[:n])
		index, generation, ok := parseToken(reply.Token)
		x := w.slots.find(index, generation)
		if err != nil || !ok || x == nil || x.route != s.routes[socket] {
			w.tally.Strays++
			continue
		}
		w.outcome.ID, w.outcome.ClientIP = reply.ID, reply.ClientIP
		w.finishWith(x, account.Answered, "")
	}
}

// isICMP says whether a socket's error is what an ICMP message left there.
func isICMP(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH)
}

// failOldest ends the oldest request of the route, other than spare, with an error that the kernel reported for the
// socket. A connected UDP socket keeps one pending error without saying which datagram it was for; errors return in the
// order of the datagrams on one path, so the oldest is the best guess, and the number of errors is right. It says
// whether there was one.
func (w *worker) failOldest(r *route, spare *slot, err error) bool {
	if !isICMP(err) {
		return false
	}
	for x := w.slots.first; x != nil; x = x.next {
		if x.route == r && x != spare {
			w.fail(x, "read", err)
			return true
		}
	}
	return false
}
