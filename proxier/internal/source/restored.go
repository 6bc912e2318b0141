package source

import (
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
)

// elsewhere is what a reflector is told that lists again because of another one's find.
var elsewhere = apierrors.NewResourceExpired("another resource shows that the API server has an older copy of its data")

// restored is what the listers of one client tell each other: that the API server's data is an older copy. One of them
// finds that by what was lost of its resource. Of another resource nothing may have been lost, and yet something have
// been written to the copy before it reached the version after which its watch goes on. Its methods may be called from
// any goroutine.
type restored struct {
	mu   sync.Mutex
	next restoration
}

// restoration is closed when somebody finds that the data was restored. Nobody finds one that is nil.
type restoration chan struct{}

func newRestored() *restored { return &restored{next: make(restoration)} }

// awaited returns the restoration that nobody has found yet.
func (r *restored) awaited() restoration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// find tells all that the data is another one than that of before the restoration. It tells nobody a second time.
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
