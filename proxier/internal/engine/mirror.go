package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// mirrorRequest requests a copy of the mirror.
type mirrorRequest struct {
	// done takes the answer, and has room for it: the client may have gone. Nil is that nothing was read yet.
	done chan<- *dataplane.State
}

// Mirror returns a copy of what the engine knows the kernel to hold: what it has found there and written since, and has
// not been undone as far as it knows. At rest that is what Services want, and what drains. It may be called from any
// goroutine, and waits for the pass that is at work, until ctx ends at most. The copy takes the loop some milliseconds
// for 10,000 Services.
func (l *Loop) Mirror(ctx context.Context) (*dataplane.State, error) {
	done := make(chan *dataplane.State, 1)
	select {
	case l.mirrors <- mirrorRequest{done}:
	case <-ctx.Done():
		return nil, fmt.Errorf("the sync that is at work has not ended: %w", ctx.Err())
	}
	if s := <-done; s != nil {
		return s, nil
	}
	return nil, errors.New("the first sync is not done")
}

// answer carries out a request.
func (r mirrorRequest) answer(e *Engine) {
	if e.have == nil {
		r.done <- nil
		return
	}
	r.done <- e.have.Clone()
}
