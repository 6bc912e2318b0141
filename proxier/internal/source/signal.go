package source

import "sync"

// signal is given once.
type signal struct {
	given chan struct{}
	once  sync.Once
}

func newSignal() *signal { return &signal{given: make(chan struct{})} }

func (s *signal) send() { s.once.Do(func() { close(s.given) }) }

func (s *signal) sent() bool {
	select {
	case <-s.given:
		return true
	default:
		return false
	}
}
