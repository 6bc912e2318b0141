package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestSlowPiecesBecomeSmall: where an operation takes long pieces become small, so that a pass takes hardly longer than
// others may wait; and large again when it takes little.
func TestSlowPiecesBecomeSmall(t *testing.T) {
	p := newPieces()
	for _, c := range []struct {
		each time.Duration // of an operation
		last int           // the size in the end
	}{{
		time.Microsecond, pieceServers,
	}, {time.Millisecond, 32}, {10 * time.Microsecond, pieceServers}, {139 * time.Microsecond, 256}} {
		for range 20 {
			p.took(time.Duration(p.serversRoom())*c.each, false)
		}
		if p.serversRoom() != c.last || p.room() != c.last/2 {
			t.Errorf("where an operation takes %s, a piece has %d real servers, and %d objects; want %d, %d",
				c.each, p.serversRoom(), p.room(), c.last, c.last/2)
		}
	}
}

// TestManyTables: of Services that change at once no more are looked at in a pass than tables may be built anew, those
// that are put back come first with the next one, and others do not wait for all of them.
func TestManyTables(t *testing.T) {
	const services = 100
	s := newScenario(t, 0, 0)
	text := strings.ReplaceAll(manyServices(services), "{name: s",
		"{annotations: {ipvs-proxier.io/scheduler: mh}, name: s")
	dirty := s.apply([]byte(text))
	tables := func() (n int) {
		for _, v := range s.memory.State().VirtualServers {
			if v.Costly() {
				n++
			}
		}
		return n
	}
	s.engine.Pass(s.now, nil, true)
	s.converge(nil, false)
	if tables() != services {
		t.Fatalf("%d tables, want %d: the test shows nothing", tables(), services)
	}
	for _, name := range dirty {
		delete(s.objects.services, name)
	}
	s.converge(dirty, false)
	s.apply([]byte(text))
	before, seen := 0, map[cluster.Name]int{}
	for pass := 0; before < services; pass++ {
		r := s.engine.Pass(s.now, dirty, false)
		now := tables()
		if now-before > pieceTables || now == before || pass == 20 {
			t.Fatalf("pass %d has built %d tables", pass, now-before)
		}
		for _, row := range r.Changed {
			seen[row.Name]++
		}
		before = now
		// The first one changes with each pass, and keeps nobody out.
		dirty = s.apply([]byte(sliceOf(0, 4+pass%2)))
		if now < services && r.Backlog == 0 {
			t.Fatalf("after pass %d there are %d tables, and nothing waits", pass, now)
		}
	}
	for i := range services {
		name := cluster.Name{Namespace: "default", Name: fmt.Sprint("s", i)}
		if seen[name] == 0 || i > 0 && seen[name] > 1 {
			t.Errorf("%s was reported %d times", name, seen[name])
		}
	}
	if left := dataplane.Diff(
		s.memory.State(), s.engine.want.State, dataplane.All(nil, s.engine.want.State),
	); len(left) > 20 {
		t.Errorf("in the end %d operations are left", len(left))
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
