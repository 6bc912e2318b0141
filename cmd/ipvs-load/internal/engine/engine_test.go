package engine

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/server"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// patience is a timeout that only a broken test reaches.
const patience = 30 * time.Second

func tcpTarget(t *testing.T, a net.Addr) target.Target {
	t.Helper()
	return target.Target{Protocol: target.TCP, Addr: a.(*net.TCPAddr).AddrPort()}
}

func udpTarget(t *testing.T, a net.Addr) target.Target {
	t.Helper()
	return target.Target{Protocol: target.UDP, Addr: a.(*net.UDPAddr).AddrPort()}
}

// config is a run of count requests, quickly one after the other.
func config(mode Mode, count int64, targets ...target.Target) Config {
	return Config{
		Mode: mode, Targets: targets, Timeout: patience, ConnectionsMax: 100, UDPPort: Rotate, Close: FIN,
		Plan: schedule.Plan{Rate: 2000, Count: count, Workers: 1},
	}
}

func mustRun(t *testing.T, c Config) *account.Result {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Interrupted || r.Planned != r.Tally.Requests() {
		t.Fatalf("interrupted %v: %d requests planned, %d have an outcome", r.Interrupted, r.Planned, r.Tally.Requests())
	}
	return r
}

func wantKind(t *testing.T, r *account.Result, k account.Kind, n int64) {
	t.Helper()
	if got := r.Tally.Kinds[k]; got != n || r.Tally.Requests() != n {
		t.Errorf("%d of %d requests are %q, want all %d; kinds %v, texts %v",
			got, r.Tally.Requests(), k, n, r.Tally.Kinds, r.Tally.OtherText)
	}
}

// serve runs a real server on the given listen addresses until the test ends, and returns its targets.
func serve(t *testing.T, id string, listen ...string) []target.Target {
	t.Helper()
	c := server.Config{ID: id}
	for _, s := range listen {
		l, err := target.ParseListen(s)
		if err != nil {
			t.Fatal(err)
		}
		c.Listen = append(c.Listen, l)
	}
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var all []target.Target
	for _, a := range s.Addresses() {
		to, err := target.Parse(a)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, to)
	}
	return all
}

// tcpServer gives each connection, after its request line, to answer; the connection is closed afterwards.
func tcpServer(t *testing.T, answer func(c *net.TCPConn)) target.Target {
	t.Helper()
	return lineServer(t, func(c *net.TCPConn, _ string) { answer(c) })
}

// lineServer gives each connection with its request line to answer; the connection is closed afterwards.
func lineServer(t *testing.T, answer func(c *net.TCPConn, line string)) target.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if line, err := bufio.NewReader(c).ReadString('\n'); err == nil {
					answer(c.(*net.TCPConn), line)
				}
			}()
		}
	}()
	return tcpTarget(t, l.Addr())
}

func say(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) { _, _ = io.WriteString(c, text) }
}

func sayAndReset(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		_, _ = io.WriteString(c, text)
		_ = c.SetLinger(0)
	}
}

func TestErrorKindsOfRealSockets(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(*net.TCPConn)
		want   account.Kind
	}{
		"a reset before the reply":            {sayAndReset(""), account.ResetBeforeReply},
		"a reset in the middle of the reply":  {sayAndReset("ipvs-load/1 id=a"), account.ResetMidStream},
		"a close before the reply":            {say(""), account.ShortRead},
		"a close in the middle of the reply":  {say("ipvs-load/1 id=a client=1.2.3.4:5"), account.ShortRead},
		"a reply of another protocol":         {say("HTTP/1.1 400 Bad Request\n"), account.BadReply},
		"a reply to another request":          {say("ipvs-load/1 id=a client=1.2.3.4:5 token=0000000000000000\n"), account.BadReply},
		"a reply without the request's token": {say("ipvs-load/1 id=a client=1.2.3.4:5\n"), account.BadReply},
		"a refusal":                           {say("ipvs-load/1 error=bad-token\n"), account.BadReply},
		"more bytes than a line may have":     {say(string(make([]byte, 600))), account.BadReply},
	} {
		t.Run(name, func(t *testing.T) {
			r := mustRun(t, config(CRR, 20, tcpServer(t, tc.answer)))
			wantKind(t, r, tc.want, 20)
			if r.Tally.Connect.Count() != 20 {
				t.Errorf("%d connect times, want 20: the connections did stand", r.Tally.Connect.Count())
			}
		})
	}
}

func TestRefused(t *testing.T) {
	r := mustRun(t, config(CRR, 20, closedPort(t)))
	wantKind(t, r, account.Refused, 20)
	if r.Tally.Connect.Count() != 0 {
		t.Errorf("%d refused connections have a connect time", r.Tally.Connect.Count())
	}
}

func TestNoRoute(t *testing.T) {
	to := target.Target{Protocol: target.TCP, Addr: netip.MustParseAddrPort("[2001:db8::1]:80")}
	if c, err := net.DialTimeout("udp", to.Addr.String(), time.Second); err == nil {
		c.Close()
		t.Skip("this machine has a route to 2001:db8::1")
	}
	wantKind(t, mustRun(t, config(CRR, 5, to)), account.NoRoute, 5)
}

func TestATimeoutCountsWithItsValue(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	c := config(CRR, 20, tcpServer(t, func(*net.TCPConn) { <-hold }))
	c.Timeout = 50 * time.Millisecond
	r := mustRun(t, c)
	wantKind(t, r, account.Timeout, 20)
	if s := r.Tally.Service; s.Min() != c.Timeout || s.Max() != c.Timeout {
		t.Errorf("service times from %v to %v, want exactly the timeout", s.Min(), s.Max())
	}
	if min := r.Tally.Latency.Min(); min < c.Timeout {
		t.Errorf("a latency of %v is below the timeout", min)
	}
	if r.Tally.TimeoutsConnecting != 0 {
		t.Errorf("%d of the connections are said never to have stood", r.Tally.TimeoutsConnecting)
	}
}

func TestEveryAnswerIsAttributed(t *testing.T) {
	for _, mode := range []Mode{CRR, UDPRR} {
		scheme := map[Mode]string{CRR: "tcp", UDPRR: "udp"}[mode]
		t.Run(string(mode), func(t *testing.T) {
			c := config(mode, 301)
			for _, id := range []string{"web-0", "web-1", "web-2"} {
				c.Targets = append(c.Targets, serve(t, id, scheme+"://127.0.0.1:0")...)
			}
			c.Plan.Workers = 2
			r := mustRun(t, c)
			wantKind(t, r, account.Answered, 301)
			for i, want := range []int64{101, 100, 100} {
				id := []string{"web-0", "web-1", "web-2"}[i]
				e := r.Tally.Targets[i].Endpoints[id]
				if e == nil || e.Answered != want || len(r.Tally.Targets[i].Endpoints) != 1 {
					t.Errorf("target %d was answered by %v, want %d answers of %s", i, r.Tally.Targets[i].Endpoints, want, id)
					continue
				}
				if n := e.Clients["127.0.0.1"]; n == nil || *n != want {
					t.Errorf("%s saw the clients %v", id, e.Clients)
				}
			}
		})
	}
}

func TestIPv6(t *testing.T) {
	if l, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("this machine has no ::1: ", err)
	} else {
		l.Close()
	}
	for _, to := range serve(t, "six", "tcp://[::1]:0", "udp://[::1]:0") {
		mode := map[target.Protocol]Mode{target.TCP: CRR, target.UDP: UDPRR}[to.Protocol]
		c := config(mode, 50, to)
		c.Sources = []netip.Addr{netip.MustParseAddr("::1")}
		r := mustRun(t, c)
		wantKind(t, r, account.Answered, 50)
		if e := r.Tally.Targets[0].Endpoints["six"]; e == nil || e.Clients["::1"] == nil {
			t.Errorf("%s: answered by %v", to, r.Tally.Targets[0].Endpoints)
		}
	}
}

func TestSourcesTakeTurns(t *testing.T) {
	for _, to := range serve(t, "web", "tcp://127.0.0.1:0", "udp://127.0.0.1:0") {
		mode := map[target.Protocol]Mode{target.TCP: CRR, target.UDP: UDPRR}[to.Protocol]
		c := config(mode, 90, to)
		for _, s := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"} {
			c.Sources = append(c.Sources, netip.MustParseAddr(s))
		}
		r := mustRun(t, c)
		wantKind(t, r, account.Answered, 90)
		for _, s := range c.Sources {
			if n := r.Tally.Targets[0].Endpoints["web"].Clients[s.String()]; n == nil || *n != 30 {
				t.Errorf("%s: source %s was not seen 30 times", to, s)
			}
		}
	}
}

func TestTheWarmUpIsNotCounted(t *testing.T) {
	to := serve(t, "web", "tcp://127.0.0.1:0")
	c := config(CRR, 100, to...)
	c.Plan.Warmup = 20 * time.Millisecond
	r := mustRun(t, c)
	wantKind(t, r, account.Answered, 100)
	if r.Tally.Warmup.Requests != 40 {
		t.Errorf("%d requests in the warm-up, want 20 ms at 2000/s", r.Tally.Warmup.Requests)
	}
}

func TestResetOnClose(t *testing.T) {
	errs := make(chan error, 10)
	to := tcpServer(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "HTTP/1.1 400\n")
		_, err := c.Read(make([]byte, 1))
		errs <- err
	})
	for _, mode := range []Close{FIN, Reset} {
		c := config(CRR, 5, to)
		c.Close = mode
		mustRun(t, c)
		for range 5 {
			if err := <-errs; (err == io.EOF) != (mode == FIN) {
				t.Errorf("close %s: the server's read says %v", mode, err)
			}
		}
	}
}

func TestNoDescriptorIsLeftOpen(t *testing.T) {
	to := serve(t, "web", "udp://127.0.0.1:0")
	mustRun(t, config(UDPRR, 50, to...)) // what the runtime opens once is open now
	before := openFiles(t)
	fixed := config(UDPRR, 50, to...)
	fixed.UDPPort = Fixed
	mustRun(t, fixed)
	mustRun(t, config(UDPRR, 50, to...))
	if after := openFiles(t); after != before {
		t.Errorf("%d open files before, %d after", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
