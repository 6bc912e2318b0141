package probe

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

func TestWhatEachExpectationSays(t *testing.T) {
	for expectation, want := range map[string][4]Finding{
		//                 an answer of a, of b, refused, timeout
		"answered":       {Met, Met, Violated, Violated},
		"refused":        {Violated, Violated, Met, Violated},
		"endpoint=a":     {Met, Neutral, Violated, Violated},
		"not-endpoint=a": {Violated, Met, Violated, Violated},
	} {
		e, err := ParseExpectation(expectation)
		if err != nil || e.String() != expectation {
			t.Fatalf("%s: %v, %s", expectation, err, e)
		}
		got := [4]Finding{e.Find(account.Answered, "a"), e.Find(account.Answered, "b"), e.Find(account.Refused,
			""), e.Find(account.Timeout, "")}
		if got != want {
			t.Errorf("%s: %v, want %v", expectation, got, want)
		}
	}
	for _, s := range []string{"", "up", "answered=a", "endpoint", "endpoint=", "endpoint=a b", "not-endpoint"} {
		if _, err := ParseExpectation(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

// A course is one letter a probe: m met, v violated, n neutral; the bar is the beginning of the change.
func TestNewOutcome(t *testing.T) {
	for course, want := range map[string]Outcome{
		"vv|vvmmm":   {Met: true, First: 4, Stable: 4, Held: true},
		"vv|mmm":     {Met: true, First: 2, Stable: 2, Held: true},
		"vv|vmvmvmm": {Met: true, First: 3, Stable: 7, Held: true, Flaps: 2},
		"vv|vnnmnnm": {Met: true, First: 5, Stable: 5, Held: true},
		"vv|vmnvnm":  {Met: true, First: 3, Stable: 7, Held: true, Flaps: 1},
		"vv|vmmv":    {Met: true, First: 3, Stable: 3, Flaps: 1},
		"vv|vvv":     {},
		"vv|nnn":     {},
		"mm|mmm":     {Before: true, Met: true, First: 2, Stable: 2, Held: true},
		"vm|vvm":     {Before: true, Met: true, First: 4, Stable: 4, Held: true},
		"|":          {},
	} {
		before, after, _ := strings.Cut(course, "|")
		var samples []Sample
		for i, c := range before + after {
			samples = append(
				samples, Sample{time.Duration(i), time.Duration(i), map[rune]Finding{'m': Met, 'v': Violated, 'n': Neutral}[c]},
			)
		}
		// Outcomes come as they please.
		for i := range samples {
			j := i * 7 % len(samples)
			samples[i], samples[j] = samples[j], samples[i]
		}
		got := NewOutcome(samples, time.Duration(len(before)))
		if !got.Held {
			want.Stable, got.Stable = 0, 0
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", course, d)
		}
	}
}

// service answers with the name that the test stores.
func service(t *testing.T) (target.Target, *atomic.Value) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var id atomic.Value
	id.Store("old")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				line, err := bufio.NewReader(c).ReadString('\n')
				if err == nil {
					fmt.Fprintf(c, "ipvs-load/1 id=%s client=127.0.0.1:1 token=%s\n",
						id.Load(), strings.TrimSpace(strings.TrimPrefix(line, "ipvs-load/1 ")))
				}
			}()
		}
	}()
	return target.Target{Protocol: target.TCP, Addr: l.Addr().(*net.TCPAddr).AddrPort()}, &id
}

func config(to target.Target, change, expect string) Config {
	e, err := ParseExpectation(expect)
	if err != nil {
		panic(err)
	}
	return Config{
		Load: engine.Config{
			Mode: engine.CRR, Targets: []target.Target{to}, Timeout: 200 * time.Millisecond, ConnectionsMax: 100,
			UDPPort: engine.Rotate, Close: engine.Reset,
			Plan: schedule.Plan{Rate: 200, Duration: time.Minute, Workers: 1},
		},
		Change: change, Expect: e, Settle: 300 * time.Millisecond, Limit: 5 * time.Second, Lead: 50 * time.Millisecond,
		Command: io.Discard,
	}
}

// lineWriter does something at the first line that a command prints.
type lineWriter func()

func (w lineWriter) Write(b []byte) (int, error) { w(); return len(b), nil }

func TestAChangeIsSeenWhenItComes(t *testing.T) {
	to, id := service(t)
	c := config(to, "echo now; sleep 0.05", "not-endpoint=old")
	var changed time.Time
	c.Command = lineWriter(func() { changed = time.Now(); id.Store("new") })
	m, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if !m.Met || !m.Held || m.Before || m.Flaps != 0 {
		t.Errorf("%+v", m)
	}
	if m.FromBegin(m.First) < 0 || m.Command < 50*time.Millisecond || changed.IsZero() ||
		m.FromBegin(m.Stable) != m.FromEnd(m.Stable)+m.Command {
		t.Errorf("first after %v, the command took %v", m.FromBegin(m.First), m.Command)
	}
}

func TestWhatNeverComesIsAResult(t *testing.T) {
	to, _ := service(t)
	c := config(to, "true", "endpoint=new")
	c.Limit = 100 * time.Millisecond
	m, err := Run(t.Context(), c)
	if err != nil || m.Met || m.Held || m.Probes == 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAChangeThatFailsIsNoMeasurement(t *testing.T) {
	to, _ := service(t)
	if _, err := Run(t.Context(), config(to, "echo no such thing; exit 4", "answered")); err == nil ||
		err.Error() != "the change: exit status 4: no such thing" {
		t.Errorf("%v", err)
	}
	c := config(to, "true", "answered")
	c.Settle = c.Load.Timeout
	if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "settle 200ms is out of range") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c = config(to, "echo begun; sleep 3600", "answered")
	c.Command = lineWriter(cancel)
	if _, err := Run(ctx, c); err == nil {
		t.Error("an interrupted measurement is taken for one")
	}
}

// TestAProbeOnItsWay: a probe that was asked before the change and answered after it does not show that the change had
// come before it began.
func TestAProbeOnItsWay(t *testing.T) {
	o := NewOutcome(
		[]Sample{{At: 1, Done: 2, Finding: Violated}, {At: 3, Done: 6, Finding: Met}, {At: 5, Done: 7, Finding: Met}}, 4,
	)
	if o.Before || !o.Met || o.First != 5 {
		t.Errorf("%+v, want it first met at 5", o)
	}
	if o := NewOutcome([]Sample{{At: 1, Done: 2, Finding: Met}, {At: 5, Done: 7, Finding: Met}}, 4); !o.Before {
		t.Errorf("%+v, want it met before", o)
	}
}

// FuzzParseExpectation: what is taken is read again as it is written.
func FuzzParseExpectation(f *testing.F) {
	for _, s := range []string{
		"answered", "refused", "endpoint=a", "not-endpoint=b-1", "endpoint=", "answered=", "endpoint=a=b", "endpoint=\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseExpectation(s)
		if err != nil {
			return
		}
		if again, err := ParseExpectation(got.String()); err != nil || again != got || got.String() != s {
			t.Errorf("%q became %q, which became %v, %v", s, got, again, err)
		}
	})
}
