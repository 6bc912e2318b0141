package engine

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// auditor makes audits beside the passes, one round after the other: it has a Reader read the kernel, in a goroutine of
// its own, and compares what it has read. What it finds is a value, the drift; to repair it is the Engine's. A round is
// of the whole kernel when its time has come, and of parts when somebody wants them to be looked at.
type auditor struct {
	engine *Engine
	period time.Duration // 0 is never
	// work goes on while the kernel is read.
	work *Stopwatch
	// round is nil while there is none.
	round   *round
	ask     chan dataplane.Parts
	results chan reading
	// read has an element when there is a result.
	read chan struct{}
	// began is when the last round began, due when the next one of all begins, while none reads.
	began, due time.Time
	// wanted are parts that are to be looked at before that, from soon on.
	wanted dataplane.Parts
	soon   time.Time
	// all says that all is to be looked at before that, from until on.
	all   bool
	until time.Time
	// ahead says that the reading of all is ahead of its time.
	ahead bool
	// reading are the parts that are being read.
	reading dataplane.Parts
	// spent returns what the calling thread has taken of the processor so far, and the programs of this process.
	spent func() (thread, programs time.Duration)
	// cost is called with what each reading took; nil is not called.
	cost func(AuditCost)
	// again is how long after a failure the next try comes; failures counts those in a row.
	again    time.Duration
	failures int
}

// reading is what came of one.
type reading struct {
	seen dataplane.Summary
	err  error
	cost AuditCost
}

// AuditCost is the processor time of a reading, and that of the programs that it ran.
type AuditCost struct{ Thread, Programs time.Duration }

// Audits come each period, and more often where a thousandth of a core is enough for it; but not more often than each
// sparingPeriod. Where they take more than a hundredth of a core each period, they come less often. Half of each part
// is for the reading, whose cost is known: to compare what was read and to collect what is left of it takes the loop
// and the collector as long again (2.6 s for 1.35 s of reading, of 10,000 Services in User-Mode Linux:
// docs/benchmarking.md). Periods below sparingPeriod are kept: an operator who sets one has reasons.
const (
	auditPart     = 200
	thriftyPart   = 2000
	sparingPeriod = 30 * time.Second
)

// partsRest is how long parts are not read again; it is longer where reading them takes more than half a percent of it.
// So a program that changes the node all the time does not have it read all the time.
const partsRest = time.Second

// newAuditor starts the goroutine, which opens the Reader when it needs one. It ends with close, as soon as the kernel
// lets it.
func newAuditor(
	e *Engine, open func() (dataplane.Reader, error), period time.Duration, work *Stopwatch,
	spent func() (thread, programs time.Duration),
) *auditor {
	a := &auditor{
		engine: e, period: period, work: work, due: time.Now().Add(min(period, sparingPeriod)), soon: time.Now(),
		until: time.Now(), spent: spent,
		ask: make(chan dataplane.Parts, 1), results: make(chan reading, 1), read: make(chan struct{}, 1),
	}
	go a.answer(open)
	return a
}

// answer reads the kernel at each request of the loop.
func (a *auditor) answer(open func() (dataplane.Reader, error)) {
	var reader dataplane.Reader
	defer func() {
		if reader != nil {
			reader.Close()
		}
	}()
	for parts := range a.ask {
		var r reading
		if reader == nil {
			reader, r.err = open()
		}
		if r.err == nil {
			thread, programs := a.spent()
			r.seen, r.err = reader.Summarize(parts)
			r.cost.Thread, r.cost.Programs = a.spent()
			r.cost.Thread -= thread
			r.cost.Programs -= programs
		} else {
			reader = nil
		}
		a.results <- r
		a.read <- struct{}{}
	}
}

// close ends the goroutine. It is called once, and nothing after it.
func (a *auditor) close() { close(a.ask) }

// next returns when a round is to begin; the zero time when none is, because audits are off or one is reading.
func (a *auditor) next() time.Time {
	switch {
	case a.period <= 0 || a.reading != 0:
		return time.Time{}
	case a.wanted != 0:
		return sooner(a.dueOfAll(), a.soon)
	}
	return a.dueOfAll()
}

// dueOfAll returns when all is to be read.
func (a *auditor) dueOfAll() time.Time {
	if a.all {
		return sooner(a.due, a.until)
	}
	return a.due
}

// want has these parts looked at as soon as may be.
func (a *auditor) want(parts dataplane.Parts) {
	if parts = parts.Complete(); parts == dataplane.AllParts {
		a.all = true
		return
	}
	a.wanted |= parts
}

// start starts a round when one is due, and reports whether it did.
func (a *auditor) start(now time.Time) bool {
	if due := a.next(); due.IsZero() || now.Before(due) {
		return false
	}
	parts := a.wanted
	if !now.Before(a.dueOfAll()) {
		a.ahead = now.Before(a.due)
		parts, a.due = dataplane.AllParts, now.Add(min(a.period, sparingPeriod))
	}
	a.began, a.soon, a.until = now, now.Add(partsRest), later(a.until, now.Add(partsRest))
	if a.engine.have == nil || a.engine.starting {
		// Passes try to read the kernel as long as they have not; before all Services were looked at, nothing can be
		// said to be too much.
		return false
	}
	a.drop()
	a.round = a.engine.newRound()
	a.reading, a.wanted = parts, 0
	if parts == dataplane.AllParts {
		a.all = false
	}
	a.work.Start(now)
	a.ask <- parts
	return true
}

// drop ends the round.
func (a *auditor) drop() {
	if a.round != nil {
		a.round.end()
		a.round = nil
	}
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

// ready is ready while there is something to do: a reading that has ended, or a piece to compare. Where changes are
// ready, too, it is left to chance what comes first: neither keeps the other waiting for long.
func (a *auditor) ready() <-chan struct{} {
	if a.round.comparing() {
		return always
	}
	return a.read
}

// step does what there is to do, which takes no longer than a piece. done says that a pass is due: it repairs what was
// found, or reports that the kernel cannot be read, and nothing is found.
func (a *auditor) step(now time.Time) (found *drift, done bool) {
	if a.round.comparing() {
		if found = a.round.step(); found == nil {
			return nil, false
		}
		a.round = nil
		if parts := found.seen.Parts; parts != dataplane.AllParts && (found.void || found.left) {
			a.want(parts) // nobody else may look at them for long
		}
		return found, true
	}
	select {
	case r := <-a.results:
		return nil, a.record(now, r)
	default:
		return nil, false
	}
}

// record records the end of a reading, and reports whether a pass is to report that it failed.
func (a *auditor) record(now time.Time, r reading) bool {
	parts := a.reading
	err := a.ended(now, r)
	switch {
	case a.round == nil || a.round.touches.over:
		a.drop() // it does not matter any more what was seen
		return err != nil
	case r.err != nil:
		a.drop()
		if err != nil {
			a.engine.unread = fmt.Errorf("read the kernel: %w", err)
		}
		return err != nil
	}
	a.engine.unread = nil
	if a.round.isVoid() {
		a.drop()
		if parts != dataplane.AllParts {
			a.want(parts)
		}
		return false
	}
	a.round.startComparing(r.seen)
	return false
}

// ended records when a reading has ended and what it has cost, and returns the error to report.
func (a *auditor) ended(now time.Time, r reading) error {
	parts := a.reading
	a.reading = 0
	a.work.Stop()
	if a.cost != nil {
		a.cost(r.cost)
	}
	cost := r.cost.Thread + r.cost.Programs
	if parts == dataplane.AllParts {
		a.due = a.began.Add(a.pause(cost))
		if a.ahead {
			a.until = later(a.until, a.began.Add(auditPart*cost))
		}
	} else {
		a.soon = later(a.soon, a.began.Add(auditPart*cost))
	}
	if r.err == nil {
		a.again, a.failures = 0, 0
		return nil
	}
	a.failures++
	a.again = min(max(2*a.again, readAgain), readAgainMax, a.period)
	if parts == dataplane.AllParts {
		a.due = now.Add(a.again)
	} else {
		a.want(parts)
		a.soon = later(a.soon, now.Add(a.again))
	}
	if errors.Is(r.err, syscall.EINTR) && a.failures < tooFast {
		return nil
	}
	return r.err
}

// pause returns the time between the beginnings of two audits whose reading costs that much.
func (a *auditor) pause(cost time.Duration) time.Duration {
	if a.period < sparingPeriod {
		return a.period
	}
	return max(sparingPeriod, min(thriftyPart*cost, a.period), auditPart*cost)
}

func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
