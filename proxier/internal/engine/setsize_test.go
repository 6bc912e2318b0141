package engine

import (
	"maps"
	"testing"
)

// TestSetsOfAnotherSize: what an earlier version has made with other sizes gets those of now, in place, with all else
// as it was.
func TestSetsOfAnotherSize(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.converge(s.apply([]byte(manyServices(3))), false)
	before, sizes := s.memory.State().Text(), maps.Clone(s.memory.State().Sets)
	for name, set := range sizes {
		if set.Type.Hash() {
			set.MaxElem /= 16
			s.memory.State().Sets[name] = set
		}
	}
	s.restart()
	s.converge(nil, true)
	if now := s.memory.State().Text(); now != before || !maps.Equal(s.memory.State().Sets, sizes) {
		t.Errorf("after the restart:\n%s\n%v\nwant\n%s\n%v", now, s.memory.State().Sets, before, sizes)
	}
	if s.ops == 0 {
		t.Error("nothing was to be done: the sets have no size")
	}
	s.converge(nil, true)
	if s.ops != 0 {
		t.Errorf("%d operations more", s.ops)
	}
}
