package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// refusing has the kernel of a scenario refuse operations whose text has these words, as long as on says.
func (s *scenario) refusing(words string, on *bool) {
	s.engine.kernel = &brokenKernel{Kernel: s.memory, refuse: func(op dataplane.Op) bool {
		return *on && strings.Contains(op.String(), words)
	}}
}

// awaitTry has time pass until the next try of anything is due.
func (s *scenario) awaitTry() {
	s.t.Helper()
	due := s.engine.retries.next()
	if due.IsZero() {
		s.t.Fatal("nothing is to be tried again")
	}
	s.now = due
}

// tried makes passes until nothing is left to be done now. It returns how many operations each has carried out or left
// out, and the rows of the big Service.
func (s *scenario) tried(dirty ...cluster.Name) (ops []int, rows []Row) {
	s.t.Helper()
	for {
		r := s.engine.Pass(s.now, dirty, false)
		ops, dirty = append(ops, r.OpCount()+r.FailureCount()), nil
		for _, row := range r.Changed {
			if row.Name == hostileName {
				rows = append(rows, row)
			}
		}
		if r.Backlog == 0 {
			return ops, rows
		}
		if len(ops) == 1000 {
			s.t.Fatalf("it goes on and on: %v", ops[900:])
		}
	}
}

// TestRetriesComeInPieces: what the kernel has refused of one Service is tried again piece by piece, each of it once in
// a try, ever more rarely, and reported when all of it was tried. It comes as soon as the kernel takes it.
func TestRetriesComeInPieces(t *testing.T) {
	const objects = 50
	for what, refused := range map[string]string{
		"virtual servers": "create virtual-server tcp 10.97.0.1", "real servers": "create real-server tcp 10.97.0.1",
		"entries": "entry IPVSP-FRONT-END 10.97.0.1", "the address": "create address 10.97.0.1",
	} {
		t.Run(what, func(t *testing.T) {
			const ports = 60
			h := newHostile().ports(ports).endpoints(ports, 5, "n2")
			s, on := bigOthers(t, h, objects, objects), true
			s.refusing(refused, &on)
			s.tried(hostileName)
			delay := firstRetry
			for range 5 {
				s.awaitTry()
				ops, rows := s.tried()
				all := 0
				for _, n := range ops {
					if all += n; n > 2*objects {
						t.Errorf("operations of the passes %v, none may have more than %d", ops, 2*objects)
					}
				}
				if one := what == "the address"; !one && len(ops) < 3 || all == 0 || len(rows) != 1 || len(rows[0].Errors) == 0 {
					t.Errorf("passes of %v operations, rows %v", ops, rows)
				}
				delay *= 2
				if got := s.engine.retries.next().Sub(s.now); got != delay {
					t.Errorf("it is tried again after %s, want %s", got, delay)
				}
			}
			on = false
			s.awaitTry()
			ops, rows := s.tried()
			for _, n := range ops {
				if n > 2*objects {
					t.Errorf("once it is taken, operations of the passes %v, none may have more than %d", ops, 2*objects)
				}
			}
			if len(rows) != 1 || len(rows[0].Errors) > 0 || len(s.engine.retries) > 0 {
				t.Errorf("once it is taken, rows %+v, %d to be tried again", rows, len(s.engine.retries))
			}
			at := bigOthers(t, h, 1<<20, 1<<20)
			at.passes(hostileName)
			if diff := gocmp.Diff(at.memory.State().Text(), s.memory.State().Text()); diff != "" {
				t.Errorf("(-at once +in pieces):\n%s", diff)
			}
		})
	}
}

// TestOthersGoAheadOfTries: a change of another Service waits for no more than a piece of what is tried again, and that
// goes on all the same while others change with each pass.
func TestOthersGoAheadOfTries(t *testing.T) {
	s, on := bigOthers(t, newHostile().ports(60).endpoints(60, 5, "n2"), 50, 50), true
	s.refusing("create virtual-server tcp 10.97.0.1", &on)
	s.tried(hostileName)
	s.awaitTry()
	for i := 0; ; i++ {
		r := s.engine.Pass(s.now, s.apply([]byte(sliceOf(3, 5+i%2))), false)
		if n := len(ready(s.memory.State().VirtualServers[frontEndAt("10.96.0.4", 80)])); n != 5+i%2 {
			t.Fatalf("pass %d: the other Service has %d endpoints", i, n)
		}
		if n := r.OpCount() + r.FailureCount(); n > 110 {
			t.Errorf("pass %d has %d operations", i, n)
		}
		if r.Backlog == 0 {
			if i < 10 {
				t.Errorf("all was tried in %d passes", i)
			}
			return
		}
		if i == 200 {
			t.Fatal("what is tried again has no turn")
		}
	}
}

// TestManyRefusedRealServers: those of one virtual server that are refused are tried in pieces, too, and each try comes
// to the last one.
func TestManyRefusedRealServers(t *testing.T) {
	s, on := bigOthers(t, newHostile().ports(1).endpoints(1, 200, "n2"), 50, 50), true
	s.refusing("-> 10.240.", &on)
	s.tried(hostileName)
	for range 3 {
		s.awaitTry()
		ops, rows := s.tried()
		all := 0
		for _, n := range ops {
			if all += n; n > 50 {
				t.Errorf("operations of the passes %v, none may have more than 50", ops)
			}
		}
		if all != 200 || len(rows) != 1 || len(rows[0].Errors) == 0 {
			t.Errorf("%d were tried in a try, want 200; rows %+v", all, rows)
		}
	}
	on = false
	s.awaitTry()
	if s.tried(); len(s.memory.State().VirtualServers[frontEndAt("10.97.0.1", 1)].RealServers) != 200 ||
		len(s.engine.retries) > 0 {
		t.Error("once they are taken they do not come")
	}
}

// TestManySmallRetries: those of many Services that are due at once come in their order, as many as have room in a
// pass.
func TestManySmallRetries(t *testing.T) {
	s, on := newScenario(t, 0, 0), true
	s.engine.pieces.objects = 50
	s.refusing("create virtual-server", &on)
	names := s.apply([]byte(manyServices(100)))
	for i := range 100 {
		s.engine.Pass(s.now, names[2*i:2*i+2], false)
		s.now = s.now.Add(time.Microsecond)
	}
	s.now, on = s.now.Add(firstRetry), false
	before := 0
	for i := 0; len(s.memory.State().VirtualServers) < 100; i++ {
		r := s.engine.Pass(s.now, nil, false)
		if n := r.OpCount(); n > triesOfPass*50+50 || i == 20 {
			t.Fatalf("pass %d has %d operations", i, n)
		}
		now := 0
		for ; now < 100; now++ {
			if _, there := s.memory.State().VirtualServers[frontEndAt(fmt.Sprintf("10.96.0.%d", 1+now), 80)]; !there {
				break
			}
		}
		if n := len(s.memory.State().VirtualServers); now != n || n == before {
			t.Fatalf("after pass %d there are %d virtual servers, the first %d of them in their order", i, n, now)
		}
		before = now
	}
}
