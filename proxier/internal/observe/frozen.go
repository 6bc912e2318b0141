package observe

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/freeze"
)

// frozenReason is why /readyz is bad in a freeze: the node does not follow the API.
func frozenReason(f freeze.State) string {
	return "frozen " + f.String() + ": ipvs-proxier freeze off ends it"
}

// setFrozenVerdict writes the verdict in a freeze. To be frozen is nothing wrong by itself, and what waits for the end
// is what the operator wants. What the kernel lacks, and what else is wrong, is.
func (s *Status) setFrozenVerdict() {
	frozen, reason := "FROZEN "+s.Frozen.String()+": ", frozenReason(*s.Frozen)
	other := *s
	other.Frozen, other.Unready = nil, nil
	for _, why := range s.Unready {
		if why != reason {
			other.Unready = append(other.Unready, why)
		}
	}
	other.setVerdict()
	s.Wrong = other.Wrong
	switch {
	case s.LastPass.IsZero():
		s.Verdict = frozen + "nothing has been written since the start"
	case other.Differences > 0:
		s.Verdict = frozen + many(s.Differences, "object is", "objects are") +
			" in the kernel not as wanted when it began, and stay so until it ends"
	case other.Wrong:
		s.Verdict = frozen + other.Verdict
	default:
		s.Verdict = frozen + "the kernel holds what was wanted when it began"
	}
	if s.Waiting > 0 {
		s.Verdict += fmt.Sprintf("; changes of %s wait", many(s.Waiting, "Service", "Services"))
	}
}

// NewFrozenUntil is the metric of the freeze.
func NewFrozenUntil(state func() freeze.State) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ipvs_proxier_frozen_until_timestamp_seconds",
		Help: "Until when nothing is written to the kernel because an operator asked for it, in seconds since 1970; 0 while it is written.",
	}, func() float64 {
		until := state().Until
		if until.IsZero() {
			return 0
		}
		return float64(until.UnixMilli()) / 1000
	})
}
