package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/wire"
)

// start serves until the test ends and returns the addresses without their schemes, TCP first.
func start(t *testing.T, c Config, listen ...string) []string {
	t.Helper()
	for _, s := range listen {
		l, err := target.ParseListen(s)
		if err != nil {
			t.Fatal(err)
		}
		c.Listen = append(c.Listen, l)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var all []string
	for _, a := range s.Addresses() {
		_, address, _ := strings.Cut(a, "://")
		all = append(all, address)
	}
	return all
}

func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAConnectionAnswersRequestAfterRequest(t *testing.T) {
	c := dial(t, "tcp", start(t, Config{ID: "web-1"}, "tcp://127.0.0.1:0")[0])
	in := bufio.NewReader(c)
	me := c.LocalAddr().String()
	for request, want := range map[string]string{
		"\n":                "ipvs-load/1 id=web-1 client=" + me + "\n",
		"\r\n":              "ipvs-load/1 id=web-1 client=" + me + "\n",
		"who are you?\n":    "ipvs-load/1 id=web-1 client=" + me + "\n",
		"ipvs-load/1 t-7\n": "ipvs-load/1 id=web-1 client=" + me + " token=t-7\n",
		"ipvs-load/1 a!b\n": "ipvs-load/1 error=bad-token\n",
		"ipvs-load/2 t\n":   "ipvs-load/1 error=unsupported-version\n",
	} {
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		if got, err := in.ReadString('\n'); err != nil || got != want {
			t.Errorf("%q is answered by %q, %v; want %q", request, got, err, want)
		}
	}
}

func TestRequestsInOneSegmentAndInPieces(t *testing.T) {
	c := dial(t, "tcp", start(t, Config{ID: "web-1"}, "tcp://127.0.0.1:0")[0])
	in := bufio.NewReader(c)
	for i, part := range []string{"ipvs-load/1 a\nipvs-load/1 b\nipvs-lo", "ad/1 c\n"} {
		if _, err := io.WriteString(c, part); err != nil {
			t.Fatal(err)
		}
		for _, token := range [][]string{{"a", "b"}, {"c"}}[i] {
			if got, err := in.ReadString('\n'); err != nil || !strings.HasSuffix(got, " token="+token+"\n") {
				t.Errorf("got %q, %v; want the answer to %s", got, err, token)
			}
		}
	}
}

func TestALineWithoutEndIsRefusedAndTheConnectionClosed(t *testing.T) {
	c := dial(t, "tcp", start(t, Config{ID: "web-1"}, "tcp://127.0.0.1:0")[0])
	if _, err := c.Write(bytes.Repeat([]byte("x"), wire.MaxLine)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "ipvs-load/1 error=request-too-long\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestDatagrams(t *testing.T) {
	for _, listen := range []string{"udp://127.0.0.1:0", "udp://0.0.0.0:0", "udp://[::]:0"} {
		address := netip.MustParseAddrPort(start(t, Config{ID: "web-1"}, listen)[0])
		c := dial(t, "udp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), address.Port()).String())
		for request, want := range map[string]string{
			"":                       "ipvs-load/1 id=web-1 client=" + c.LocalAddr().String() + "\n",
			"ipvs-load/1 t":          "ipvs-load/1 id=web-1 client=" + c.LocalAddr().String() + " token=t\n",
			"ipvs-load/3 t\n":        "ipvs-load/1 error=unsupported-version\n",
			strings.Repeat("x", 600): "ipvs-load/1 error=request-too-long\n",
		} {
			if got := ask(t, c, request); got != want {
				t.Errorf("%s: %.20q is answered by %q, want %q", listen, request, got, want)
			}
		}
	}
}

func ask(t *testing.T, c net.Conn, request string) string {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1024)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// A connected socket takes no answer from another address than the one it asked, so an answer proves its source. To a
// client at 127.0.0.1 the kernel by itself would send from 127.0.0.1.
func TestADatagramIsAnsweredFromTheAddressThatWasAsked(t *testing.T) {
	for _, listen := range []string{"udp://0.0.0.0:0", "udp://[::]:0"} {
		address := netip.MustParseAddrPort(start(t, Config{ID: "web-1"}, listen)[0])
		to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.5"), address.Port()))
		c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, c, "\n"); !strings.Contains(got, "client=127.0.0.1:") {
			t.Errorf("%s: got %q", listen, got)
		}
	}
}

func TestAnIPv4WildcardDoesNotTakeIPv6(t *testing.T) {
	address := netip.MustParseAddrPort(start(t, Config{ID: "web-1"}, "tcp://0.0.0.0:0")[0])
	if !address.Addr().Is4() {
		t.Errorf("0.0.0.0 became %s", address)
	}
}

// Only the lower bound of a delay is a promise: an answer never comes early.
func TestDelays(t *testing.T) {
	const delay, jitter = 20 * time.Millisecond, 5 * time.Millisecond
	addresses := start(t, Config{ID: "slow", Delay: delay, Jitter: jitter}, "tcp://127.0.0.1:0", "udp://127.0.0.1:0")
	for i, network := range []string{"tcp", "udp"} {
		c := dial(t, network, addresses[i])
		for range 10 {
			before := time.Now()
			ask(t, c, "\n")
			if took := time.Since(before); took < delay-jitter {
				t.Errorf("%s: answered after %v, the least delay is %v", network, took, delay-jitter)
			}
		}
	}
}

func TestDelaysStayInTheirRange(t *testing.T) {
	s := &Server{config: Config{Delay: 10, Jitter: 10}}
	seen := map[time.Duration]bool{}
	for range 10_000 {
		d := s.delay()
		if d < 0 || d > 20 {
			t.Fatalf("delay %d is outside 10 ± 10", d)
		}
		seen[d] = true
	}
	if len(seen) != 21 {
		t.Errorf("%d different delays, want all of 0 to 20", len(seen))
	}
}

func TestTheAlarmWakesInOrderAndNobodyEarly(t *testing.T) {
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	woken := make(chan time.Duration, 100)
	for i := range 100 {
		d := time.Duration(i*37%100) * 100 * time.Microsecond
		go func() {
			before := time.Now()
			if !a.sleep(d) || time.Since(before) < d {
				d = -1
			}
			woken <- d
		}()
	}
	for range 100 {
		if d := <-woken; d < 0 {
			t.Error("a sleeper woke early or was sent away")
		}
	}
	asleep := make(chan bool)
	go func() { asleep <- a.sleep(time.Hour) }()
	for {
		a.mu.Lock()
		n := len(a.sleepers)
		a.mu.Unlock()
		if n == 1 {
			break
		}
	}
	a.close()
	if <-asleep || a.sleep(1) {
		t.Error("a closed alarm let its sleepers sleep on")
	}
}

func TestEndingClosesOpenConnectionsAndDelayedAnswers(t *testing.T) {
	l, _ := target.ParseListen("tcp://127.0.0.1:0")
	s, err := New(Config{ID: "slow", Delay: time.Hour, Listen: []target.Target{l}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	c := dial(t, "tcp", s.tcp[0].Addr().String())
	fmt.Fprintln(c)
	for asleep := 0; asleep == 0; { // until the request has arrived and its answer is being delayed
		s.alarm.mu.Lock()
		asleep = len(s.alarm.sleepers)
		s.alarm.mu.Unlock()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came after the end", n)
	}
	if _, err := net.Dial("tcp", s.tcp[0].Addr().String()); err == nil {
		t.Error("the ended server accepts connections")
	}
}

func TestAnAddressInUseIsNamedAndNothingStaysOpen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, _ := target.ParseListen("udp://127.0.0.1:0")
	busy, _ := target.ParseListen("tcp://" + taken.Addr().String())
	_, err = New(Config{ID: "a", Listen: []target.Target{free, busy}})
	if err == nil || !strings.Contains(err.Error(), "listen on "+busy.String()) ||
		!strings.Contains(err.Error(), "address already in use") {
		t.Errorf("New says %v", err)
	}
}

func TestImpossibleServersAreNamed(t *testing.T) {
	l, _ := target.ParseListen("tcp://127.0.0.1:0")
	for part, c := range map[string]Config{
		"id: an identity has 1 to 253 bytes":                                      {Listen: []target.Target{l}},
		"nothing to listen on":                                                    {ID: "a"},
		"max connections -1 is out of range":                                      {ID: "a", Connections: -1, Listen: []target.Target{l}},
		"delay -1s is out of range":                                               {ID: "a", Listen: []target.Target{l}, Delay: -time.Second},
		"delay jitter 2s is out of range; allowed is 0 to the delay, which is 1s": {ID: "a", Listen: []target.Target{l}, Delay: time.Second, Jitter: 2 * time.Second},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Validate says %v; want a sentence with %q", err, part)
		}
	}
}

func TestThousandsOfIdleConnectionsAreServed(t *testing.T) {
	const n = 2000
	address := start(t, Config{ID: "web"}, "tcp://127.0.0.1:0")[0]
	all := make([]net.Conn, n)
	for i := range all {
		all[i] = dial(t, "tcp", address)
	}
	for i := n - 1; i >= 0; i-- {
		if got := ask(t, all[i], "\n"); !strings.Contains(got, "id=web ") {
			t.Fatalf("connection %d got %q", i, got)
		}
	}
}

// TestNoAnswerIsAnswered: whatever a server says, to whatever, another one has nothing to say to it; else two servers,
// to one of which somebody sent a datagram in the other's name, would answer each other without end.
func TestNoAnswerIsAnswered(t *testing.T) {
	client := netip.MustParseAddrPort("[fd00::7]:4242")
	check := func(request []byte) {
		t.Helper()
		said := answer(nil, "web-1", request, client)
		for _, heard := range [][]byte{said, bytes.TrimSuffix(said, []byte("\n"))} {
			if said != nil && answer(nil, "web-2", heard, client) != nil {
				t.Fatalf("%q is answered by %q, and that by %q", request, said, answer(nil, "web-2", heard, client))
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	words := []string{
		"ipvs-load/", "ipvs-load/1", "ipvs-load/2", " ", "=", "id=", "error=", "t-7", "\n", "\r", "\x00", "é",
		strings.Repeat("x", 40), strings.Repeat("x", wire.MaxLine),
	}
	for range 100_000 {
		var request []byte
		for range random.IntN(6) {
			request = append(request, words[random.IntN(len(words))]...)
		}
		check(request[:min(len(request), wire.MaxLine+1)])
	}
	// Over a socket a server hears an answer, and then answers the next request all the same; over TCP whoever says one
	// is no client.
	addresses := start(t, Config{ID: "web-1"}, "tcp://127.0.0.1:0", "udp://127.0.0.1:0")
	for _, heard := range []string{
		"ipvs-load/1 id=web-2 client=127.0.0.1:1 token=t\n", "ipvs-load/1 error=bad-token\n",
		"ipvs-load/9 error=unsupported-version\n",
	} {
		c := dial(t, "udp", addresses[1])
		if _, err := io.WriteString(c, heard); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, c, "ipvs-load/1 next\n"); !strings.HasSuffix(got, " token=next\n") {
			t.Errorf("%q is answered by %q", heard, got)
		}
		c = dial(t, "tcp", addresses[0])
		if _, err := io.WriteString(c, heard); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
			t.Errorf("%q is answered by %q, %v", heard, got, err)
		}
	}
}

// TestBeyondTheCap: one connection more than allowed is closed, and reported once. Held ones stay. After one ends,
// another is accepted.
func TestBeyondTheCap(t *testing.T) {
	full := make(chan struct{}, 9)
	address := start(t, Config{ID: "web", Connections: 2, Full: func() { full <- struct{}{} }}, "tcp://127.0.0.1:0")[0]
	first, second := dial(t, "tcp", address), dial(t, "tcp", address)
	ask(t, first, "\n")
	ask(t, second, "\n")
	for range 3 {
		if got, err := io.ReadAll(dial(t, "tcp", address)); len(got) > 0 || err != nil {
			t.Errorf("one more hears %q, %v", got, err)
		}
	}
	ask(t, first, "\n")
	second.Close()
	for { // until the server has noticed
		c := dial(t, "tcp", address)
		_, _ = io.WriteString(c, "\n")
		if n, _ := c.Read(make([]byte, 100)); n > 0 {
			break
		}
	}
	if len(full) != 1 {
		t.Errorf("reported %d times", len(full))
	}
}
