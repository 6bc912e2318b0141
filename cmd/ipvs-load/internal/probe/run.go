// Package probe measures network programming latency from outside: it changes something and asks, a thousand times a
// second, from when on the change can be seen.
package probe

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/churn"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/engine"
)

// Config is one measurement.
type Config struct {
	Load    engine.Config // open loop; its window bounds the measurement
	Change  string        // command
	Expect  Expectation
	Settle  time.Duration // for this long nothing may violate the expectation; longer than the load's timeout
	Limit   time.Duration // after the change it is given up
	Lead    time.Duration // of probes before the change, which show that the expectation was not met already
	Command io.Writer     // receives what the command prints
}

// Measurement is one change. Latencies count from the beginning and from the end of the command; they are of the
// probes' intended starts, so their resolution is the probes' distance, and worse by the client's jitter.
type Measurement struct {
	Command time.Duration // how long the command took
	Outcome
	Probes     int
	Resolution time.Duration
	Jitter     time.Duration
	Began      time.Duration // of the command, on the clock of Outcome
}

// FromBegin is a time of the outcome as the latency since the command began, FromEnd since it ended; the latter is
// negative when the change was seen before.
func (m *Measurement) FromBegin(at time.Duration) time.Duration { return at - m.Began }

// FromEnd is described at FromBegin.
func (m *Measurement) FromEnd(at time.Duration) time.Duration { return at - m.Began - m.Command }

// Run changes and measures. The error is that of the command or of the instrument; an expectation that is never met is
// a result.
func Run(ctx context.Context, c Config) (*Measurement, error) {
	if c.Settle <= c.Load.Timeout {
		return nil, fmt.Errorf("settle %v is out of range; allowed is more than the timeout of a probe, which is %v",
			c.Settle, c.Load.Timeout)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	r := &run{config: &c}
	commanded := make(chan struct{})
	c.Load.Trace = r.trace
	c.Load.Ready = func(zero time.Time) { // without a warm-up the window begins with the run
		r.zero = zero
		go func() {
			defer close(commanded)
			r.change(running)
			r.settle(running)
			stop()
		}()
	}
	result, err := engine.Run(running, c.Load)
	stop()
	if r.zero.IsZero() {
		return nil, err
	}
	<-commanded
	if err == nil {
		err = r.failed
	}
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &Measurement{
		Command: r.ended - r.began, Began: r.began, Outcome: NewOutcome(r.samples, r.began), Probes: len(r.samples),
		Resolution: time.Duration(float64(time.Second) / c.Load.Plan.Rate), Jitter: result.Self.Jitter(),
	}
	return m, ctx.Err()
}

type run struct {
	config *Config
	zero   time.Time

	mu           sync.Mutex
	samples      []Sample
	lastViolated time.Duration
	met          bool
	began, ended time.Duration
	failed       error
}

func (r *run) now() time.Duration { return time.Since(r.zero) }

func (r *run) trace(_ int, o *account.Outcome) {
	s := Sample{o.Intended, o.Finished, r.config.Expect.Find(o.Kind, string(o.ID))}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples = append(r.samples, s)
	switch s.Finding {
	case Violated:
		r.lastViolated = max(r.lastViolated, s.At)
	case Met:
		r.met = true
	}
}

func (r *run) change(ctx context.Context) {
	churn.Wait(ctx, time.Until(r.zero.Add(r.config.Lead)))
	began := r.now()
	err := churn.Run(ctx, r.config.Change, r.config.Command)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began, r.ended = began, r.now()
	if err != nil {
		r.failed = fmt.Errorf("the change: %w", err)
	}
}

// settle waits until the expectation has held for long enough, or the run ends.
func (r *run) settle(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		quiet := max(r.lastViolated, r.ended) + r.config.Settle
		over := r.failed != nil || r.met && r.now() >= quiet || r.now() >= r.ended+r.config.Limit+r.config.Settle
		r.mu.Unlock()
		if over {
			return
		}
		churn.Wait(ctx, 20*time.Millisecond)
	}
}
