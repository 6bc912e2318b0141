package netlink

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// dial opens a socket to the kernel's link table, which any process may ask.
func dial(t *testing.T) *Socket {
	t.Helper()
	s, err := Dial(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// refused adds a message that fails: there is no such link, or nobody here may delete one.
func (b *Batch) refused() {
	b.Begin(unix.RTM_DELLINK, 0)
	b.Raw(make([]byte, unix.SizeofIfInfomsg)...)
	b.String(unix.IFLA_IFNAME, "nosuchlink")
	b.End()
}

// accepted adds a message that succeeds and does nothing.
func (b *Batch) accepted() {
	b.Begin(unix.NLMSG_NOOP, 0)
	b.End()
}

// links lists the links of this namespace.
func links(t *testing.T, s *Socket) (n int) {
	t.Helper()
	var b Batch
	b.Begin(unix.RTM_GETLINK, 0)
	b.Raw(make([]byte, unix.SizeofIfInfomsg)...)
	b.End()
	if err := s.Dump(&b, func() { n = 0 }, func([]byte) { n++ }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFailuresFindTheirMessages: in batches longer than a send, each message has its own outcome.
func TestFailuresFindTheirMessages(t *testing.T) {
	s := dial(t)
	var b Batch
	for i := range 1000 {
		if i%7 == 3 {
			b.refused()
		} else {
			b.accepted()
		}
	}
	for i, err := range s.Execute(&b) {
		var f *Failure
		if refused := i%7 == 3; refused != errors.As(err, &f) || !refused && err != nil {
			t.Errorf("message %d, to be refused %v: %v", i, refused, err)
		}
	}
	if s.Sends != 4 || s.Messages != 1000 {
		t.Errorf("%d messages in %d sends", s.Messages, s.Sends)
	}
}

// TestOverrunIsUnknown: when more fails than the receive buffer holds, every message of that send is refused or
// unknown, none counts as done; and what comes next gets its own answers, at once.
func TestOverrunIsUnknown(t *testing.T) {
	s := dial(t)
	whole := links(t, s)
	if err := s.SetReceiveBuffer(1); err != nil { // the kernel makes it its least
		t.Fatal(err)
	}
	for range 50 {
		var b Batch
		for range maxMessages {
			b.refused()
		}
		unknown, refused := 0, 0
		for i, err := range s.Execute(&b) {
			var f *Failure
			switch {
			case errors.As(err, &f):
				refused++
			case errors.Is(err, unix.ENOBUFS):
				unknown++
			default:
				t.Fatalf("message %d: %v", i, err)
			}
		}
		if unknown == 0 || refused == 0 {
			t.Fatalf("%d unknown, %d refused: the test shows nothing", unknown, refused)
		}
		b.Reset()
		b.accepted()
		b.refused()
		b.accepted()
		var f *Failure
		if errs := s.Execute(&b); errs[0] != nil || !errors.As(errs[1], &f) || errs[2] != nil {
			t.Fatalf("the batch after it: %v", errs)
		}
		if n := links(t, s); n != whole {
			t.Fatalf("a dump shows %d links, want %d", n, whole)
		}
	}
}

// TestOldAnswersAreNobodys: answers that come after a call gave up are not taken for those of the next one.
func TestOldAnswersAreNobodys(t *testing.T) {
	s := dial(t)
	var old Batch
	for range 5 {
		old.refused()
	}
	old.Begin(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	old.Raw(make([]byte, unix.SizeofIfInfomsg)...)
	old.End()
	// A call that gave up: its answers, and a dump, are on their way.
	if err := unix.Sendto(s.fd, old.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.accepted()
	if errs := s.Execute(&b); errs[0] != nil {
		t.Errorf("%v", errs)
	}
	s.drain(func(answer) error { return nil })
	if links(t, s) == 0 {
		t.Error("no links")
	}
}

// TestTimeout: a kernel that does not answer is unknown, too.
func TestTimeout(t *testing.T) {
	s := dial(t)
	short := unix.NsecToTimeval(1e6)
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &short); err != nil {
		t.Fatal(err)
	}
	if err := s.receive(1, func(answer) error { return nil }); !errors.Is(err, unix.ETIMEDOUT) {
		t.Errorf("%v, want ETIMEDOUT", err)
	}
}

// TestStrangersAreNotHeard: what another process sends is not an answer.
func TestStrangersAreNotHeard(t *testing.T) {
	s, other := dial(t), dial(t)
	addr, err := unix.Getsockname(s.fd)
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.refused()
	if err := unix.Sendto(other.fd, b.buf, 0, &unix.SockaddrNetlink{
		Family: unix.AF_NETLINK, Pid: addr.(*unix.SockaddrNetlink).Pid,
	}); err != nil {
		t.Skipf("this process may not send to another socket: %v", err)
	}
	heard := 0
	if err := s.receive(1, func(answer) error { heard++; return nil }); err != nil || heard != 0 {
		t.Errorf("%d messages heard, %v", heard, err)
	}
}
