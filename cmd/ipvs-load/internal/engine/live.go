package engine

import (
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

// liveEvery is how often a worker reports while it runs.
const liveEvery = time.Second

// Interval is what one worker did since its last report. It belongs to the receiver.
type Interval struct {
	Worker   int
	At       time.Duration // since the beginning of the run
	Answered int64
	Errors   int64
	InFlight int   // at this moment
	Backlog  int64 // at this moment
	Latency  *account.Distribution
}

// live gathers an Interval. A nil one does nothing: a run without a display pays a comparison.
type live struct {
	out    chan<- Interval
	worker int
	nextAt time.Duration
	now    Interval
}

func newLive(out chan<- Interval, worker int) *live {
	if out == nil {
		return nil
	}
	return &live{out: out, worker: worker, nextAt: liveEvery, now: Interval{Latency: account.NewDistribution()}}
}

func (l *live) record(kind account.Kind, latency time.Duration) {
	if l == nil {
		return
	}
	if kind == account.Answered {
		l.now.Answered++
	} else {
		l.now.Errors++
	}
	l.now.Latency.Record(latency)
}

func (l *live) publish(w *worker, now time.Duration) {
	if l == nil || now < l.nextAt {
		return
	}
	l.nextAt = now.Truncate(liveEvery) + liveEvery
	l.now.Worker, l.now.At, l.now.InFlight, l.now.Backlog = l.worker, now, w.slots.inUse, w.backlog()
	select {
	case l.out <- l.now:
		l.now = Interval{Latency: account.NewDistribution()}
	default:
	}
}
