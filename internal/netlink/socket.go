package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxMessages is the number of messages in one send. More gains nothing, and so many answers fit the receive buffer
	// should every message fail.
	maxMessages = 256
	// maxBytes keeps a send below the default send buffer.
	maxBytes = 120 << 10
	// receiveBuffer holds more than so many failures, and makes the kernel build large pieces of dumps. The default of
	// 208 KiB, where no more is allowed, may overrun when all fail; then each message without a known failure returns
	// the error "outcome unknown".
	receiveBuffer = 1 << 20
	// timeout is how long the kernel may take for an answer before a call fails with ETIMEDOUT.
	timeout = 20 * time.Second
	// dumpPieces is how many pieces of a dump are taken by one system call, if they are there: also the end of one
	// comes in a piece of its own.
	dumpPieces = 4
	// dumpTries is how often an interrupted dump is started again.
	dumpTries = 5
)

// Socket is a netlink socket in the network namespace of the thread that opened it. One goroutine uses it at a time.
type Socket struct {
	fd  int
	seq uint32
	in  inbox
	// Messages and Sends count requests and the system calls that carried them.
	Messages, Sends uint64
}

// Dial opens a socket of a netlink protocol, such as unix.NETLINK_GENERIC.
func Dial(protocol int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	s := &Socket{fd: fd}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		s.Close()
		return nil, fmt.Errorf("bind netlink socket: %w", err)
	}
	// Without CAP_NET_ADMIN in the initial user namespace the buffers keep their default size, which still works.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = s.SetReceiveBuffer(receiveBuffer)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, receiveBuffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, receiveBuffer)
	}
	unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1) // 4.12: words beside the errno
	tv := unix.NsecToTimeval(int64(timeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		s.Close()
		return nil, fmt.Errorf("set netlink timeout: %w", err)
	}
	return s, nil
}

// FilterDumps asks the kernel to apply what the header and the attributes of a dump request say (Linux 4.20). Older
// ones send everything, so that the caller must filter what comes all the same.
func (s *Socket) FilterDumps() {
	unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
}

// SetReceiveBuffer sets the size of the receive buffer, within the limits of the system.
func (s *Socket) SetReceiveBuffer(bytes int) error {
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
}

// Close closes the socket. Closing it again does nothing.
func (s *Socket) Close() error {
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}

// Failure is the kernel's answer to a message that failed.
type Failure struct {
	Errno unix.Errno
	// Text are the kernel's words, when it had some.
	Text string
	// Request is the beginning of the request as the kernel sent it back, header included.
	Request []byte
}

func (f *Failure) Error() string {
	if f.Text != "" {
		return f.Errno.Error() + " (" + f.Text + ")"
	}
	return f.Errno.Error()
}

// Unwrap returns the errno.
func (f *Failure) Unwrap() error { return f.Errno }

// Execute sends all messages, in order, and returns an error or nil for each: a *Failure where the kernel said no. When
// answers were lost (ENOBUFS) or did not come (ETIMEDOUT), every message of that send without a known failure gets that
// error: nobody knows whether it was carried out.
func (s *Socket) Execute(b *Batch) []error {
	errs := make([]error, b.Len())
	for start := 0; start < b.Len(); {
		end, size := start, 0
		for end < b.Len() && end-start < maxMessages && (end == start || size+len(b.Message(end)) <= maxBytes) {
			size += len(b.Message(end))
			end++
		}
		if end < b.Len() && end-start > 1 && b.joined[end-1] {
			end--
		}
		s.send(b, start, end, errs)
		start = end
	}
	return errs
}

func (s *Socket) send(b *Batch, start, end int, errs []error) {
	first := s.seq + 1
	for i := start; i < end; i++ {
		s.seq++
		header := b.Message(i)
		flags := binary.NativeEndian.Uint16(header[6:]) &^ unix.NLM_F_ACK
		if i == end-1 {
			flags |= unix.NLM_F_ACK
		}
		binary.NativeEndian.PutUint16(header[6:], flags)
		binary.NativeEndian.PutUint32(header[8:], s.seq)
	}
	last := s.seq
	from, to := b.starts[start], len(b.buf)
	if end < b.Len() {
		to = b.starts[end]
	}
	s.Messages += uint64(end - start)
	s.Sends++
	err := unix.Sendto(s.fd, b.buf[from:to], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	done := false
	each := func(m answer) error {
		if m.kind != unix.NLMSG_ERROR || m.seq-first > last-first {
			return nil // an answer to a call that gave up
		}
		if f := failure(m.payload); f != nil {
			errs[start+int(m.seq-first)] = f
		}
		done = done || m.seq == last
		return nil
	}
	for err == nil && !done {
		err = s.receive(1, each)
	}
	if err == nil {
		return
	}
	s.drain(each) // what is refused for certain is better known
	for i := start; i < end; i++ {
		if errs[i] == nil {
			errs[i] = fmt.Errorf("outcome unknown: %w", err)
		}
	}
}

// receive waits for an answer, takes those with it that are there already, of at most so many pieces, and calls each
// for their messages.
func (s *Socket) receive(pieces int, each func(answer) error) error {
	n, err := s.in.receive(s.fd, pieces, unix.MSG_WAITFORONE)
	switch {
	case err == unix.EAGAIN:
		return fmt.Errorf("the kernel did not answer within %s: %w", timeout, unix.ETIMEDOUT)
	case err != nil:
		return fmt.Errorf("receive: %w", err)
	}
	for i := range n {
		if err := s.in.messages(i, each); err != nil {
			return err
		}
	}
	return nil
}

// drain reads what is there after something has gone wrong, and calls each for it, so that the next call begins with an
// empty socket. A socket carries one dump at a time. And one that has overrun takes no answers before it was empty
// once, and does not report that again (net/netlink/af_netlink.c, netlink_overrun and NETLINK_S_CONGESTED, Linux 6.12).
func (s *Socket) drain(each func(answer) error) {
	for {
		n, err := s.in.receive(s.fd, 1, unix.MSG_DONTWAIT)
		if err == unix.ENOBUFS {
			continue // the kernel reports ENOBUFS once for each overrun
		}
		if err != nil || n == 0 {
			return
		}
		_ = s.in.messages(0, each)
	}
}

// failure reads the payload of NLMSG_ERROR; nil for an acknowledgement.
func failure(payload []byte) *Failure {
	if len(payload) < 4 {
		return &Failure{Errno: unix.EBADMSG}
	}
	errno := -int32(binary.NativeEndian.Uint32(payload))
	if errno == 0 {
		return nil
	}
	f := &Failure{Errno: unix.Errno(errno)}
	if request := payload[4:]; len(request) >= unix.SizeofNlMsghdr {
		size := min(int(binary.NativeEndian.Uint32(request)), len(request))
		f.Request = append([]byte(nil), request[:size]...)
		const textAttr = 1 // NLMSGERR_ATTR_MSG
		Attributes(request[min(len(request), (size+3)&^3):], func(attr uint16, value []byte) {
			if attr == textAttr {
				f.Text = strings.TrimRight(string(value), "\x00")
			}
		})
	}
	return f
}

// errInterrupted is a dump whose beginning does not fit its end, because of changes while it went on.
var errInterrupted = fmt.Errorf("dump interrupted by a change: %w", unix.EINTR)

// Ask sends the one message of the batch and returns the payload of its answer.
func (s *Socket) Ask(b *Batch) ([]byte, error) {
	header := b.Message(0)
	binary.NativeEndian.PutUint16(header[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	var answer []byte
	err := s.exchange(header, 1, func(payload []byte) { answer = append(answer, payload...) })
	return answer, err
}

// Dump sends the one message of the batch as a dump request, and calls each with the payload of every answer. The
// payload is valid during the call only. A dump that was interrupted by a change is started again: reset is called
// before each start. One that is interrupted again and again fails with EINTR.
func (s *Socket) Dump(b *Batch, reset func(), each func(payload []byte)) error {
	header := b.Message(0)
	binary.NativeEndian.PutUint16(header[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	for try := 0; ; try++ {
		reset()
		err := s.exchange(header, dumpPieces, each)
		if !errors.Is(err, errInterrupted) || try == dumpTries {
			return err
		}
	}
}

// exchange sends a message and reads answers up to the one that ends them.
func (s *Socket) exchange(message []byte, pieces int, each func(payload []byte)) error {
	s.seq++
	mine := s.seq
	binary.NativeEndian.PutUint32(message[8:], mine)
	s.Messages++
	s.Sends++
	if err := unix.Sendto(s.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	done := false
	var failed error
	for !done {
		err := s.receive(pieces, func(m answer) error {
			switch {
			case m.seq != mine: // an answer to a call that gave up
			case m.kind == unix.NLMSG_ERROR:
				if f := failure(m.payload); f != nil {
					failed = f
				}
				done = true
			case m.flags&unix.NLM_F_DUMP_INTR != 0:
				return errInterrupted
			case m.kind == unix.NLMSG_DONE:
				done = true
				if len(m.payload) >= 4 {
					if errno := -int32(binary.NativeEndian.Uint32(m.payload)); errno > 0 {
						failed = &Failure{Errno: unix.Errno(errno)}
					}
				}
			default:
				each(m.payload)
			}
			return nil
		})
		if err != nil {
			s.drain(func(answer) error { return nil })
			return err
		}
	}
	return failed
}
