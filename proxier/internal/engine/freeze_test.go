package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// fakeChanges are the changes of a test.
type fakeChanges struct {
	changed chan struct{}
	waiting []cluster.Change
}

func (f *fakeChanges) WaitForSync(ctx context.Context) bool { return ctx.Err() == nil }
func (f *fakeChanges) Changed() <-chan struct{}             { return f.changed }
func (f *fakeChanges) Take() []cluster.Change {
	taken := f.waiting
	f.waiting = nil
	return taken
}

// frozenLoop is a loop that runs on the kernel in memory, in a bubble of time.
type frozenLoop struct {
	*scenario
	*Loop
	changes *fakeChanges
	// turn orders what test and loop do: see sleep.
	turn     sync.Mutex
	passes   int
	begun    int
	reported []time.Time
	ended    error
}

const frozenService = `apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [{port: %d}]}
`

// runFrozen starts the loop; until is until when it is frozen from the start on.
func runFrozen(t *testing.T, until time.Time, change func(*frozenLoop)) *frozenLoop {
	t.Helper()
	f := &frozenLoop{scenario: newScenario(t, 0, 0), changes: &fakeChanges{changed: make(chan struct{}, 1)}}
	f.apply([]byte(fmt.Sprintf(frozenService, 80)))
	if change != nil {
		change(f)
	}
	f.Loop = NewLoop(f.scenario.engine, Config{
		Source: f.changes, AuditPeriod: time.Minute, Passing: &Stopwatch{}, Reading: &Stopwatch{}, Frozen: until,
		Observers:     []Observer{observerFunc(func(Report) { f.passes++ })},
		OpenReader:    func() (dataplane.Reader, error) { return f.memory.Reader(), nil },
		ProcessorTime: func() (time.Duration, time.Duration) { return 0, 0 },
		TellFrozen: func(until time.Time) {
			f.turn.Lock()
			defer f.turn.Unlock()
			f.reported = append(f.reported, until)
		},
		Begin: func() error { f.begun++; return nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.ended = f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return f
}

// sleep hands what the test has to the loop for that time. A timer alone orders nothing: the loop gets the turn where
// it says that a freeze has ended.
func (f *frozenLoop) sleep(d time.Duration) {
	func() {
		f.turn.Lock()
		defer f.turn.Unlock()
	}()
	time.Sleep(d)
	synctest.Wait()
}

// wants changes the Service to this port, and notifies the loop.
func (f *frozenLoop) wants(port int) {
	f.t.Helper()
	for _, name := range f.apply([]byte(fmt.Sprintf(frozenService, port))) {
		f.changes.waiting = append(f.changes.waiting, cluster.Change{Name: name, Arrived: time.Now()})
	}
	select {
	case f.changes.changed <- struct{}{}:
	default:
	}
	synctest.Wait()
}

// serves sees that the kernel has the Service at this port and at no other; 0 is at none.
func (f *frozenLoop) serves(when string, port uint16) {
	f.t.Helper()
	var has []string
	for id := range f.memory.State().VirtualServers {
		has = append(has, id.String())
	}
	want := fmt.Sprintf("[tcp 10.96.0.1:%d]", port)
	if port == 0 {
		want = "[]"
	}
	if got := fmt.Sprint(has); got != want {
		f.t.Errorf("%s the kernel has %s, want %s", when, got, want)
	}
}

func (f *frozenLoop) freeze(until time.Time) {
	f.t.Helper()
	if err := f.Freeze(f.t.Context(), until); err != nil {
		f.t.Fatal(err)
	}
}

// TestAFrozenLoopWritesNothing whatever comes: changes, audits, drift, the end of the link, addresses. It ends by
// itself, and then all that waited and all that drifted is brought in line.
func TestAFrozenLoopWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := runFrozen(t, time.Time{}, nil)
		f.serves("at first", 80)
		f.wants(81)
		f.serves("after a change", 81)
		until := time.Now().Add(time.Hour)
		f.freeze(until)
		writes, passes := f.memory.Writes, f.passes
		f.wants(82)
		f.tampered = true
		for id := range f.memory.State().VirtualServers {
			f.memory.State().Apply(dataplane.Op{Verb: dataplane.Delete, Object: dataplane.VirtualServerObject{ID: id}})
		}
		f.LinkGone()
		f.OursGone(AddressChange{Missed: true})
		f.AddressChanged(AddressChange{Missed: true})
		f.sleep(time.Hour - time.Second)
		f.serves("in the freeze", 0)
		if f.memory.Writes != writes || f.passes != passes {
			t.Errorf("%d writes and %d passes in the freeze", f.memory.Writes-writes, f.passes-passes)
		}
		f.sleep(2 * time.Second)
		f.serves("after the freeze", 82)
		f.wants(83)
		f.serves("after another change", 83)
		if len(f.reported) != 2 || !f.reported[0].Equal(until) || !f.reported[1].IsZero() {
			t.Errorf("reported %v", f.reported)
		}
	})
}

// TestAFreezeEndsEarly: at once, with one pass; another one replaces it.
func TestAFreezeEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := runFrozen(t, time.Time{}, nil)
		f.freeze(time.Now().Add(time.Hour))
		f.wants(81)
		f.freeze(time.Now().Add(3 * time.Hour))
		f.sleep(2 * time.Hour)
		f.serves("in the second freeze", 80)
		passes := f.passes
		f.freeze(time.Time{})
		synctest.Wait()
		f.serves("after its end", 81)
		if f.passes != passes+1 {
			t.Errorf("%d passes at its end, want 1", f.passes-passes)
		}
	})
}

// TestAStartInAFreeze reads and writes nothing until it ends, what is written once included, and can be ended.
func TestAStartInAFreeze(t *testing.T) {
	for _, early := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := runFrozen(t, time.Now().Add(time.Hour), nil)
			f.wants(81)
			f.sleep(time.Hour - time.Second)
			f.serves("in the freeze", 0)
			if f.memory.Writes != 0 || f.passes != 0 || f.begun != 0 {
				t.Errorf("%d writes, %d passes, begun %d times", f.memory.Writes, f.passes, f.begun)
			}
			if early {
				f.freeze(time.Time{})
			} else {
				f.sleep(2 * time.Second)
			}
			synctest.Wait()
			f.serves("after it", 81)
			if f.begun != 1 || len(f.reported) != 1 || !f.reported[0].IsZero() {
				t.Errorf("begun %d times, reported %v", f.begun, f.reported)
			}
		})
	}
}

// TestAFrozenLoopEnds with its context, and what only a new start can take over waits for the end of the freeze.
func TestAFrozenLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := runFrozen(t, time.Time{}, nil)
		f.freeze(time.Now().Add(time.Hour))
		f.outdated = func() error { return errors.New("outdated") }
		f.wants(81)
		f.sleep(time.Minute)
		if f.ended != nil {
			t.Errorf("in the freeze: %v", f.ended)
		}
		f.freeze(time.Time{})
		synctest.Wait()
		if f.ended == nil {
			t.Error("it goes on after the freeze")
		}
	})
}

// TestAFreezeLeavesNoHold: a front end that is held gets its new connections again, or there is no freeze.
func TestAFreezeLeavesNoHold(t *testing.T) {
	for _, mends := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var refuse atomic.Bool
			refuse.Store(true)
			f := runFrozen(t, time.Time{}, func(f *frozenLoop) {
				f.scenario.engine.kernel = &brokenKernel{Kernel: f.memory, refuse: func(op dataplane.Op) bool {
					e, is := op.Object.(dataplane.SetEntry)
					return refuse.Load() && is && strings.HasPrefix(e.Set, dataplane.SetHold) && op.Verb == dataplane.Delete
				}}
			})
			f.apply([]byte(strings.Replace(fmt.Sprintf(frozenService, 80), "{name: web}",
				"{name: web, annotations: {ipvs-proxier.io/scheduler: lc}}", 1)))
			f.changes.waiting = []cluster.Change{{Name: cluster.Name{Namespace: "default", Name: "web"}, Arrived: time.Now()}}
			f.changes.changed <- struct{}{}
			synctest.Wait()
			if _, held := f.scenario.engine.have.Held(); !held {
				t.Fatal("nothing is held")
			}
			refuse.Store(!mends)
			err := f.Freeze(t.Context(), time.Now().Add(time.Hour))
			if _, held := f.memory.State().Held(); held == mends || (err == nil) != mends {
				t.Errorf("held %v, %v", held, err)
			}
			refuse.Store(false)
			f.sleep(time.Minute)
			if _, held := f.memory.State().Held(); held {
				t.Error("it is held for ever")
			}
		})
	}
}
