package server

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/wire"
)

// pauseWithoutFiles is how long accepting rests when the process has no file descriptor left: the connection stays in
// the listener's queue, and accept would fail again at once.
const pauseWithoutFiles = 10 * time.Millisecond

// acceptAll serves the connections of one listener, each in a goroutine, whose stack is about all that an idle
// connection costs.
func (s *Server) acceptAll(l net.Listener) error {
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
			time.Sleep(pauseWithoutFiles)
			continue
		case errors.Is(err, syscall.ECONNABORTED):
			continue
		case err != nil:
			return err
		}
		entered, closed := s.enter(c)
		if !entered {
			c.Close()
			if closed {
				return nil
			}
			s.full.Do(s.config.Full)
			continue
		}
		s.serving.Go(func() {
			defer s.leave(c)
			s.converse(c)
		})
	}
}

// enter counts the connection, unless the server is closed or has as many as it may.
func (s *Server) enter(c net.Conn) (entered, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.accepted) >= s.config.Connections {
		return false, s.closed
	}
	s.accepted[c] = struct{}{}
	return true, false
}

func (s *Server) leave(c net.Conn) {
	s.mu.Lock()
	delete(s.accepted, c)
	s.mu.Unlock()
	c.Close()
}

// converse answers line by line until the client closes, or says something too long. Requests that came together are
// answered in their order.
func (s *Server) converse(c net.Conn) {
	var client netip.AddrPort
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		client = a.AddrPort()
	}
	var in, out [wire.MaxLine]byte
	have := 0
	for {
		n, err := c.Read(in[have:])
		have += n
		for {
			end := bytes.IndexByte(in[:have], '\n')
			if end < 0 {
				break
			}
			if !s.reply(c, out[:0], in[:end+1], client) {
				return
			}
			switch wire.ParseStream(in[:end+1]) {
			case wire.Upload:
				_, _ = io.Copy(io.Discard, c)
				return
			case wire.Download:
				_, _ = io.Copy(c, zeros{})
				return
			}
			have = copy(in[:], in[end+1:have])
		}
		if have == len(in) {
			_, _ = c.Write(wire.AppendRefusal(out[:0], wire.ErrTooLong))
			return
		}
		if err != nil {
			return
		}
	}
}

// zeros is a stream of bytes without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// WriteTo writes until the other side has enough.
func (zeros) WriteTo(w io.Writer) (int64, error) {
	buf := make([]byte, 128<<10)
	var sum int64
	for {
		n, err := w.Write(buf)
		sum += int64(n)
		if err != nil {
			return sum, err
		}
	}
}

// reply answers one line; false means that the connection is of no use any more.
func (s *Server) reply(c net.Conn, out, line []byte, client netip.AddrPort) bool {
	token, err := wire.ParseRequest(line)
	switch {
	case errors.Is(err, wire.ErrIsReply):
		return false // what sends replies is no client
	case err != nil:
		_, err = c.Write(wire.AppendRefusal(out, err))
		return err == nil
	}
	if d := s.delay(); d > 0 && !s.alarm.sleep(d) {
		return false
	}
	_, err = c.Write(wire.AppendReply(out, s.config.ID, client, token))
	return err == nil
}
