package engine

import (
	"context"
	"fmt"
	"time"
)

// freezeRequest asks the loop to write nothing until then; the zero time ends a freeze.
type freezeRequest struct {
	until time.Time
	// done takes the answer, and has a buffer for it: the client may have gone.
	done chan<- error
}

// Freeze has the loop write nothing to the kernel until then, or no longer where until is not in the future. The pass
// that is at work ends first, and a front end that is held gets its new connections again; when Freeze returns nil,
// nothing is written any more. It may be called from any goroutine, and waits until ctx ends at most. After an error
// that is ctx's the freeze may still come.
func (l *Loop) Freeze(ctx context.Context, until time.Time) error {
	done := make(chan error, 1)
	select {
	case l.freezes <- freezeRequest{until, done}:
	case <-ctx.Done():
		return fmt.Errorf("the sync that is at work has not ended: %w", ctx.Err())
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the sync that is at work has not ended: %w", ctx.Err())
	}
}

// setFrozen answers a request.
func (l *Loop) setFrozen(r freezeRequest) {
	if err := l.release(); err != nil {
		r.done <- err
		return
	}
	l.frozen = r.until
	l.tellFrozen()
	r.done <- nil
}

func (l *Loop) tellFrozen() {
	if l.tellUntil != nil {
		l.tellUntil(l.frozen)
	}
}

// releases is how many passes try to end a hold. Between two of them nothing is waited for: a kernel that refuses three
// times to delete an entry does so for longer than a freeze should wait.
const releases = 3

// release ends what holds front ends: a hold that is left standing drops their new connections for as long as the
// freeze lasts.
func (l *Loop) release() error {
	if l.engine.have == nil || !l.frozen.IsZero() {
		return nil
	}
	for try := 0; ; try++ {
		held, is := l.engine.have.Held()
		if !is {
			return nil
		}
		if try == releases {
			return fmt.Errorf("new connections to %s are held back while its scheduler is exchanged, and the kernel refuses to end that; "+
				"status has the error", held)
		}
		for name := range l.engine.retries {
			l.engine.retries.dueNow(name)
		}
		l.pass(l.source.Take(), nil, false)
	}
}

// stayFrozen waits for the end of the freeze, and writes nothing. It returns false when ctx ends. Changes that come
// meanwhile wait where they are recorded: the Services' changes at the source, addresses in their lists.
func (l *Loop) stayFrozen(ctx context.Context) bool {
	l.audits.drop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !l.frozen.IsZero() {
		left := time.Until(l.frozen)
		if left <= 0 {
			l.frozen = time.Time{}
			l.tellFrozen()
			return true
		}
		timer.Reset(left)
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
		case r := <-l.freezes:
			l.setFrozen(r)
		case r := <-l.mirrors:
			r.answer(l.engine)
		case <-l.audits.read: // of an audit that had begun
			l.audits.step(time.Now())
		}
	}
	return true
}

// thaw brings all that has waited to the kernel: it is read as a whole, since others may have changed it meanwhile.
func (l *Loop) thaw() error {
	if l.outdated != nil {
		if err := l.outdated(); err != nil {
			return err
		}
	}
	l.engine.lose(l.addresses.take())
	l.gathering = false
	select {
	case <-l.source.Changed(): // this pass takes all
	default:
	}
	l.pass(l.source.Take(), nil, true)
	return nil
}

// awaitStart waits until the source has listed the objects, and a freeze that was in force before is over. It returns
// false when ctx ends.
func (l *Loop) awaitStart(ctx context.Context) bool {
	synced := make(chan bool, 1)
	go func() { synced <- l.source.WaitForSync(ctx) }()
	for {
		if !l.frozen.IsZero() && !l.stayFrozen(ctx) {
			return false
		}
		select {
		case ok := <-synced:
			return ok
		case r := <-l.freezes:
			l.setFrozen(r)
		case r := <-l.mirrors:
			r.answer(l.engine)
		}
	}
}
