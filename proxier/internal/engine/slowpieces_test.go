package engine

import (
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestSlowPiecesBecomeSmall: where an operation takes long pieces become small, so that a pass takes hardly longer than
// others may wait; and large again when it takes little.
func TestSlowPiecesBecomeSmall(t *testing.T) {
	p := newPieces()
	for _, c := range []struct {
		each time.Duration // of an operation
		last int           // the size in the end
	}{{time.Microsecond, pieceServers}, {time.Millisecond, 32}, {10 * time.Microsecond, pieceServers}, {139 * time.Microsecond, 256}} {
		for range 20 {
			p.took(time.Duration(p.serversRoom())*c.each, false)
		}
		if p.serversRoom() != c.last || p.room() != c.last/2 {
			t.Errorf("where an operation takes %s, a piece has %d real servers, and %d objects; want %d, %d", c.each, p.serversRoom(), p.room(), c.last, c.last/2)
		}
	}
}

// slowKernel takes a millisecond for each operation, on its own clock.
type slowKernel struct {
	dataplane.Kernel
	now time.Time
}

func (k *slowKernel) Apply(ops []dataplane.Op) []error {
	k.now = k.now.Add(time.Duration(len(ops)) * time.Millisecond)
	return k.Kernel.Apply(ops)
}

// TestPiecesOfASlowKernel: a big Service that a slow kernel takes comes in small pieces, all but the first few.
func TestPiecesOfASlowKernel(t *testing.T) {
	s := bigOthers(t, newHostile().ports(60).endpoints(60, 40, "n2"), pieceObjects, pieceServers)
	slow := &slowKernel{Kernel: s.memory}
	s.engine.kernel, s.engine.pieces.clock = slow, func() time.Time { return slow.now }
	ops := s.passes(hostileName)
	if len(ops) < 10 {
		t.Fatalf("passes of %v operations", ops)
	}
	for i, n := range ops {
		if most := 2 * 45; i > pieceHalves && n > most {
			t.Errorf("pass %d has %d operations, want at most %d, which is one front end: %v", i, n, most, ops)
		}
	}
}
