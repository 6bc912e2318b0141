package edge_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/edge"
)

// serve serves h within the limits until the test ends, and returns its address.
func serve(t *testing.T, h http.Handler, l edge.Limits, caps ...*edge.Cap) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := edge.Server(h, l)
	t.Cleanup(func() { server.Close() })
	go server.Serve(edge.Listen(listener, append(caps, edge.NewCap(l.Connections))...))
	return listener.Addr().String()
}

// dial connects from an address of this machine, such as 127.0.0.2.
func dial(t *testing.T, from, to string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	// A server that does not do its part fails the test, and does not hang it.
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// answer reads one answer; text is its body, or what went wrong.
func answer(c net.Conn) (status int, text string) {
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err.Error()
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return response.StatusCode, err.Error()
	}
	return response.StatusCode, string(body)
}

// ended waits until the other side has closed the connection.
func ended(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })

// TestWhoTakesTooLongIsLeft: whatever part of a conversation a client leaves out, its connection ends.
func TestWhoTakesTooLongIsLeft(t *testing.T) {
	long, short := time.Hour, 10*time.Millisecond
	within := func(change func(*edge.Limits)) edge.Limits {
		l := edge.Limits{Request: long, Answer: long, Idle: long, HeaderBytes: 1 << 10, Connections: 9}
		change(&l)
		return l
	}
	request := within(func(l *edge.Limits) { l.Request = short })
	for name, c := range map[string]struct {
		limits edge.Limits
		said   string
	}{
		"says nothing":                       {request, ""},
		"half a header":                      {request, "GET / HTTP/1.1\r\nHost:"},
		"a header without end":               {request, get[:len(get)-2]},
		"a body that does not come":          {request, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"},
		"half a body":                        {request, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"},
		"a chunk that does not come":         {request, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"},
		"a body that waits for 100 Continue": {request, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"},
		"no second request":                  {within(func(l *edge.Limits) { l.Idle = short }), get},
		"half a second request":              {request, get + "GET /"},
	} {
		t.Run(name, func(t *testing.T) {
			client := dial(t, "127.0.0.1", serve(t, ok, c.limits))
			say(t, client, c.said)
			if !ended(client) {
				t.Error("the connection is still there")
			}
		})
	}
	t.Run("does not read", func(t *testing.T) {
		wrote := make(chan error)
		endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					wrote <- err
					return
				}
			}
		})
		client := dial(t, "127.0.0.1", serve(t, endless, within(func(l *edge.Limits) { l.Answer = 100 * time.Millisecond })))
		say(t, client, get)
		if err := <-wrote; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the handler's answer ended with %v", err)
		}
	})
}

// TestABodyIsNotWaitedFor: a probe that announces a body is answered without it.
func TestABodyIsNotWaitedFor(t *testing.T) {
	l := edge.Probes()
	l.Request, l.Answer, l.Idle = time.Hour, time.Hour, time.Hour
	for _, header := range []string{"Content-Length: 5", "Content-Length: 1000000", "Transfer-Encoding: chunked"} {
		client := dial(t, "127.0.0.1", serve(t, ok, l))
		say(t, client, "POST / HTTP/1.1\r\nHost: a\r\n"+header+"\r\n\r\n")
		if status, text := answer(client); status != 200 || text != "ok" {
			t.Errorf("%s: %d %s", header, status, text)
		}
	}
}

func TestALargeHeaderIsRefused(t *testing.T) {
	l := edge.Probes()
	client := dial(t, "127.0.0.1", serve(t, ok, l))
	say(t, client, "GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", l.HeaderBytes+5000)+"\r\n\r\n")
	if status, text := answer(client); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d %s", status, text)
	}
}

// TestWhoHoldsConnectionsLosesHisOwn: one stranger opens connections without end, and another one asks on each. Neither
// gets the probe of another client unanswered, nor one that another client keeps closed. There are never more than
// allowed.
func TestWhoHoldsConnectionsLosesHisOwn(t *testing.T) {
	for name, said := range map[string]string{"says nothing": "", "half a request": "GET /", "asks": get} {
		t.Run(name, func(t *testing.T) {
			l := edge.Limits{Request: time.Hour, Answer: time.Hour, Idle: time.Hour, HeaderBytes: 1 << 10, Connections: 4}
			address := serve(t, ok, l)
			kept := dial(t, "127.0.0.3", address)
			say(t, kept, get)
			if status, text := answer(kept); status != 200 {
				t.Fatalf("%d %s", status, text)
			}
			var held []net.Conn
			for range 20 {
				stranger := dial(t, "127.0.0.2", address)
				say(t, stranger, said)
				if said == get {
					answer(stranger)
				}
				held = append(held, stranger)
				probe := dial(t, "127.0.0.1", address)
				say(t, probe, get)
				if status, text := answer(probe); status != 200 || text != "ok" {
					t.Fatalf("with %d connections of a stranger: %d %s", len(held), status, text)
				}
				probe.Close()
			}
			say(t, kept, get)
			if status, text := answer(kept); status != 200 || text != "ok" {
				t.Errorf("the connection that a client kept: %d %s", status, text)
			}
			for i, stranger := range held[:len(held)-l.Connections] {
				if !ended(stranger) {
					t.Errorf("connection %d of the stranger is still there", i)
				}
			}
		})
	}
}

// TestManyStrangers: where nobody has more connections than another, the one that waits longest goes, and one that is
// being answered stays.
func TestManyStrangers(t *testing.T) {
	l := edge.Limits{Request: time.Hour, Answer: time.Hour, Idle: time.Hour, HeaderBytes: 1 << 10, Connections: 3}
	begun, finish := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-finish
		}
		io.WriteString(w, "ok")
	})
	address := serve(t, slow, l)
	scrape := dial(t, "127.0.0.10", address)
	say(t, scrape, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-begun
	var held []net.Conn
	for _, from := range []string{"127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14"} {
		stranger := dial(t, from, address)
		held = append(held, stranger)
		say(t, stranger, get)
		if status, text := answer(stranger); status != 200 {
			t.Fatalf("%s: %d %s", from, status, text)
		}
	}
	for i, stranger := range held[:2] {
		if !ended(stranger) {
			t.Errorf("connection %d is still there", i)
		}
	}
	close(finish)
	if status, text := answer(scrape); status != 200 || text != "ok" {
		t.Errorf("the answer that took long: %d %s", status, text)
	}
}

// TestACapOfSeveralListeners: connections to all of them count together, and closed ones count no longer.
func TestACapOfSeveralListeners(t *testing.T) {
	l := edge.Limits{Request: time.Hour, Answer: time.Hour, Idle: time.Hour, HeaderBytes: 1 << 10, Connections: 100}
	together := edge.NewCap(2)
	one, other := serve(t, ok, l, together), serve(t, ok, l, together)
	first := dial(t, "127.0.0.1", one)
	say(t, first, get)
	if status, text := answer(first); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	for range 10 {
		probe := dial(t, "127.0.0.1", other)
		say(t, probe, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if status, text := answer(probe); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
		if !ended(probe) {
			t.Fatal("not closed")
		}
	}
	say(t, first, get)
	if status, text := answer(first); status != 200 {
		t.Fatalf("closed connections of others still counted: %d %s", status, text)
	}
	for range 2 {
		held := dial(t, "127.0.0.1", other)
		say(t, held, get)
		if status, text := answer(held); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	if !ended(first) {
		t.Error("three connections where two are allowed")
	}
}
