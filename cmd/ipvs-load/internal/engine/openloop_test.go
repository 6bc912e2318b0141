package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// echoToken answers a request line as web would.
func echoToken(c net.Conn, line string) {
	fmt.Fprintf(c, "ipvs-load/1 id=web client=127.0.0.1:1 token=%s\n",
		strings.TrimSpace(strings.TrimPrefix(line, "ipvs-load/1 ")))
}

// A server that gives no answer from s to e delays every request whose intended start t lies in between to at least e,
// so its latency is at least e-t. At rate R there are about R*(e-s) of them, 1/R apart: the i-th largest latency (from
// 0) is at least (e-s) - (i+1)/R. The percentile p of N requests has fewer than (1-p)*N+1 above it, so
//
//	p99 >= (e-s) - (0.01*N+2)/R
//
// and 2 s at 500/s with a stall of 1 s give p99 >= 0.976 s. That holds on any machine: whatever else slows the run can
// only add to a latency. A closed loop would see one slow request in a thousand, and a p99 of microseconds.
func TestCoordinatedOmission(t *testing.T) {
	const (
		rate  = 500.0
		count = 1000
		stall = time.Second
	)
	var (
		seen       atomic.Int64
		once       sync.Once
		began, end time.Time
		over       = make(chan struct{})
	)
	server := lineServer(t, func(c *net.TCPConn, line string) {
		// Request 250 of 1000, at about 0.5 s, makes the server stand still; no later one is answered before.
		if seen.Add(1) >= 250 {
			once.Do(func() {
				began = time.Now()
				time.AfterFunc(stall, func() { end = time.Now(); close(over) })
			})
			<-over
		}
		echoToken(c, line)
		_, _ = io.Copy(io.Discard, c)
	})
	c := config(CRR, count, server)
	c.Plan.Rate = rate
	c.ConnectionsMax = 1000
	r := mustRun(t, c)
	wantKind(t, r, account.Answered, count)

	// A request can be on its way, and even accepted, before began; only those due after it count.
	<-over
	held := end.Sub(began)
	bound := held - time.Duration((math.Ceil(0.01*count)+2)/rate*float64(time.Second))
	if p99 := r.Tally.Latency.Percentile(99); p99 < bound-bound/1000 {
		t.Errorf("p99 is %v; the server stood still for %v, theory says at least %v", p99, held, bound)
	}
	// The first request due in the stall is due at most 1/R after its beginning.
	if longest := r.Tally.Latency.Max(); longest < held-time.Duration(2/rate*float64(time.Second)) {
		t.Errorf("the largest latency is %v, the stall was %v", longest, held)
	}
}

func TestRequestsBeyondTheLimitWaitAndTheWaitCounts(t *testing.T) {
	const limit = 5
	var open, most atomic.Int64
	full, release := make(chan struct{}), make(chan struct{})
	server := lineServer(t, func(c *net.TCPConn, line string) {
		n := open.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if n == limit {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		<-release
		open.Add(-1)
		echoToken(c, line)
		_, _ = io.Copy(io.Discard, c)
	})
	c := config(CRR, 100, server)
	c.ConnectionsMax = limit
	go func() {
		<-full
		// Hold until the whole schedule of 50 ms is due, so that all the others must have waited.
		time.AfterFunc(60*time.Millisecond, func() { close(release) })
	}()
	r := mustRun(t, c)
	wantKind(t, r, account.Answered, 100)
	if most.Load() > limit {
		t.Errorf("%d requests were open at once, the limit is %d", most.Load(), limit)
	}
	if r.Tally.LateStart < 100-limit || r.PeakBacklog < 100-limit {
		t.Errorf("late starts %d, peak backlog %d; want at least %d", r.Tally.LateStart, r.PeakBacklog, 100-limit)
	}
	// Start n of the waiting ones was due at n/2 ms and began after 60 ms: the least wait is that of the last.
	if lag := r.Tally.StartLag.Max(); lag < 55*time.Millisecond {
		t.Errorf("the largest start lag is %v, want at least 55 ms", lag)
	}
	if latency, service := r.Tally.Latency.Max(), r.Tally.Service.Percentile(50); latency < 55*time.Millisecond ||
		service > latency {
		t.Errorf("latency up to %v, half of the service times up to %v", latency, service)
	}
}

func TestWhatCannotBeStartedIsCountedAsUnsent(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	c := config(CRR, 0, tcpServer(t, func(*net.TCPConn) { <-hold }))
	c.Plan.Rate, c.Plan.Count, c.Plan.Duration = 1000, 0, 100*time.Millisecond
	c.ConnectionsMax, c.Timeout = 1, 60*time.Millisecond
	r := mustRun(t, c)
	timeouts, unsent := r.Tally.Kinds[account.Timeout], r.Tally.Kinds[account.Unsent]
	// One at a time for 60 ms each, and no start after 160 ms: at most three.
	if timeouts+unsent != 100 || timeouts < 1 || timeouts > 3 {
		t.Errorf("%d timeouts and %d unsent, want 1 to 3 and the rest of 100", timeouts, unsent)
	}
	if r.Tally.Latency.Count() != 100 || r.Tally.Service.Count() != timeouts {
		t.Errorf("%d latencies and %d service times", r.Tally.Latency.Count(), r.Tally.Service.Count())
	}
	if r.Tally.LateStart < unsent {
		t.Errorf("%d late starts, fewer than the %d unsent", r.Tally.LateStart, unsent)
	}
}

func TestAnInterruptedRunReturnsWhatItHas(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hold := make(chan struct{})
	defer close(hold)
	var seen atomic.Int64
	server := lineServer(t, func(c *net.TCPConn, line string) {
		if n := seen.Add(1); n > 10 {
			if n == 20 {
				cancel()
			}
			<-hold
			return
		}
		echoToken(c, line)
	})
	c := config(CRR, 0, server)
	c.Plan.Count, c.Plan.Duration, c.Plan.Rate, c.Plan.Workers = 0, time.Hour, 500, 2
	r, err := Run(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || r.Tally.Kinds[account.Answered] > 10 || r.Unfinished() < 10 {
		t.Errorf("interrupted %v, %d answered, %d unfinished; want true, at most 10, at least 10",
			r.Interrupted, r.Tally.Kinds[account.Answered], r.Unfinished())
	}
	if r.Planned != r.Tally.Requests()+r.Unfinished() || r.StoppedAt <= 0 || r.StoppedAt >= time.Hour {
		t.Errorf("planned %d, outcomes %d, stopped at %v", r.Planned, r.Tally.Requests(), r.StoppedAt)
	}
}

// TestWhatIsOpenAtTheEndIsWaitedFor: a run that gets Enough plans no more requests. It waits for the answers that are
// open, each for its timeout, and counts as timeouts those that do not come.
func TestWhatIsOpenAtTheEndIsWaitedFor(t *testing.T) {
	for _, closed := range []bool{false, true} {
		enough := make(chan struct{})
		hold := make(chan struct{})
		defer close(hold)
		var seen atomic.Int64
		server := lineServer(t, func(c *net.TCPConn, line string) {
			if n := seen.Add(1); n > 10 {
				if n == 20 {
					close(enough)
				}
				<-hold
				return
			}
			echoToken(c, line)
		})
		c := config(CRR, 0, server)
		c.Plan.Count, c.Plan.Duration, c.Plan.Rate, c.Plan.Workers = 0, time.Hour, 500, 2
		c.Timeout, c.Enough = time.Second, enough
		if closed {
			c.Plan.Rate, c.Plan.Closed = 0, true
		}
		r := mustRun(t, c)
		if answered, lost := r.Tally.Kinds[account.Answered], r.Tally.Kinds[account.Timeout]; answered != 10 || lost < 10 ||
			r.Planned != answered+lost {
			t.Errorf("closed %v: %d planned, %d answered, %d timeouts; want 10 answered, and all others, 10 or more, timeouts",
				closed, r.Planned, answered, lost)
		}
		if r.Window.To <= 0 || r.Window.To >= time.Minute {
			t.Errorf("closed %v: the window is said to have ended after %v", closed, r.Window.To)
		}
	}
}

// TestEnoughEndsASleepingRun: nobody waits for a start that is hours away.
func TestEnoughEndsASleepingRun(t *testing.T) {
	c := config(CRR, 0, serve(t, "web", "tcp://127.0.0.1:0")...)
	c.Plan.Count, c.Plan.Duration, c.Plan.Rate = 0, 24*time.Hour, 0.0001
	enough := make(chan struct{})
	c.Enough = enough
	live := make(chan Interval, 1)
	c.Live = live
	go func() {
		for i := range live {
			if i.Answered == 1 {
				close(enough)
				return
			}
		}
	}()
	wantKind(t, mustRun(t, c), account.Answered, 1)
}

func TestAnInterruptEndsASleepingRun(t *testing.T) {
	c := config(CRR, 0, serve(t, "web", "tcp://127.0.0.1:0")...)
	c.Plan.Count, c.Plan.Duration, c.Plan.Rate = 0, 24*time.Hour, 0.0001 // the second start is hours away
	ctx, cancel := context.WithCancel(t.Context())
	live := make(chan Interval, 1)
	c.Live = live
	go func() {
		for i := range live {
			if i.Answered == 1 {
				cancel()
				return
			}
		}
	}()
	r, err := Run(ctx, c)
	if err != nil || !r.Interrupted || r.Tally.Kinds[account.Answered] != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A listener whose queue of accepted connections is full drops SYNs, and the kernel's first retransmission comes 1 s
// later: the one bump that a load generator must not take for a slow server.
func TestALostSYNIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	setBacklog(t, l, 0)
	to := tcpTarget(t, l.Addr())
	// Linux accepts backlog+1 connections into the queue, and drops the SYN of the next.
	fill, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer fill.Close()
	go func() {
		for !inSynSent(to) {
			time.Sleep(time.Millisecond)
		}
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if line, err := bufio.NewReader(c).ReadString('\n'); err == nil {
					echoToken(c, line)
					_, _ = io.Copy(io.Discard, c)
				}
			}()
		}
	}()
	c := config(CRR, 1, to)
	r := mustRun(t, c)
	wantKind(t, r, account.Answered, 1)
	if bumps := r.Tally.Syn.OneSecond + r.Tally.Syn.ThreeSeconds; bumps != 1 {
		t.Errorf("bumps %+v after a connect time of %v", r.Tally.Syn, r.Tally.Connect.Max())
	}
	if r.Tally.Connect.Max() < 900*time.Millisecond {
		t.Errorf("connected after %v, before the kernel sends a SYN again", r.Tally.Connect.Max())
	}
}

// inSynSent says whether a connection to the target has sent its SYN and waits: state 02 of /proc/net/tcp.
func inSynSent(to target.Target) bool {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false
	}
	want := fmt.Sprintf(" 0100007F:%04X 02 ", to.Addr.Port())
	return strings.Contains(string(table), want)
}
