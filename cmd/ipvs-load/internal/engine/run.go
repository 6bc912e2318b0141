package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

// headStart is the time between setting the run's zero and its first start, in which the workers come up.
const headStart = 10 * time.Millisecond

// Run carries out a valid Config. When the context ends, the run ends with what it has and without an error; an error
// means that the run could not be made or that the instrument itself failed.
func Run(ctx context.Context, c Config) (*account.Result, error) {
	if c.Mode == Stream {
		return runStream(ctx, c)
	}
	window := account.Window{From: c.Plan.Warmup, To: c.Plan.Warmup + c.Plan.Window()}
	var stop, enough atomic.Bool
	workers := make([]*worker, c.Plan.Workers)
	defer func() {
		for _, w := range workers {
			w.close()
		}
	}()
	var ports *sourcePorts
	if c.Mode == UDPRR && c.UDPPort == Rotate {
		ports = newSourcePorts()
	}
	for i := range workers {
		w, err := newWorker(&c, i, window, &stop, &enough)
		if err != nil {
			return nil, err
		}
		w.ports = ports
		workers[i] = w
	}
	stopAll := func() {
		stop.Store(true)
		for _, w := range workers {
			w.poller.interrupt()
		}
	}
	stopped := make(chan struct{})
	unstop := context.AfterFunc(ctx, func() {
		stopAll()
		close(stopped)
	})

	over, heard := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(heard)
		select {
		case <-c.Enough:
			enough.Store(true)
			for _, w := range workers {
				w.poller.interrupt()
			}
		case <-over:
		}
	}()
	defer func() { close(over); <-heard }() // before the pollers are closed

	errs := make([]error, len(workers))
	var wait sync.WaitGroup
	for i, w := range workers {
		wait.Go(func() { errs[i] = w.prepare() })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	began := time.Now().Add(headStart)
	if c.Ready != nil {
		c.Ready(began.Add(window.From))
	}
	for i, w := range workers {
		w.began = began
		wait.Go(func() {
			errs[i] = w.run()
			w.self.Ran = max(w.now(), 0)
			w.self.Busy = max(w.self.Ran-w.asleep, 0)
			if errs[i] != nil {
				// The others cannot make up for it; what they have is not a run as planned.
				stopAll()
			}
		})
	}
	wait.Wait()
	if !unstop() {
		<-stopped // it runs in a goroutine of its own and may still use the pollers, which are closed on return
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return merge(workers, window, began, stop.Load()), nil
}

func merge(workers []*worker, window account.Window, began time.Time, stopped bool) *account.Result {
	first := workers[0]
	window.To = first.window.To
	for _, w := range workers {
		window.To = max(window.To, w.window.To)
	}
	r := &account.Result{
		Began: began, Window: window,
		Tally: account.NewTally(window, first.config.Timeout, len(first.config.Targets), first.config.Watch...),
		Self:  account.NewSelfCheck(),
	}
	for _, w := range workers {
		r.Tally.Merge(w.tally)
		r.Planned += w.dueCounted
		r.PeakBacklog += w.peak
		r.Self.Merge(w.self)
		r.StoppedAt = max(r.StoppedAt, w.self.Ran)
	}
	if first.closed != nil && first.config.Plan.Count > 0 {
		r.Window.To = max(r.StoppedAt, r.Window.From) // nothing but the answers said how long it takes
	}
	// A stop that came when everything was done already interrupted nothing.
	r.Interrupted = stopped && (r.Unfinished() > 0 || r.StoppedAt < window.To)
	return r
}

func newWorker(c *Config, i int, window account.Window, stop, enough *atomic.Bool) (*worker, error) {
	limit := part(c.ConnectionsMax, i, c.Plan.Workers)
	if c.Mode.persistent() {
		limit = part(c.Connections, i, c.Plan.Workers)
	}
	w := &worker{
		number: i, config: c, window: window, stop: stop, enough: enough,
		slots:  slots{limit: limit},
		closed: newClosedLoop(c.Plan, i, window),
		tally:  account.NewTally(window, c.Timeout, len(c.Targets), c.Watch...),
		self:   account.NewSelfCheck(),
		live:   newLive(c.Live, i),
	}
	if w.closed == nil {
		w.next, w.due = c.Plan.Cursor(i), c.Plan.Cursor(i)
	}
	var err error
	if w.routes, err = newRoutes(c); err != nil {
		return nil, err
	}
	if c.Mode.persistent() {
		w.pool = newPool(limit, w.pickRoute, i, c.Plan.Workers)
	}
	if w.poller, err = newPoller(); err != nil {
		return nil, err
	}
	if c.Mode == UDPRR && c.UDPPort == Fixed {
		if w.shared, err = newSharedSockets(w.poller, w.routes); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

// part is the share of one of several workers in a whole.
func part(whole, worker, workers int) int {
	n := whole / workers
	if worker < whole%workers {
		n++
	}
	return n
}

// close ends what is still open; a nil worker has nothing.
func (w *worker) close() {
	if w == nil {
		return
	}
	for x := w.slots.first; x != nil; x = x.next {
		if x.fd >= 0 && x.conn == nil {
			unix.Close(x.fd)
		}
	}
	if w.pool != nil {
		w.pool.close()
	}
	if w.shared != nil {
		w.shared.close()
	}
	w.poller.close()
}
