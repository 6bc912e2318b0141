package engine

import (
	"bytes"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/wire"
)

// slowConnect is when a connection has taken so long that a lost SYN may be the reason. The first retransmission comes
// after 1 s (TCP_TIMEOUT_INIT); the kernel is asked only then, so that ordinary connections pay nothing.
const slowConnect = 900 * time.Millisecond

// connect begins a request of modes connect and crr.
func (w *worker) connect(x *slot) {
	x.state = connecting
	fd, op, err := x.route.open(nil)
	if err != nil {
		w.fail(x, op, err)
		return
	}
	x.fd = fd
	if err := unix.Connect(fd, x.route.to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		w.fail(x, "connect", err)
		return
	}
	if err := w.poller.add(fd, x.index, x.generation, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP); err != nil {
		w.fail(x, "epoll_ctl", err)
	}
}

// advance takes the request on as far as its socket allows.
func (w *worker) advance(x *slot, events uint32) {
	if x.state == connecting {
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			if err := socketError(x.fd); err != nil {
				x.syn = w.synRetransmits(x)
				w.fail(x, "connect", err)
				return
			}
		}
		if events&unix.EPOLLOUT == 0 {
			return
		}
		x.connected = w.now()
		x.syn = w.synRetransmits(x)
		x.state = waiting
		if x.conn != nil {
			x.conn.stands = true
			w.tally.Held.Opened++
		}
		if w.config.Mode == Connect {
			w.finish(x, account.Answered, "")
			return
		}
		if !w.sendRequest(x) {
			return
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		w.readReply(x)
	}
}

func (w *worker) synRetransmits(x *slot) int {
	if w.now()-x.started < slowConnect || x.route.protocol != target.TCP {
		return 0
	}
	return retransmits(x.fd)
}

// sendRequest says whether the request is on its way; when not, it is finished. A line of 29 bytes always fits into a
// fresh connection's send buffer, so a short write is an error like any other.
func (w *worker) sendRequest(x *slot) bool {
	n, err := unix.Write(x.fd, w.requestLine(x))
	switch {
	case err != nil:
		w.fail(x, "write", err)
		return false
	case n < len(w.request):
		w.finish(x, account.Other, "write: the request was taken in part only")
		return false
	}
	return true
}

func (w *worker) requestLine(x *slot) []byte {
	var token [tokenLength]byte
	w.request = wire.AppendRequest(w.request[:0], appendToken(token[:0], x))
	return w.request
}

// readReply reads until the line is complete or nothing more is there.
func (w *worker) readReply(x *slot) {
	for {
		n, err := unix.Read(x.fd, x.buf[x.read:])
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			w.fail(x, "read", err)
			return
		case n == 0:
			w.finish(x, account.ShortRead, "")
			return
		}
		if end := bytes.IndexByte(x.buf[x.read:x.read+n], '\n'); end >= 0 {
			w.take(x, x.buf[:x.read+end+1])
			return
		}
		if x.read += n; x.read == len(x.buf) {
			w.finish(x, account.BadReply, "")
			return
		}
	}
}

// take ends a request with the line that came back.
func (w *worker) take(x *slot, line []byte) {
	reply, err := wire.ParseReply(line)
	if err == nil {
		index, generation, ok := parseToken(reply.Token)
		if ok && index == x.index && generation == x.generation {
			w.outcome.ID, w.outcome.ClientIP = reply.ID, reply.ClientIP
			w.finishWith(x, account.Answered, "")
			return
		}
	}
	w.finish(x, account.BadReply, "")
}

// fail ends a request with what the kernel said.
func (w *worker) fail(x *slot, op string, err error) {
	kind, text := classify(op, err, x.read)
	w.finish(x, kind, text)
}
