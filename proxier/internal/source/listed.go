package source

import (
	"sync"
	"time"
)

// freshFor is less than an API server takes to start with other data.
const freshFor = time.Second

// listed is the version that a list has shown last. It is taken once, and only while it is fresh: a watch that begins
// later, or again, may meet an API server that was started with other data meanwhile.
type listed struct {
	now func() time.Time

	mu      sync.Mutex
	version string
	at      time.Time
}

func (l *listed) put(version string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version, l.at = version, l.now()
}

// take reports whether that version was listed a moment ago, and forgets it.
func (l *listed) take(version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := version == l.version && l.now().Sub(l.at) < freshFor
	l.version = ""
	return fresh
}
