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

// The client could not carry a run when more than clientLimit of its requests were not sent. So it is when that many,
// and the requests of clientLag, were not started when the window ended.
const (
	clientLimit = 0.01
	clientLag   = 0.1 // seconds
)

// Verdict is what the exit status means, in one sentence.
type Verdict struct {
	ExitStatus int    `json:"exit_status"`
	Text       string `json:"text"`
}

// judge looks at what was measured; an interrupted run is judged by what it got done.
func (p *Report) judge() Verdict {
	r := p.Requests
	unsent := p.Errors[account.NoLocalPort.String()] + p.Errors[account.Unsent.String()]
	late := p.Backlog.AtEnd + p.Errors[account.NoLocalPort.String()]
	tooMany := clientLimit * float64(r.Planned)
	switch {
	case r.Answered == 0 && r.Errors > 0 && p.Errors[account.Refused.String()] == r.Errors:
		return Verdict{ExitRefused, "every request was refused: the Service has no endpoints, or nothing listens at the target"}
	case r.Answered == 0:
		return Verdict{ExitUnreachable, "not a single request was answered: the target is not reachable from here, or does not answer"}
	case float64(unsent) > tooMany, float64(late) > max(tooMany, clientLag*p.Rate.Offered):
		return Verdict{
			ExitClientLimit,
			fmt.Sprintf("the client could not keep the rate: %d of %d requests were started after the window or not at all; the warnings say what it lacked", late, r.Planned),
		}
	case r.ErrorRatio > p.Settings.MaxErrorRatio:
		return Verdict{ExitErrors, fmt.Sprintf("%s of the requests failed, allowed is %s",
			percent(r.ErrorRatio), percent(p.Settings.MaxErrorRatio))}
	}
	if c := p.Connections; c != nil && float64(c.Lost) > p.Settings.MaxErrorRatio*float64(c.Held) {
		return Verdict{ExitErrors, fmt.Sprintf("%d of %d held connections were lost", c.Lost, c.Held)}
	}
	for _, e := range p.Events {
		if e.Failure != "" {
			return Verdict{ExitErrors, fmt.Sprintf("event %s failed: %s", e.Name, e.Failure)}
		}
	}
	if r.Errors > 0 {
		return Verdict{ExitFine, fmt.Sprintf("fine: %s of the requests failed, allowed is %s",
			percent(r.ErrorRatio), percent(p.Settings.MaxErrorRatio))}
	}
	return Verdict{ExitFine, "fine: no request failed"}
}

// ExitStatus is that of the verdict.
func (p *Report) ExitStatus() int { return p.Verdict.ExitStatus }
