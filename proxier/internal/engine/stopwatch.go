package engine

import (
	"sync/atomic"
	"time"
)

// Stopwatch times work that may hang. One goroutine does the work, others may ask how long it has taken. The zero value
// is stopped.
type Stopwatch struct{ since atomic.Int64 } // in nanoseconds since 1970; 0 while it is stopped

// Start notes that work begins, Stop that it has ended.

func (w *Stopwatch) Start(now time.Time) { w.since.Store(now.UnixNano()) }
func (w *Stopwatch) Stop()               { w.since.Store(0) }

// Elapsed returns how long the work has gone on, 0 while the watch is stopped.
func (w *Stopwatch) Elapsed(now time.Time) time.Duration {
	since := w.since.Load()
	if since == 0 {
		return 0
	}
	return now.Sub(time.Unix(0, since))
}
