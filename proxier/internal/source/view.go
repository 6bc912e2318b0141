package source

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

// View is the age of what is known from the API. It needs no requests of its own. A list is as old as its request. Each
// event of a watch shows that nothing is missing up to it, bookmarks too, of which the server sends one a minute
// (k8s.io/apiserver 0.37, pkg/storage/cacher/cacher.go, bookmarkFrequency). A server process that is suspended keeps
// its connections open: nothing else shows that.
type View struct {
	now func() time.Time

	mu    sync.Mutex
	heard map[string]time.Time
}

// viewed are the resources without which nothing can be served. Nodes, which the API may refuse to show, are not among
// them.
var viewed = []string{"services", "endpointslices"}

func newView() *View { return &View{now: time.Now, heard: map[string]time.Time{}} }

// Since returns up to when what happened to Services and EndpointSlices is known, and whether both were listed yet.
func (v *View) Since() (at time.Time, seen bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, resource := range viewed {
		heard, is := v.heard[resource]
		if !is {
			return time.Time{}, false
		}
		if at.IsZero() || heard.Before(at) {
			at = heard
		}
	}
	return at, true
}

// Age returns how old the view is, and whether there is one.
func (v *View) Age() (time.Duration, bool) {
	at, seen := v.Since()
	if !seen {
		return 0, false
	}
	return max(0, v.now().Sub(at)), true
}

func (v *View) hear(resource string, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if at.After(v.heard[resource]) {
		v.heard[resource] = at
	}
}

// hearEvent hears what comes by a watch.
func (v *View) hearEvent(resource string, e watch.Event) {
	if e.Type != watch.Error {
		v.hear(resource, v.now())
	}
}
