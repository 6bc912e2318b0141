package report

// Exit statuses of ipvs-load run. 2, wrong use, is given before there is a report.
const (
	ExitFine     = 0
	ExitErrors   = 1 // more errors than --max-error-ratio allows
	ExitNoAnswer = 3 // not a single request was answered
)

// ExitStatus judges the run by what it measured; an interrupted run is judged by what it got done.
func (p *Report) ExitStatus() int {
	switch {
	case p.Requests.Answered == 0:
		return ExitNoAnswer
	case p.Requests.ErrorRatio > p.Settings.MaxErrorRatio:
		return ExitErrors
	}
	return ExitFine
}
