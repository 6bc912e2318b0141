package engine

import (
	"context"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Observer sees the Report of every pass. It must not block.
type Observer interface{ Observe(Report) }

// Changes says which Services have changed.
type Changes interface {
	// WaitForSync waits until all that was there at the beginning is known, or ctx ends; then it returns false.
	WaitForSync(ctx context.Context) bool
	// Changed delivers something after there is something to Take.
	Changed() <-chan struct{}
	// Take returns what changed since the last call.
	Take() []cluster.Change
}

// Loop waits for reasons to make a pass.
type Loop struct {
	engine *Engine
	source Changes
	// work goes on in passes, and wherever else the loop asks the kernel.
	work      *Stopwatch
	observers []Observer
	audits    *auditor
	addresses *addressChanges
	ours      *addressChanges // what our link has lost, or what our routes led to
	// glances is when the next Glance at the kernel is due; the zero time is never. count is how many there were.
	glances  time.Time
	count    int
	link     chan struct{} // ours is gone
	compiled chan struct{} // something is, beside the passes
	// rest is the least time between the end of a pass and the start of one that changes ask for; ended is when the
	// last one ended, gathering says that changes wait.
	rest      time.Duration
	ended     time.Time
	gathering bool
	// waiting are changes that have not come to the kernel yet, because something of their Services failed.
	waiting map[cluster.Name]cluster.Change
	// outdated says what has changed that only a new start can take over; nil when nothing can.
	outdated func() error
	// freezes are requests to write nothing; frozen is until when that is so, the zero time when it is not. tellUntil
	// is [Config.TellFrozen].
	freezes   chan freezeRequest
	frozen    time.Time
	tellUntil func(time.Time)
	mirrors   chan mirrorRequest
	// begin is called once ahead of the first pass; nil is nothing.
	begin func() error
	// nameWriter finds out who undoes contested objects; named takes the answer, and asking says that it is on its way.
	nameWriter func(context.Context) Writer
	named      chan Writer
	asking     bool
}

// Writer is who else writes to this node's kernel.
type Writer struct {
	// Name is a clause of a sentence, such as "kube-proxy runs on this node (process 812)".
	Name string
	// Known is false where the clause says that nobody was found.
	Known bool
}

// Config is what a Loop goes by; all but Outdated, AuditCost and what is behind them is to be given.
type Config struct {
	Source    Changes
	Observers []Observer
	// Rest is the least time between the end of a pass and the start of one that changes ask for.
	Rest time.Duration
	// AuditPeriod is the time between audits; 0 is none but those that make everything wait.
	AuditPeriod time.Duration
	// OpenReader opens what audits read the kernel by. It is called in the goroutine, locked to no thread, that reads.
	OpenReader func() (dataplane.Reader, error)
	// ProcessorTime returns what the calling thread has taken of the processor so far, and the programs of this
	// process.
	ProcessorTime func() (thread, programs time.Duration)
	// AuditCost is called with what each reading took; nil is not called.
	AuditCost func(AuditCost)
	// Passing goes on while the loop is at work, Reading while an audit reads the kernel beside it.
	Passing, Reading *Stopwatch
	// Outdated says what has changed that only a new start can take over; nil where nothing can.
	Outdated func() error
	// Frozen is until when nothing is written to the kernel from the start on; the zero time is that it is.
	Frozen time.Time
	// TellFrozen, if not nil, is called in the loop's goroutine when it changes until when nothing is written; the zero
	// time is that the kernel is written again.
	TellFrozen func(until time.Time)
	// Begin is what writes to the kernel once, ahead of the first pass; its error ends Run. Nil is nothing.
	Begin func() error
	// NameWriter finds out who undoes contested objects. It is called in a goroutine of its own; nil is that nobody
	// knows.
	NameWriter func(context.Context) Writer
}

// NewLoop returns a loop that has not begun.
func NewLoop(e *Engine, c Config) *Loop {
	l := &Loop{
		engine: e, source: c.Source, work: c.Passing, observers: c.Observers, rest: c.Rest, outdated: c.Outdated,
		audits:    newAuditor(e, c.OpenReader, c.AuditPeriod, c.Reading, c.ProcessorTime),
		addresses: newAddressChanges(),
		ours:      newAddressChanges(),
		link:      make(chan struct{}, 1),
		compiled:  make(chan struct{}, 1),
		waiting:   map[cluster.Name]cluster.Change{},
		freezes:   make(chan freezeRequest), frozen: c.Frozen, tellUntil: c.TellFrozen, begin: c.Begin,
		mirrors:    make(chan mirrorRequest),
		nameWriter: c.NameWriter, named: make(chan Writer, 1),
	}
	l.audits.cost = c.AuditCost
	if c.AuditPeriod > 0 {
		l.glances = time.Now().Add(glanceEvery)
	}
	return l
}

// AddressChanged records a change of the node's addresses. It does not block, and may be called from any goroutine.
func (l *Loop) AddressChanged(c AddressChange) { l.addresses.tell(c) }

// OursGone records that our link has lost an address, or that a route of ours is gone, whoever took it away; as
// AddressChanged does.
func (l *Loop) OursGone(c AddressChange) { l.ours.tell(c) }

// LinkGone records the end of our link, as AddressChanged does.
func (l *Loop) LinkGone() { signal(l.link)() }

// signal notifies the loop, unless a notification already waits.
func signal(told chan<- struct{}) func() {
	return func() {
		select {
		case told <- struct{}{}:
		default:
		}
	}
}

// Run returns when ctx ends, or with the reason why the program should be started anew.
func (l *Loop) Run(ctx context.Context) error {
	l.engine.background = newBackgroundRunner(ctx, signal(l.compiled))
	defer l.audits.close()
	if l.frozen.IsZero() {
		l.work.Start(time.Now())
		l.engine.observeAhead(time.Now())
		l.work.Stop()
	}
	// Nothing is deleted before every source has reported what it has.
	if !l.awaitStart(ctx) {
		return nil
	}
	if l.begin != nil {
		if err := l.begin(); err != nil {
			return err
		}
	}
	l.source.Take() // the first pass takes all
	l.pass(nil, nil, true)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if !l.frozen.IsZero() {
			if !l.stayFrozen(ctx) {
				return nil
			}
			if err := l.thaw(); err != nil {
				return err
			}
		}
		l.askWriter(ctx)
		timer.Reset(l.wait(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case r := <-l.freezes:
			l.setFrozen(r)
		case r := <-l.mirrors:
			r.answer(l.engine)
		case <-l.audits.ready():
			l.audit()
		case <-l.source.Changed():
			if l.outdated != nil {
				if err := l.outdated(); err != nil {
					return err
				}
			}
			if l.gathering = time.Since(l.ended) < l.rest; l.gathering {
				continue
			}
			l.pass(l.source.Take(), nil, false)
		case <-l.addresses.told:
			l.readAddresses()
		case <-l.ours.told:
			l.missed()
		case <-l.link:
			l.auditNext()
		case <-l.compiled:
			l.pass(l.source.Take(), nil, false)
		case w := <-l.named:
			l.asking = false
			l.engine.contests.name(w.Name, w.Known)
			l.pass(l.source.Take(), nil, false)
		case now := <-timer.C:
			if l.audits.start(now) || l.glance(now) {
				continue
			}
			l.gathering = false
			l.pass(l.source.Take(), nil, false)
		}
	}
}

// wait returns how long there is nothing to do by itself.
func (l *Loop) wait(now time.Time) time.Duration {
	wait := time.Hour
	for _, due := range []time.Time{
		l.audits.next(), l.glances, l.engine.retries.next(), l.engine.drains.next(), l.engine.stale.next(),
		l.engine.cutoffs.next(), l.engine.starts.next(now, l.engine.want), l.engine.contests.next(),
	} {
		if !due.IsZero() {
			wait = min(wait, due.Sub(now))
		}
	}
	if l.engine.waiting() > 0 && !l.engine.abandoned {
		return 0
	}
	if l.gathering {
		wait = min(wait, l.ended.Add(l.rest).Sub(now))
	}
	return max(wait, time.Millisecond)
}

// askWriter has somebody find out who undoes contested objects, when that is not known.
func (l *Loop) askWriter(ctx context.Context) {
	if l.asking || !l.engine.contests.unasked() {
		return
	}
	l.asking = true
	if l.nameWriter == nil {
		l.named <- Writer{Name: "it is not known by whom", Known: true}
		return
	}
	go func() { l.named <- l.nameWriter(ctx) }()
}

// readAddresses reads the node's addresses, and makes a pass when something depends on those that came or went.
func (l *Loop) readAddresses() {
	l.work.Start(time.Now())   // the kernel may hang here as well as in a pass
	gone := l.addresses.take() // ahead of the look: what goes during it is reported again
	dirty, err := l.engine.readAddresses()
	l.work.Stop()
	lost := l.engine.lose(gone)
	if err != nil || len(dirty) > 0 || lost || l.engine.sourcesMoved() {
		l.pass(nil, dirty, err != nil)
	}
}

// missed has addresses and routes looked at when one is gone that we have not taken away.
func (l *Loop) missed() {
	if l.engine.misses(l.ours.take()) {
		l.audits.want(dataplane.PartAddresses)
	}
}

// auditNext has the kernel audited when our link is gone: a program that deletes the link has as a rule deleted the
// virtual servers, too, for which the kernel sends no notification.
func (l *Loop) auditNext() { l.engine.auditNext(time.Now()) }

// audit lets an audit go on, and repairs what it has found.
func (l *Loop) audit() {
	now := time.Now()
	l.work.Start(now)
	found, done := l.audits.step(now)
	l.work.Stop()
	if done {
		l.sync(nil, func(now time.Time) Report { return l.engine.repair(now, found) })
	}
}

// pass brings what has changed, and the Services that are dirty for other reasons, to the kernel.
func (l *Loop) pass(changes []cluster.Change, dirty []cluster.Name, audit bool) {
	for _, c := range changes {
		dirty = append(dirty, c.Name)
	}
	l.sync(changes, func(now time.Time) Report { return l.engine.Pass(now, dirty, audit) })
}

// sync makes a pass and shows its Report to the observers.
func (l *Loop) sync(changes []cluster.Change, pass func(now time.Time) Report) {
	start := time.Now()
	l.work.Start(start)
	defer l.work.Stop()
	r := pass(start)
	l.ended = time.Now()
	r.Duration = l.ended.Sub(start)
	l.time(&r, changes)
	if r.Whole {
		l.recordSurplus()
	}
	for _, o := range l.observers {
		o.Observe(r)
	}
	r.release()
}

// time notes how long the changes took that are in the kernel now. The others wait, as long as they fail.
func (l *Loop) time(r *Report, changes []cluster.Change) {
	for _, c := range changes {
		if before, waits := l.waiting[c.Name]; waits {
			c.Arrived, c.Triggered = before.Arrived, append(before.Triggered, c.Triggered...)
			c.Triggered = c.Triggered[:min(len(c.Triggered), budget.Changes)] // those that wait for longest
		}
		l.waiting[c.Name] = c
	}
	if r.Err != nil {
		return
	}
	for name, c := range l.waiting {
		if _, failed := r.Failures[name]; failed || l.engine.waits(name) {
			continue
		}
		times := ChangeTimes{Name: name, Queue: r.Start.Sub(c.Arrived), Total: l.ended.Sub(c.Arrived)}
		for _, t := range c.Triggered {
			times.Watch = append(times.Watch, c.Arrived.Sub(t))
			times.Programmed = append(times.Programmed, l.ended.Sub(t))
		}
		r.Changes = append(r.Changes, times)
		delete(l.waiting, name)
	}
}
