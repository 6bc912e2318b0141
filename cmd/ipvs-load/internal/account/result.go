package account

import "time"

// SelfCheck is what the instrument did to its own measurement.
type SelfCheck struct {
	Wake *Distribution // how late it woke for a start, of the wake-ups for which it slept
	Loop *Distribution // how long one turn of the loop took, for which a reply may have waited
	Busy time.Duration // not asleep, summed over the workers
	Ran  time.Duration // summed over the workers
}

// Result is everything that a run found out.
type Result struct {
	Began       time.Time
	Window      Window
	Tally       *Tally
	Planned     int64 // requests that were due in the window, or until the interruption
	PeakBacklog int64 // summed over the workers, each at its worst
	Interrupted bool
	StoppedAt   time.Duration // of an interrupted run
	Self        SelfCheck
}

// Unfinished is how many measured requests have no outcome, because the run was interrupted before.
func (r *Result) Unfinished() int64 { return r.Planned - r.Tally.Requests() }

// NewSelfCheck returns an empty one.
func NewSelfCheck() SelfCheck { return SelfCheck{Wake: NewDistribution(), Loop: NewDistribution()} }

// Merge adds what another worker observed of itself.
func (s *SelfCheck) Merge(o SelfCheck) {
	s.Wake.Merge(o.Wake)
	s.Loop.Merge(o.Loop)
	s.Busy += o.Busy
	s.Ran += o.Ran
}

// Jitter is the time below which this run cannot distinguish latencies: 99 of 100 starts were no later than this.
func (s *SelfCheck) Jitter() time.Duration { return s.Wake.Percentile(99) }
