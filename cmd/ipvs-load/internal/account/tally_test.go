package account

import (
	"fmt"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
)

const ms = time.Millisecond

func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	// Three significant digits are the histogram's promise, 64 ns its unit.
	if slack := want/1000 + 64; got < want-slack || got > want+slack {
		t.Errorf("%s is %v, want %v to three digits", what, got, want)
	}
}

func TestLatencyCountsFromTheIntendedStart(t *testing.T) {
	y := NewTally(Window{To: time.Second}, time.Second, 1)
	y.Record(&Outcome{
		Intended: 100 * ms, Started: 130 * ms, Connected: 131 * ms, Finished: 135 * ms, ID: []byte("a"),
		ClientIP: []byte("c"),
	})
	near(t, "latency", y.Latency.Max(), 35*ms)
	near(t, "service time", y.Service.Max(), 5*ms)
	near(t, "connect time", y.Connect.Max(), 1*ms)
	near(t, "start lag", y.StartLag.Max(), 30*ms)
}

func TestATimeoutCountsWithTheTimeout(t *testing.T) {
	y := NewTally(Window{To: time.Second}, 200*ms, 1)
	// The worker noticed 7 ms late; that is its affair, not the target's.
	y.Record(&Outcome{Kind: Timeout, Intended: 100 * ms, Started: 150 * ms, Finished: 357 * ms})
	near(t, "latency", y.Latency.Max(), 250*ms)
	near(t, "service time", y.Service.Max(), 200*ms)
	if y.AnsweredLatency.Count() != 0 || y.TimeoutsConnecting != 1 {
		t.Errorf("answered %d, timeouts while connecting %d; want 0 and 1", y.AnsweredLatency.Count(), y.TimeoutsConnecting)
	}
}

func TestAnUnsentRequestHasLatencyButNoServiceTime(t *testing.T) {
	y := NewTally(Window{To: time.Second}, 200*ms, 1)
	y.Record(&Outcome{Kind: Unsent, Intended: 100 * ms, Started: 1200 * ms, Finished: 1200 * ms})
	near(t, "latency", y.Latency.Max(), 1100*ms)
	if y.Service.Count() != 0 || y.LateStart != 1 || y.ErrorCount() != 1 {
		t.Errorf("service times %d, late starts %d, errors %d; want 0, 1, 1", y.Service.Count(), y.LateStart, y.ErrorCount())
	}
}

func TestTheWarmUpEntersNothingElse(t *testing.T) {
	y := NewTally(Window{From: 50 * ms, To: time.Second}, time.Second, 1)
	y.Record(&Outcome{Intended: 49 * ms, Started: 49 * ms, Finished: 60 * ms, ID: []byte("a"), ClientIP: []byte("c")})
	y.Record(&Outcome{Kind: Refused, Intended: 10 * ms, Started: 10 * ms, Finished: 11 * ms})
	y.Record(&Outcome{Intended: 50 * ms, Started: 50 * ms, Finished: 60 * ms, ID: []byte("a"), ClientIP: []byte("c")})
	if y.Requests() != 1 || y.Latency.Count() != 1 || y.Warmup != (Warmup{Requests: 2, Errors: 1}) {
		t.Errorf("%d requests, %d latencies, warm-up %+v", y.Requests(), y.Latency.Count(), y.Warmup)
	}
}

func TestAnswersAfterTheWindowAreNotAchievedInIt(t *testing.T) {
	y := NewTally(Window{To: time.Second}, time.Second, 1)
	for _, finished := range []time.Duration{999 * ms, time.Second, 1001 * ms} {
		y.Record(&Outcome{Intended: 998 * ms, Started: 998 * ms, Finished: finished, ID: []byte("a"), ClientIP: []byte("c")})
	}
	if y.InWindow != 1 || y.Kinds[Answered] != 3 {
		t.Errorf("%d of %d answers in the window, want 1 of 3", y.InWindow, y.Kinds[Answered])
	}
}

func TestSynRetransmissionsAreNamedByTheirBump(t *testing.T) {
	y := NewTally(Window{To: time.Minute}, 10*time.Second, 1)
	for _, connected := range []time.Duration{1001 * ms, 2999 * ms, 3001 * ms, 7 * time.Second} {
		y.Record(&Outcome{
			Connected: connected, Finished: connected + ms, SynRetransmits: 1, ID: []byte("a"), ClientIP: []byte("c"),
		})
	}
	y.Record(&Outcome{Kind: Timeout, Finished: 10 * time.Second, SynRetransmits: 3})
	y.Record(&Outcome{Connected: 1500 * ms, Finished: 1600 * ms, ID: []byte("a"), ClientIP: []byte("c")})
	if want := (SynDelays{OneSecond: 2, ThreeSeconds: 2, Never: 1}); y.Syn != want {
		t.Errorf("got %+v, want %+v: a slow connection without retransmission is no bump", y.Syn, want)
	}
}

func TestCountsAddUpAfterMerging(t *testing.T) {
	total := NewTally(Window{To: time.Hour}, time.Second, 2)
	for w := range 3 {
		y := NewTally(Window{To: time.Hour}, time.Second, 2)
		for i := range 1000 {
			o := Outcome{Target: i % 2, Finished: time.Duration(w*1000+i+1) * ms}
			if o.Kind = Kind(i % int(kinds)); o.Kind == Other {
				o.Text = fmt.Sprint("text ", i%100)
			}
			o.ID, o.ClientIP = fmt.Appendf(nil, "web-%d", i%7), fmt.Appendf(nil, "10.0.%d.%d", w, i%251)
			y.Record(&o)
		}
		total.Merge(y)
	}
	if total.Requests() != 3000 || total.Latency.Count() != 3000 {
		t.Errorf("%d requests, %d latencies; want 3000", total.Requests(), total.Latency.Count())
	}
	var answered, requests, texts int64
	for _, target := range total.Targets {
		requests += target.Requests
		for id, e := range target.Endpoints {
			clients := e.Beyond
			for _, n := range e.Clients {
				clients += *n
			}
			if clients != e.Answered || len(e.Clients) > MaxClients {
				t.Errorf("%s answered %d times, its clients add up to %d", id, e.Answered, clients)
			}
			answered += e.Answered
		}
	}
	for _, n := range total.OtherText {
		texts += n
	}
	if requests != 3000 || answered != total.Kinds[Answered] {
		t.Errorf("targets have %d requests and %d answers, the whole 3000 and %d", requests, answered, total.Kinds[Answered])
	}
	if texts != total.Kinds[Other] || len(total.OtherText) > maxTexts+1 {
		t.Errorf("%d texts in %d lines for %d other errors", texts, len(total.OtherText), total.Kinds[Other])
	}
	near(t, "the largest latency", total.Latency.Max(), 3*time.Second)
	near(t, "the smallest non-timeout latency", total.AnsweredLatency.Min(), ms)
}

func TestEndpointsBeyondTheBoundAreCountedTogether(t *testing.T) {
	y := NewTally(Window{To: time.Hour}, time.Second, 1)
	for i := range MaxEndpoints + 5 {
		y.Record(&Outcome{ID: fmt.Appendf(nil, "web-%d", i), ClientIP: []byte("c")})
	}
	if target := y.Targets[0]; len(target.Endpoints) != MaxEndpoints || target.Beyond != 5 {
		t.Errorf("%d endpoints and %d beyond", len(target.Endpoints), target.Beyond)
	}
}

// A server that answers at once but stands still for S during a run of T at rate R delays every request that is due
// while it stands: one due at offset t into the stall waits S-t. The share of requests with a latency above x is
// therefore (S-x)/T, and the percentile p is S - (1-p)*T. Here S = 1 s, T = 10 s, R = 1000/s: p99 = 0.9 s, p90 = 0.
// A tool that waits for each answer before it sends the next would see one slow request in ten thousand.
func TestCoordinatedOmissionOfAStall(t *testing.T) {
	const stall, begin = time.Second, 4 * time.Second
	plan := schedule.Plan{Rate: 1000, Duration: 10 * time.Second, Workers: 1}
	y := NewTally(Window{To: plan.Duration}, 5*time.Second, 1)
	for c := plan.Cursor(0); !c.Done(); c.Next() {
		finished := c.At() + 100*time.Microsecond
		if c.At() >= begin && c.At() < begin+stall {
			finished = begin + stall
		}
		y.Record(&Outcome{Intended: c.At(), Started: c.At(), Finished: finished, ID: []byte("a"), ClientIP: []byte("c")})
	}
	gap := time.Millisecond // one start more or less
	for percentile, want := range map[float64]time.Duration{99: 900 * ms, 95: 500 * ms, 91: 100 * ms, 99.9: 990 * ms} {
		if got := y.Latency.Percentile(percentile); got < want-gap-want/1000 || got > want+gap+want/1000 {
			t.Errorf("p%v is %v, theory says %v ± %v", percentile, got, want, gap)
		}
	}
	near(t, "p50", y.Latency.Percentile(50), 100*time.Microsecond)
	near(t, "the maximum", y.Latency.Max(), stall)
}

// The same stall under a client that can have one request open only: the lag of its starts carries the whole wait.
func TestABacklogIsChargedToLatencyNotToServiceTime(t *testing.T) {
	plan := schedule.Plan{Rate: 1000, Duration: 10 * time.Second, Workers: 1}
	y := NewTally(Window{To: plan.Duration}, 5*time.Second, 1)
	var free time.Duration
	slow := 0
	for c := plan.Cursor(0); !c.Done(); c.Next() {
		started := max(free, c.At())
		free = started + 100*time.Microsecond
		if c.At() == 4*time.Second {
			free = started + time.Second
			slow++
		}
		y.Record(&Outcome{Intended: c.At(), Started: started, Finished: free, ID: []byte("a"), ClientIP: []byte("c")})
	}
	// The backlog of 1000 drains at 10,000/s while 1000/s arrive: it is gone after 1/9 s, in which the wait falls from
	// 1 s to 0 over 1000*(1+1/9) requests. p99 of 10,000 is the 100th largest: 1 s - 100*0.9 ms = 0.91 s.
	if got := y.Latency.Percentile(99); got < 905*ms || got > 915*ms {
		t.Errorf("p99 of the latency is %v, theory says 910 ms", got)
	}
	near(t, "p99 of the service time", y.Service.Percentile(99), 100*time.Microsecond)
	if slow != 1 {
		t.Fatalf("the model stalled %d times", slow)
	}
}

func TestDistributionExtremesAreExact(t *testing.T) {
	d := NewDistribution()
	if d.Percentile(50) != 0 || d.Mean() != 0 {
		t.Error("an empty distribution has percentiles")
	}
	for _, v := range []time.Duration{123457, 1234567, 3 * highest} {
		d.Record(v)
	}
	if d.Min() != 123457 || d.Max() != 3*highest || d.Count() != 3 {
		t.Errorf("min %d, max %d, count %d", d.Min(), d.Max(), d.Count())
	}
	if d.Percentile(0) < 123457 || d.Percentile(100) > 3*highest {
		t.Errorf("percentiles exceed the extremes: %v, %v", d.Percentile(0), d.Percentile(100))
	}
}

func TestRecordingAllocatesNothing(t *testing.T) {
	y := NewTally(Window{To: time.Hour}, time.Second, 1)
	o := Outcome{Connected: 1, Finished: 2, ID: []byte("web-1"), ClientIP: []byte("10.0.0.1")}
	y.Record(&o)
	if n := testing.AllocsPerRun(100, func() { y.Record(&o) }); n != 0 {
		t.Errorf("Record allocates %v times", n)
	}
}
