package observe

import "time"

// The least time between two readings of the kernel that somebody's question brings about, and how many times as long
// as a reading took the next one waits: it goes through whole tables.
const (
	sparingRest   = 5 * time.Second
	sparingFactor = 200
)

// sparing has the kernel read when somebody asks, and not more often than is cheap: half a percent of a processor at
// most. Its owner locks it.
type sparing struct {
	now  func() time.Time
	next time.Time // not read again before
}

// read calls f, unless it is too soon after the last time.
func (s *sparing) read(f func()) {
	began := s.now()
	if began.Before(s.next) {
		return
	}
	f()
	ended := s.now()
	s.next = ended.Add(max(sparingRest, sparingFactor*ended.Sub(began)))
}
