package proxier

import (
	"context"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// loop waits for reasons to make a pass.
type loop struct {
	engine    *engine
	health    *health
	watcher   *source.Watcher
	observers []Observer
	audits    *auditor
	addresses *addressChanges
	link      chan struct{} // ours is gone
	made      chan struct{} // something is, beside the passes
	// rest is the least time between the end of a pass and the start of one that changes ask for; ended is when the last
	// one ended, gathering says that changes wait.
	rest      time.Duration
	ended     time.Time
	gathering bool
	// waiting are changes that have not come to the kernel yet, because something of their Services failed.
	waiting map[cluster.Name]source.Change
	// outdated tells what has changed that only a new start can take note of; nil when nothing can.
	outdated func() error
}

// signal tells the loop something, unless it is told already.
func signal(told chan<- struct{}) func() {
	return func() {
		select {
		case told <- struct{}{}:
		default:
		}
	}
}

// run returns when ctx ends, or with the reason why the program should be started anew.
func (l *loop) run(ctx context.Context) error {
	l.health.begin(time.Now())
	l.engine.look(time.Now())
	l.health.end()
	// Nothing is deleted before every source has told what it has.
	if !l.watcher.WaitForSync(ctx) {
		return nil
	}
	l.watcher.Take() // the first pass takes all
	l.pass(nil, nil, true)
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer l.audits.close()
	for {
		timer.Reset(l.wait(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case seen := <-l.audits.told:
			l.saw(seen)
		case <-l.audits.more(l.engine):
			l.judge()
		case <-l.watcher.Changed():
			if l.outdated != nil {
				if err := l.outdated(); err != nil {
					return err
				}
			}
			if l.gathering = time.Since(l.ended) < l.rest; l.gathering {
				continue
			}
			l.pass(l.watcher.Take(), nil, false)
		case <-l.addresses.told:
			l.look()
		case <-l.link:
			l.linkGone()
		case <-l.made:
			l.pass(l.watcher.Take(), nil, false)
		case now := <-timer.C:
			if l.audits.begin(now, l.engine) {
				continue
			}
			l.gathering = false
			l.pass(l.watcher.Take(), nil, false)
		}
	}
}

// wait returns how long there is nothing to do by itself.
func (l *loop) wait(now time.Time) time.Duration {
	wait := time.Hour
	for _, due := range []time.Time{l.audits.next(), l.engine.retries.next(), l.engine.drains.next(), l.engine.stale.next(), l.engine.cutoffs.next(), l.engine.starts.next(now, l.engine.want)} {
		if !due.IsZero() {
			wait = min(wait, due.Sub(now))
		}
	}
	if l.engine.waiting() > 0 && !l.engine.unseeing {
		return 0
	}
	if l.gathering {
		wait = min(wait, l.ended.Add(l.rest).Sub(now))
	}
	return max(wait, time.Millisecond)
}

// look reads the node's addresses, and makes a pass when something depends on those that came or went.
func (l *loop) look() {
	l.health.begin(time.Now()) // the kernel may hang here as well as in a pass
	gone := l.addresses.take() // ahead of the look: what goes during it is told again
	dirty, err := l.engine.readAddresses()
	l.health.end()
	lost := l.engine.lose(gone)
	if err != nil || len(dirty) > 0 || lost || l.engine.sourcesMoved() {
		l.pass(nil, dirty, err != nil)
	}
}

// linkGone has the kernel audited: who deletes the link has as a rule deleted the virtual servers, too, of whose end
// nothing else tells.
func (l *loop) linkGone() { l.engine.mistrust(time.Now()) }

// saw takes what an audit has seen of the kernel. That it cannot be read is told by a pass.
func (l *loop) saw(t told) {
	err := l.audits.ended(time.Now(), t)
	if t.err != nil && err == nil {
		l.engine.abandon()
		return
	}
	l.engine.saw(t.of, t.seen, err)
	if err != nil {
		l.pass(nil, nil, false)
	}
}

// judge compares a piece of it, and mends when all is compared.
func (l *loop) judge() {
	l.health.begin(time.Now())
	l.engine.judge()
	l.health.end()
	if l.engine.round.judged() {
		l.pass(nil, nil, false)
	}
}

// pass brings what has changed, and the Services that are dirty for other reasons, to the kernel.
func (l *loop) pass(changes []source.Change, dirty []cluster.Name, audit bool) {
	start := time.Now()
	l.health.begin(start)
	defer l.health.end()
	for _, c := range changes {
		dirty = append(dirty, c.Name)
	}
	r := l.engine.pass(start, dirty, audit)
	l.ended = time.Now()
	r.Duration = l.ended.Sub(start)
	l.time(&r, changes)
	for _, o := range l.observers {
		o.Observe(r)
	}
}

// time notes how long the changes took that are in the kernel now. The others wait, as long as they fail.
func (l *loop) time(r *Report, changes []source.Change) {
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
		if _, failed := r.failed[name]; failed || l.engine.waits(name) {
			continue
		}
		times := ChangeTimes{Queue: r.Start.Sub(c.Arrived), Total: l.ended.Sub(c.Arrived)}
		for _, t := range c.Triggered {
			times.Watch = append(times.Watch, c.Arrived.Sub(t))
			times.Programmed = append(times.Programmed, l.ended.Sub(t))
		}
		r.Changes = append(r.Changes, times)
		delete(l.waiting, name)
	}
}
