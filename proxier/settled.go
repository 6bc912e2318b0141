package proxier

import "runtime/debug"

// settled is the Observer that gives memory back once the start is over: what lists and first passes have left is not needed again soon.
type settled struct{ done bool }

// Observe implements Observer.
func (s *settled) Observe(r Report) {
	if s.done || r.Err != nil || r.Backlog > 0 {
		return
	}
	s.done = true
	go debug.FreeOSMemory()
}
