package report

import (
	"fmt"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

// Exit statuses of a run. 2, wrong use, is given before there is a report.
const (
	ExitFine        = 0
	ExitErrors      = 1 // more errors than --max-error-ratio allows, a lost connection, an event that could not be done
	ExitUnreachable = 3 // nothing was answered
	ExitRefused     = 4 // nothing was answered, and everything that was sent was refused
	ExitClientLimit = 5 // the client could not keep the rate
)

// clientLimit is the share of requests that the client may start after the window, or not at all, before the run counts as
// one that it could not carry.
const clientLimit = 0.01

// Verdict is what the exit status means, in one sentence.
type Verdict struct {
	ExitStatus int    `json:"exit_status"`
	Text       string `json:"text"`
}

// judge looks at what was measured; an interrupted run is judged by what it got done.
func (p *Report) judge() Verdict {
	r := p.Requests
	late := p.Backlog.AtEnd + p.Errors[account.NoLocalPort.String()]
	switch {
	case r.Answered == 0 && r.Errors > 0 && p.Errors[account.Refused.String()] == r.Errors:
		return Verdict{ExitRefused, "every request was refused: the Service has no endpoints, or nothing listens at the target"}
	case r.Answered == 0:
		return Verdict{ExitUnreachable, "not a single request was answered: the target is not reachable from here, or does not answer"}
	case float64(late) > clientLimit*float64(r.Planned):
		return Verdict{ExitClientLimit, fmt.Sprintf("the client could not keep the rate: %d of %d requests were started after the window or not at all; the warnings say what it lacked", late, r.Planned)}
	case r.ErrorRatio > p.Settings.MaxErrorRatio:
		return Verdict{ExitErrors, fmt.Sprintf("%s of the requests failed, allowed is %s", percent(r.ErrorRatio), percent(p.Settings.MaxErrorRatio))}
	}
	if c := p.Connections; c != nil && float64(c.Lost) > p.Settings.MaxErrorRatio*float64(c.Held) {
		return Verdict{ExitErrors, fmt.Sprintf("%d of %d held connections were lost", c.Lost, c.Held)}
	}
	for _, e := range p.Events {
		if e.Failure != "" {
			return Verdict{ExitErrors, fmt.Sprintf("event %s failed: %s", e.Name, e.Failure)}
		}
	}
	return Verdict{ExitFine, "fine"}
}

// ExitStatus is that of the verdict.
func (p *Report) ExitStatus() int { return p.Verdict.ExitStatus }
