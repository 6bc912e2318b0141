package probe

import (
	"slices"
	"time"
)

// Sample is one probe.
type Sample struct {
	At      time.Duration // its intended start
	Done    time.Duration // when it was answered, or given up
	Finding Finding
}

// Outcome is when the expectation came true. Times count from the beginning of the run, as those of the samples.
type Outcome struct {
	Before bool          // it was met before the change began, so that First says nothing
	Met    bool          // it was met after the change began
	First  time.Duration // the intended start of the first probe that met it
	Stable time.Duration // that of the first one after which none violated it
	Flaps  int           // how often it was violated again after it had been met
	Held   bool          // there is such a probe
}

// NewOutcome looks at the probes of one change, which began at that time. It sorts the samples.
func NewOutcome(samples []Sample, began time.Duration) Outcome {
	slices.SortFunc(samples, func(a, b Sample) int { return int(a.At - b.At) })
	var o Outcome
	last := Neutral
	for _, s := range samples {
		switch {
		case s.At < began:
			// What was asked before and answered after says nothing of either.
			o.Before = o.Before || s.Finding == Met && s.Done < began
			continue
		case s.Finding == Met && !o.Met:
			o.Met, o.First = true, s.At
		}
		switch {
		case s.Finding == Met && !o.Held:
			o.Held, o.Stable = true, s.At
		case s.Finding == Violated:
			o.Held = false
			if last == Met {
				o.Flaps++
			}
		}
		if s.Finding != Neutral {
			last = s.Finding
		}
	}
	return o
}
