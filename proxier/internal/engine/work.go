package engine

import (
	"sync/atomic"
	"time"
)

// Work is something that begins and ends again and again, and may hang. One goroutine does it, others may ask how long
// it has taken. The zero value rests.
type Work struct{ since atomic.Int64 } // in nanoseconds since 1970; 0 while it rests

func (w *Work) Begin(now time.Time) { w.since.Store(now.UnixNano()) }
func (w *Work) End()                { w.since.Store(0) }

// Lasts returns how long it has gone on, 0 while it rests.
func (w *Work) Lasts(now time.Time) time.Duration {
	since := w.since.Load()
	if since == 0 {
		return 0
	}
	return now.Sub(time.Unix(0, since))
}
