package harness

import (
	"bufio"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// relayed is a relay to a server that answers each line by itself.
func relayed(t *testing.T) (*Relay, func() net.Conn) {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				lines := bufio.NewScanner(conn)
				for lines.Scan() {
					if _, err := conn.Write(append(lines.Bytes(), '\n')); err != nil {
						return
					}
				}
			}()
		}
	}()
	front := "127.0.0.1:0"
	r, err := NewRelay(func() (net.Listener, error) {
		l, err := net.Listen("tcp", front)
		if err == nil {
			front = l.Addr().String() // the same port when it listens again
		}
		return l, err
	}, func() (net.Conn, error) { return net.Dial("tcp", server.Addr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", front)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
}

// asked writes a line and waits for the same one until its time is over.
func asked(conn net.Conn, patience time.Duration) error {
	if _, err := conn.Write([]byte("hello\n")); err != nil {
		return err
	}
	return answered(conn, patience)
}

func answered(conn net.Conn, patience time.Duration) error {
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	line := make([]byte, len("hello\n"))
	n, err := conn.Read(line)
	if err == nil && string(line[:n]) != "hello\n" {
		err = errors.New("answered: " + string(line[:n]))
	}
	return err
}

// shortly is long enough to see that nothing comes; patient is for what has to come.
const (
	shortly = 100 * time.Millisecond
	patient = 30 * time.Second
)

func TestRelayHarmsConnections(t *testing.T) {
	r, dial := relayed(t)
	old := dial()
	if err := asked(old, patient); err != nil {
		t.Fatalf("in order: %v", err)
	}
	r.Slow(50 * time.Millisecond)
	began := time.Now()
	if err := asked(old, patient); err != nil || time.Since(began) < 50*time.Millisecond {
		t.Errorf("slow: %v after %s", err, time.Since(began))
	}
	r.Slow(0)

	r.Silence()
	young := dial()
	for _, conn := range []net.Conn{old, young} {
		if err := asked(conn, shortly); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("silent: %v, want nothing", err)
		}
	}
	r.Resume()
	for _, conn := range []net.Conn{old, young} {
		if err := answered(conn, patient); err != nil {
			t.Errorf("after the silence: %v", err)
		}
	}

	r.Silence()
	r.Abandon()
	if err := asked(old, shortly); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection that was abandoned: %v, want nothing", err)
	}
	if err := asked(dial(), patient); err != nil {
		t.Errorf("a new connection after others were abandoned: %v", err)
	}

	young = dial()
	if err := asked(young, patient); err != nil {
		t.Fatal(err)
	}
	r.Reset()
	for _, ask := range []func() error{
		func() error { return asked(young, patient) },
		func() error {
			conn, err := net.Dial("tcp", young.RemoteAddr().String())
			if err != nil {
				return err // the reset was faster
			}
			defer conn.Close()
			return asked(conn, patient)
		},
	} {
		if err := ask(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reset: %v, want an error at once", err)
		}
	}
	r.Accept()
	young = dial()
	if err := asked(young, patient); err != nil {
		t.Errorf("after the resets: %v", err)
	}

	to := young.RemoteAddr().String()
	r.Refuse()
	if err := asked(young, patient); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("refused, on a connection that was there: %v, want an error at once", err)
	}
	if _, err := net.Dial("tcp", to); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := asked(dial(), patient); err != nil {
		t.Errorf("after connections were refused: %v", err)
	}
}
