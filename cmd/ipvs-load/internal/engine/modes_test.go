package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
	"github.com/ipvs-proxier/ipvs-proxier/internal/testport"
)

// acceptor counts connections and hands each to converse.
func acceptor(t *testing.T, converse func(n int64, c *net.TCPConn)) (target.Target, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted atomic.Int64
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := accepted.Add(1)
			serving.Go(func() {
				defer c.Close()
				converse(n, c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return tcpTarget(t, l.Addr()), &accepted
}

// answerAll answers line after line.
func answerAll(_ int64, c *net.TCPConn) {
	for in := bufio.NewReader(c); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		echoToken(c, line)
	}
}

func held(mode Mode, count int64, connections int, to target.Target) Config {
	c := config(mode, count, to)
	c.Connections = connections
	return c
}

func TestConnectAsksNothing(t *testing.T) {
	var asked atomic.Int64
	to, accepted := acceptor(t, func(_ int64, c *net.TCPConn) {
		n, _ := io.Copy(io.Discard, c)
		asked.Add(n)
	})
	for _, closing := range []Close{FIN, Reset} {
		c := config(Connect, 50, to)
		c.Close = closing
		r := mustRun(t, c)
		wantKind(t, r, account.Answered, 50)
		if r.Tally.Connect.Count() != 50 || len(r.Tally.Targets[0].Endpoints) != 0 || r.Tally.Targets[0].Answered != 50 {
			t.Errorf("%d connects measured, endpoints %v, %d answers",
				r.Tally.Connect.Count(), r.Tally.Targets[0].Endpoints, r.Tally.Targets[0].Answered)
		}
	}
	// A connection that was reset before it was accepted is never seen, so the count is not exact.
	if n := accepted.Load(); n < 50 || asked.Load() != 0 {
		t.Errorf("the server saw %d connections and %d bytes", n, asked.Load())
	}
}

func TestConnectToNobodyIsRefused(t *testing.T) {
	wantKind(t, mustRun(t, config(Connect, 5, closedPort(t))), account.Refused, 5)
}

// closedPort refuses connections.
func closedPort(t *testing.T) target.Target {
	t.Helper()
	return target.Target{Protocol: target.TCP, Addr: testport.Refusing(t)}
}

func TestHeldConnectionsAreMadeOnceAndTakeTurns(t *testing.T) {
	for _, mode := range []Mode{RR, Idle} {
		for _, workers := range []int{1, 3} {
			var mu sync.Mutex
			perConnection := map[int64]int{}
			to, accepted := acceptor(t, func(n int64, c *net.TCPConn) {
				for in := bufio.NewReader(c); ; {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					mu.Lock()
					perConnection[n]++
					mu.Unlock()
					echoToken(c, line)
				}
			})
			c := held(mode, 120, 6, to)
			c.Plan.Workers = workers
			r := mustRun(t, c)
			wantKind(t, r, account.Answered, 120)
			if accepted.Load() != 6 || r.Tally.Held != (account.Held{Opened: 6}) {
				t.Errorf("%s with %d workers: %d connections, books %+v; want 6", mode, workers, accepted.Load(), r.Tally.Held)
			}
			if r.Tally.Connect.Count() != 0 {
				t.Errorf("%s: %d connects in the requests, all were made before", mode, r.Tally.Connect.Count())
			}
			mu.Lock()
			for n, requests := range perConnection {
				// Every connection has its turn; by how many requests they differ is up to the order in which answers
				// come.
				if requests < 5 {
					t.Errorf("%s: connection %d had %d of 120 requests", mode, n, requests)
				}
			}
			mu.Unlock()
		}
	}
}

// The second request on every connection finds it closed: an error for the request, a lost connection, and a new one
// for the next.
func TestAConnectionThatBreaksUnderARequestIsLostAndMadeAgain(t *testing.T) {
	to, accepted := acceptor(t, func(_ int64, c *net.TCPConn) {
		in := bufio.NewReader(c)
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		echoToken(c, line)
		_, _ = in.ReadString('\n') // and not a word
	})
	r := mustRun(t, held(RR, 40, 1, to))
	k := r.Tally.Kinds
	if k[account.Answered] != 20 || k[account.ShortRead]+k[account.ResetBeforeReply] != 20 {
		t.Errorf("kinds %v, want 20 answered and 20 cut off", k)
	}
	if h := r.Tally.Held; h.Lost != 20 || h.Opened != accepted.Load() || h.Opened != 20 {
		t.Errorf("books %+v, the server accepted %d", h, accepted.Load())
	}
	// What a connection costs is in the latency of the request that made it again.
	if n := r.Tally.Connect.Count(); n != 19 {
		t.Errorf("%d requests waited for a connection, want 19", n)
	}
}

func TestAConnectionThatEndsAtRestIsLostWithoutAnError(t *testing.T) {
	over := make(chan struct{})
	to, _ := acceptor(t, func(n int64, c *net.TCPConn) {
		if n == 1 {
			c.Close() // at rest: no request is under way on it
			close(over)
			return
		}
		answerAll(n, c)
	})
	c := held(RR, 1, 3, to)
	c.Plan.Rate, c.Plan.Count, c.Plan.Duration = 2, 0, time.Second
	c.Ready = func(time.Time) { <-over }
	r := mustRun(t, c)
	if r.Tally.Held.Lost != 1 || r.Tally.Held.Opened < 3 {
		t.Errorf("books %+v, want one lost of three", r.Tally.Held)
	}
	if n := r.Tally.ErrorCount(); n > 1 {
		t.Errorf("%d requests failed", n)
	}
}

func TestWhereNobodyListensHeldConnectionsFail(t *testing.T) {
	r := mustRun(t, held(RR, 5, 2, closedPort(t)))
	wantKind(t, r, account.Refused, 5)
	if h := r.Tally.Held; h.Failed != 2+5 || h.Opened != 0 || h.Lost != 0 {
		t.Errorf("books %+v, want 2 attempts before the run and 5 in it", h)
	}
}

// With one connection a request waits for the one before, and the wait is in its latency.
func TestRequestsWaitForAFreeConnection(t *testing.T) {
	release := make(chan struct{})
	to, _ := acceptor(t, func(_ int64, c *net.TCPConn) {
		<-release
		answerAll(0, c)
	})
	c := held(RR, 20, 1, to)
	c.Ready = func(window time.Time) {
		// The whole schedule of 10 ms is due before the first answer.
		time.AfterFunc(time.Until(window)+30*time.Millisecond, func() { close(release) })
	}
	r := mustRun(t, c)
	wantKind(t, r, account.Answered, 20)
	if r.PeakBacklog < 19 || r.Tally.Latency.Min() < 20*time.Millisecond {
		t.Errorf("backlog %d, least latency %v", r.PeakBacklog, r.Tally.Latency.Min())
	}
}

func TestAClosedLoopKeepsItsConcurrency(t *testing.T) {
	for _, workers := range []int{1, 2} {
		var open, most atomic.Int64
		to := lineServer(t, func(c *net.TCPConn, line string) {
			n := open.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			open.Add(-1)
			echoToken(c, line)
			_, _ = io.Copy(io.Discard, c)
		})
		c := config(CRR, 201, to)
		c.Plan = schedule.Plan{Closed: true, Count: 201, Workers: workers}
		c.ConnectionsMax = 7
		r := mustRun(t, c)
		wantKind(t, r, account.Answered, 201)
		if most.Load() > 7 {
			t.Errorf("%d requests at a time, 7 are allowed", most.Load())
		}
		if r.Tally.StartLag.Max() != 0 || r.Tally.LateStart != 0 || r.PeakBacklog != 0 {
			t.Errorf("start lag %v, %d late, backlog %d in a loop that intends no starts",
				r.Tally.StartLag.Max(), r.Tally.LateStart, r.PeakBacklog)
		}
		if r.Window.To <= 0 || r.Window.To > time.Minute || r.Tally.InWindow != 201 {
			t.Errorf("the window is %v, %d answers in it", r.Window, r.Tally.InWindow)
		}
	}
}

func TestAClosedLoopEndsWithItsTime(t *testing.T) {
	to := lineServer(t, func(c *net.TCPConn, line string) { echoToken(c, line); _, _ = io.Copy(io.Discard, c) })
	for _, mode := range []Mode{CRR, RR} {
		c := config(mode, 0, to)
		c.Plan = schedule.Plan{Closed: true, Warmup: 500 * time.Millisecond, Duration: 50 * time.Millisecond, Workers: 1}
		c.ConnectionsMax = 4
		if mode == RR {
			c.Connections = 4
			to, _ = acceptor(t, answerAll)
			c.Targets = []target.Target{to}
		}
		r := mustRun(t, c)
		if r.Tally.Kinds[account.Answered] == 0 || r.Tally.Warmup.Requests == 0 || r.Tally.ErrorCount() != 0 {
			t.Errorf("%s: %v, warm-up %+v", mode, r.Tally.Kinds, r.Tally.Warmup)
		}
	}
}

func TestStreams(t *testing.T) {
	to := serve(t, "web", "tcp://127.0.0.1:0")[0]
	for _, d := range []Direction{Upload, Download} {
		c := held(Stream, 0, 3, to)
		c.Plan = schedule.Plan{Closed: true, Warmup: 20 * time.Millisecond, Duration: 200 * time.Millisecond, Workers: 1}
		c.Direction = d
		r := mustRun(t, c)
		wantKind(t, r, account.Answered, 3)
		var bytes, series int64
		for _, n := range r.Tally.Streams {
			bytes += n
		}
		for _, b := range r.Tally.Series.Buckets {
			if b != nil {
				series += b.Bytes
			}
		}
		if len(r.Tally.Streams) != 3 || bytes == 0 || bytes != series {
			t.Errorf("%s: bytes %v, %d in the series", d, r.Tally.Streams, series)
		}
		if r.Tally.Held != (account.Held{Opened: 3}) || r.Tally.Targets[0].Endpoints["web"].Answered != 3 {
			t.Errorf("%s: books %+v, endpoints %v", d, r.Tally.Held, r.Tally.Targets[0].Endpoints)
		}
	}
}

func TestStreamsThatCannotStream(t *testing.T) {
	cut, _ := acceptor(t, func(_ int64, c *net.TCPConn) {
		in := bufio.NewReader(c)
		line, _ := in.ReadString('\n')
		echoToken(c, "ipvs-load/1 stream\n")
		_ = line
	})
	deaf, _ := acceptor(t, func(_ int64, c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	rude, _ := acceptor(t, func(_ int64, c *net.TCPConn) { fmt.Fprintln(c, "220 ready"); _, _ = io.Copy(io.Discard, c) })
	for name, tc := range map[string]struct {
		to      target.Target
		timeout time.Duration
		want    account.Kind
	}{
		"nobody listens":                     {closedPort(t), patience, account.Refused},
		"the server closes in the middle":    {cut, patience, account.ShortRead},
		"the server says nothing":            {deaf, 50 * time.Millisecond, account.Timeout},
		"the server speaks another protocol": {rude, patience, account.BadReply},
	} {
		c := held(Stream, 0, 1, tc.to)
		c.Plan = schedule.Plan{Closed: true, Duration: time.Second, Workers: 1}
		c.Direction, c.Timeout = Download, tc.timeout
		r, err := Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Tally.Kinds[tc.want] != 1 {
			t.Errorf("%s: %v, want one %s", name, r.Tally.Kinds, tc.want)
		}
	}
}

func TestEveryOutcomeIsTraced(t *testing.T) {
	to := lineServer(t, func(c *net.TCPConn, line string) { echoToken(c, line); _, _ = io.Copy(io.Discard, c) })
	c := config(CRR, 30, to, closedPort(t))
	c.Plan.Workers, c.Plan.Warmup = 2, 10*time.Millisecond
	var mu sync.Mutex
	kinds := map[account.Kind]int{}
	c.Trace = func(_ int, o *account.Outcome) {
		mu.Lock()
		defer mu.Unlock()
		kinds[o.Kind]++
	}
	r := mustRun(t, c)
	if got, want := kinds[account.Answered]+kinds[account.Refused], 30+int(r.Tally.Warmup.Requests); got != want ||
		len(kinds) != 2 {
		t.Errorf("traced %v, want %d", kinds, want)
	}
}

func TestWhenWatchedEndpointsAnswered(t *testing.T) {
	to := lineServer(t, func(c *net.TCPConn, line string) { echoToken(c, line); _, _ = io.Copy(io.Discard, c) })
	c := config(CRR, 100, to)
	c.Watch = []string{"web", "nobody"}
	r := mustRun(t, c)
	e := r.Tally.Targets[0].Endpoints["web"]
	first, found := e.FirstAnswer(0, time.Hour)
	last, foundLast := e.LastStart(0, time.Hour)
	if !found || !foundLast || first <= 0 || last < 49*time.Millisecond {
		t.Errorf("first answer %v (%v), last start %v (%v)", first, found, last, foundLast)
	}
	if _, found := e.FirstAnswer(time.Hour, 2*time.Hour); found {
		t.Error("an answer from the future")
	}
}
