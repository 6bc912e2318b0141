package engine

import (
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// touches are what passes touch while an audit goes on beside them.
type touches struct {
	keys dataplane.Touched
	// addresses says that the node's addresses were read.
	addresses bool
	// void says that objects went with another one, and nobody has noted which.
	void bool
	// over says that nobody notes any more: the kernel was read as a whole, or another audit has begun.
	over bool
}

// watchTouches returns the touches from now on.
func (e *Engine) watchTouches() *touches {
	e.forgetTouches(e.touches)
	e.touches = &touches{keys: dataplane.NewTouched()}
	return e.touches
}

// forgetTouches ends the noting of these touches.
func (e *Engine) forgetTouches(t *touches) {
	if t == nil {
		return
	}
	t.over = true
	if e.touches == t {
		e.touches = nil
	}
}

// note notes what a pass looks at. Operations have keys of their own where a scheduler is exchanged.
func (t *touches) note(touched dataplane.Touched, ops []dataplane.Op) {
	if t == nil {
		return
	}
	t.keys.Add(touched)
	for _, op := range ops {
		switch o := op.Object.(type) {
		case dataplane.SetEntry:
			t.keys.Entries[o] = cluster.Name{}
		case dataplane.Link, dataplane.Set:
			t.void = t.void || op.Verb == dataplane.Delete
		}
	}
}
