package source

import (
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
)

// elsewhere is the error with which a reflector lists again because of what another one has found.
var elsewhere = apierrors.NewResourceExpired("another resource shows that the API server has an older copy of its data")

// restored is what the listers of one client share: whether the API server's data is an older copy. One of them finds
// that when objects of its resource are lost. Another resource may have lost nothing, and yet something may have been
// written to the copy before it reached the version after which its watch goes on. Its methods may be called from any
// goroutine.
type restored struct {
	mu   sync.Mutex
	next restoration
}

// restoration is closed when a lister finds that the data was restored. A nil one is never found.
type restoration chan struct{}

func newRestored() *restored { return &restored{next: make(restoration)} }

// awaited returns the next restoration, which no lister has found yet.
func (r *restored) awaited() restoration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// find has all listers list again, because the API server's data is an older copy since this restoration. Found again,
// it has no effect.
func (r *restored) find(found restoration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if found == r.next {
		close(found)
		r.next = make(restoration)
	}
}

func (r restoration) found() bool {
	select {
	case <-r:
		return true
	default:
		return false
	}
}

// until is a watch that ends with an error, after which a reflector lists again, when a restoration is found.
type until struct {
	from   watch.Interface
	result chan watch.Event
	done   chan struct{}
	once   sync.Once
}

// watchUntil returns the watch, of which hear hears each event before it is taken.
func watchUntil(found restoration, from watch.Interface, hear func(watch.Event)) watch.Interface {
	u := &until{from: from, result: make(chan watch.Event), done: make(chan struct{})}
	go u.run(found, hear)
	return u
}

func (u *until) run(found restoration, hear func(watch.Event)) {
	defer close(u.result)
	for {
		var e watch.Event
		open := true
		select {
		case <-found:
			u.from.Stop()
			status := elsewhere.Status()
			e, open = watch.Event{Type: watch.Error, Object: &status}, false
		case e, open = <-u.from.ResultChan():
			if !open {
				return
			}
			hear(e)
		}
		select {
		case u.result <- e:
		case <-u.done:
			return
		}
		if !open {
			return
		}
	}
}

// ResultChan implements watch.Interface.
func (u *until) ResultChan() <-chan watch.Event { return u.result }

// Stop implements watch.Interface.
func (u *until) Stop() {
	u.once.Do(func() { close(u.done) })
	u.from.Stop()
}
