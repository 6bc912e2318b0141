package engine

import (
	"errors"
	"syscall"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// auditor has a Reader read the kernel from time to time, in a goroutine of its own.
type auditor struct {
	period time.Duration // 0 is never
	// work goes on while the kernel is read.
	work *Work
	ask  chan *round
	told chan told
	// began is when the last round began, due when the next one begins, while none reads.
	began, due time.Time
	reading    bool
	// spent returns what the calling thread has taken of the processor so far, and the programs of this process.
	spent func() (thread, programs time.Duration)
	// cost is told of each reading; nil is nobody.
	cost func(AuditCost)
	// again is how long after a failure the next try comes; failures counts those in a row.
	again    time.Duration
	failures int
}

// told is what came of a reading.
type told struct {
	of   *round
	seen dataplane.Summary
	err  error
	cost AuditCost
}

// AuditCost is the processor time of a reading, and that of the programs that it ran.
type AuditCost struct{ Thread, Programs time.Duration }

// Of a core audits take a hundredth at the most: where they cost more than that each period, they come less often. Half
// of it is for the reading, whose cost is known: to compare what was read and to collect what is left of it takes the
// loop and the collector as long again (2.6 s for 1.35 s of reading, of 10,000 Services in User-Mode Linux:
// docs/benchmarking.md). Periods below the default one are kept: who asks for one has reasons.
const (
	auditPart     = 200
	sparingPeriod = 30 * time.Second
)

// newAuditor starts the goroutine, which opens the Reader when it needs one. It ends with close, as soon as the kernel
// lets it.
func newAuditor(open func() (dataplane.Reader, error), period time.Duration, reading *Work, spent func() (thread, programs time.Duration)) *auditor {
	a := &auditor{period: period, work: reading, ask: make(chan *round, 1), told: make(chan told, 1), due: time.Now().Add(period), spent: spent}
	go a.read(open)
	return a
}

func (a *auditor) read(open func() (dataplane.Reader, error)) {
	var reader dataplane.Reader
	defer func() {
		if reader != nil {
			reader.Close()
		}
	}()
	for of := range a.ask {
		if reader == nil {
			opened, err := open()
			if err != nil {
				a.told <- told{of: of, err: err}
				continue
			}
			reader = opened
		}
		thread, programs := a.spent()
		seen, err := reader.Summarize()
		t := told{of: of, seen: seen, err: err}
		t.cost.Thread, t.cost.Programs = a.spent()
		t.cost.Thread -= thread
		t.cost.Programs -= programs
		a.told <- t
	}
}

// close ends the goroutine. It is called once, and nothing after it.
func (a *auditor) close() { close(a.ask) }

// next returns when a round is to begin; the zero time when none is, because audits are off or one is reading.
func (a *auditor) next() time.Time {
	if a.period <= 0 || a.reading {
		return time.Time{}
	}
	return a.due
}

// begin begins a round when it is due, and tells whether it did.
func (a *auditor) begin(now time.Time, e *Engine) bool {
	if due := a.next(); due.IsZero() || now.Before(due) {
		return false
	}
	a.began, a.due = now, now.Add(a.period)
	if e.have == nil || e.starting {
		// Passes try to read the kernel as long as they have not; before all Services were looked at, nothing can be said to
		// be too much.
		return false
	}
	e.beginRound()
	a.reading = true
	a.work.Begin(now)
	a.ask <- e.round
	return true
}

// The times between tries to read a kernel that cannot be read, and how often in a row it may change too fast for that
// before it is an error.
const (
	readAgain    = time.Second
	readAgainMax = 30 * time.Second
	tooFast      = 5
)

// always is ready at any time.
var always = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// more is ready while there is something to compare. Where changes are ready, too, it is left to chance what comes
// first: neither keeps the other waiting for long.
func (a *auditor) more(e *Engine) <-chan struct{} {
	if e.round.judging() {
		return always
	}
	return nil
}

// ended takes note of the end of a reading, and returns the error that it is to be called.
func (a *auditor) ended(now time.Time, t told) error {
	a.reading = false
	a.work.End()
	if a.cost != nil {
		a.cost(t.cost)
	}
	if sparing := a.began.Add(auditPart * (t.cost.Thread + t.cost.Programs)); a.period >= sparingPeriod && sparing.After(a.due) {
		a.due = sparing
	}
	if t.err == nil {
		a.again, a.failures = 0, 0
		return nil
	}
	a.failures++
	a.again = min(max(2*a.again, readAgain), readAgainMax, a.period)
	a.due = now.Add(a.again)
	if errors.Is(t.err, syscall.EINTR) && a.failures < tooFast {
		return nil
	}
	return t.err
}
