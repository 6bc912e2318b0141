package observe

import "time"

// A reading of the kernel for a request goes through whole tables. sparingRest is the least time between the end of one
// and the start of the next; after a slow one it is sparingFactor times as long as that took.
const (
	sparingRest   = 5 * time.Second
	sparingFactor = 200
)

// sparing limits how often requests have the kernel read: to half a percent of a processor at most. Its owner locks it.
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
