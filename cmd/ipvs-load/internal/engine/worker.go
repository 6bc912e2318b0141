package engine

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// startsPerLoop bounds how many requests are started before the loop looks at replies again, so that a burst of starts
// does not delay the time stamps of answers that have come already.
const startsPerLoop = 16

// longestSleep bounds a wait that nothing else bounds.
const longestSleep = time.Hour

type worker struct {
	number int
	config *Config
	began  time.Time // offset 0 of the run
	window account.Window
	stop   *atomic.Bool
	enough *atomic.Bool

	poller *poller
	slots  slots
	routes [][]*route
	shared *sharedSockets // of a fixed UDP port
	ports  *sourcePorts   // of a rotating one; all workers have the same
	pool   *pool          // of modes rr and idle

	next   schedule.Cursor // the next start to make
	due    schedule.Cursor // the first start that is not due yet
	closed *closedLoop     // in the place of both

	tally      *account.Tally
	self       account.SelfCheck
	live       *live
	dueAll     int64
	dueCounted int64 // of dueAll, those in the window
	begun      int64
	asleep     time.Duration
	peak       int64 // largest backlog
	outcome    account.Outcome
	request    []byte
}

// now is the offset from the beginning of the run; time.Since reads the monotonic clock, in the vDSO.
func (w *worker) now() time.Duration { return time.Since(w.began) }

// run works until every request has its outcome, the time to start them is over, or stop is set.
func (w *worker) run() error {
	now := w.now()
	ended := false
	for !w.stop.Load() {
		w.countDue(now)
		if !ended && now > 0 && w.enough.Load() {
			w.endWindow(now)
			ended = true
		}
		w.expire(now)
		if now >= w.window.To+w.config.Timeout {
			w.abandonStarts(now)
		}
		w.begin(now)
		w.peak = max(w.peak, w.backlog())
		if w.noMoreStarts() && w.slots.inUse == 0 {
			break
		}
		w.live.publish(w, now)

		// Reading the clock again: the starts above took their time, and the sleep is relative.
		slept := w.now()
		wake, forStart := w.nextWake()
		w.self.Loop.Record(slept - now)
		events, err := w.poller.wait(wake - slept)
		if err != nil {
			return err
		}
		now = w.now()
		if wake > slept && now > 0 {
			w.asleep += now - max(slept, 0)
		}
		if forStart && wake > slept && now >= wake {
			w.self.Wake.Record(now - wake)
		}
		if !w.slots.available() {
			// What became due meanwhile had to wait, even if the events free a slot for it now.
			w.countDue(now)
			w.peak = max(w.peak, w.backlog())
		}
		w.handle(events)
	}
	w.countDue(w.now())
	return nil
}

// endWindow ends the window before its time: what is due stays so, and nothing is due later.
func (w *worker) endWindow(now time.Duration) {
	if now >= w.window.To {
		return
	}
	w.window.To = now
	w.tally.EndWindow(now)
	if w.closed != nil {
		w.closed.window.To = now
		return
	}
	w.next.EndAfter(now)
	w.due.EndAfter(now)
}

// nextWake is when there will be something to do even if no event comes, and whether that is a start.
func (w *worker) nextWake() (at time.Duration, forStart bool) {
	at = w.now() + longestSleep
	if x := w.slots.first; x != nil {
		at = min(at, x.started+w.config.Timeout)
	}
	if w.live != nil {
		at = min(at, w.live.nextAt)
	}
	if w.closed != nil {
		if !w.noMoreStarts() && w.slots.available() {
			return w.now(), false // no start is late where none is intended
		}
		return at, false
	}
	if !w.next.Done() && w.slots.available() && w.next.At() <= at {
		return w.next.At(), true
	}
	return at, false
}

func (w *worker) noMoreStarts() bool {
	if w.closed != nil {
		return w.closed.done
	}
	return w.next.Done()
}

// countDue brings the number of requests that ought to have been started up to date.
func (w *worker) countDue(now time.Duration) {
	if w.closed != nil {
		return // nothing is due before it is started
	}
	for !w.due.Done() && w.due.At() <= now {
		if w.due.At() >= w.window.From {
			w.dueCounted++
		}
		w.dueAll++
		w.due.Next()
	}
}

// backlog is how many requests are due and not started.
func (w *worker) backlog() int64 { return w.dueAll - w.begun }

// expire ends the requests whose timeout is over.
func (w *worker) expire(now time.Duration) {
	for x := w.slots.first; x != nil && now >= x.started+w.config.Timeout; x = w.slots.first {
		if x.state == connecting && x.route.protocol == target.TCP {
			x.syn = retransmits(x.fd)
		}
		w.finish(x, account.Timeout, "")
	}
}

// begin starts what is due, as far as there are slots.
func (w *worker) begin(now time.Duration) {
	for range startsPerLoop {
		if !w.slots.available() {
			return
		}
		intended, number, ok := w.nextStart(now)
		if !ok {
			return
		}
		x := w.slots.take()
		x.intended, x.started = intended, intended
		w.begun++
		if w.closed == nil {
			x.started = w.now()
		}
		if w.pool != nil {
			w.ask(x, w.pool.take())
			continue
		}
		x.route = w.pickRoute(number)
		switch {
		case w.shared != nil:
			w.sendShared(x)
		case w.config.Mode == UDPRR:
			w.sendDatagram(x)
		default:
			w.connect(x)
		}
	}
}

// nextStart takes the next start from the schedule, if one is due.
func (w *worker) nextStart(now time.Duration) (intended time.Duration, number int64, ok bool) {
	if w.closed != nil {
		now = w.now() // the requests started before took their time
		if number, ok = w.closed.next(now); ok {
			w.dueAll++
			if now >= w.window.From {
				w.dueCounted++
			}
		}
		return now, number, ok
	}
	if w.next.Done() || w.next.At() > now {
		return 0, 0, false
	}
	intended, number = w.next.At(), w.next.Number()
	w.next.Next()
	return intended, number, true
}

// abandonStarts gives up the requests that could not be started before the run's end and a timeout more.
func (w *worker) abandonStarts(now time.Duration) {
	if w.closed != nil {
		w.closed.done = true
		return
	}
	for ; !w.next.Done(); w.next.Next() {
		w.begun++
		o := account.Outcome{
			Kind: account.Unsent, Intended: w.next.At(), Started: now, Finished: now,
			Target: w.pickRoute(w.next.Number()).target,
		}
		w.record(&o)
	}
}

// pickRoute takes targets in turn, and the sources of each target in turn.
func (w *worker) pickRoute(number int64) *route {
	targets := int64(len(w.routes))
	routes := w.routes[number%targets]
	return routes[number/targets%int64(len(routes))]
}

func (w *worker) handle(events []unix.EpollEvent) {
	for i := range events {
		e := &events[i]
		if e.Fd < 0 {
			switch {
			case e.Fd <= slotConn:
				if c := w.pool.find(int(slotConn-e.Fd), uint32(e.Pad)); c != nil {
					w.conversation(c, e.Events)
				}
			case e.Fd <= slotShared:
				w.readShared(int(slotShared - e.Fd))
			}
			continue
		}
		x := w.slots.find(int(e.Fd), uint32(e.Pad))
		if x == nil {
			continue
		}
		if x.route.protocol == target.UDP {
			w.readDatagram(x)
		} else {
			w.advance(x, e.Events)
		}
	}
}

// finish closes the slot's own socket and enters the outcome.
func (w *worker) finish(x *slot, kind account.Kind, text string) {
	w.outcome.ID, w.outcome.ClientIP = nil, nil
	w.finishWith(x, kind, text)
}

// finishWith is finish for an outcome in which the reply's identity and client stand already. The time is taken before
// the close, which is the client's own affair.
func (w *worker) finishWith(x *slot, kind account.Kind, text string) {
	o := &w.outcome
	o.Kind, o.Text, o.Target = kind, text, x.route.target
	o.Intended, o.Started, o.Connected, o.Finished = x.intended, x.started, x.connected, w.now()
	o.SynRetransmits = x.syn
	switch {
	case x.conn != nil:
		w.rest(x, kind == account.Answered)
	case x.fd >= 0:
		if w.config.Close == Reset && x.state == waiting && x.route.protocol != target.UDP {
			resetOnClose(x.fd)
		}
		unix.Close(x.fd)
	}
	w.record(o)
	w.slots.release(x)
}

// record enters an outcome wherever outcomes are counted.
func (w *worker) record(o *account.Outcome) {
	if w.config.Trace != nil {
		w.config.Trace(w.number, o)
	}
	w.live.record(o.Kind, w.tally.Record(o))
}
