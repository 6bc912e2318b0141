package engine

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// takeAway takes away all that Services have in the kernel.
func (s *scenario) takeAway() {
	s.tampered = true
	state := s.memory.State()
	for id := range state.Clone().VirtualServers {
		state.DropVirtualServer(id)
	}
	for e := range state.Clone().Entries.All() {
		state.Entries.Drop(e)
	}
	clear(state.Addresses)
	clear(state.Routes)
}

// repairs has an audit beside the passes find what differs, and repairs it. changed is asked before each pass for what
// changes just then. It returns how many operations each pass had, and how many of them repaired drift.
func (s *scenario) repairs(changed func() []cluster.Name) (ops, drifted []int) {
	s.t.Helper()
	s.round(s.memory.Reader(), dataplane.AllParts, func() {})
	for left := true; left; s.found = nil {
		r := s.engine.pass(s.now, changed(), false, s.found)
		n := 0
		for range r.Drift() {
			n++
		}
		ops, drifted = append(ops, r.OpCount()), append(drifted, n)
		if left = r.Backlog > 0; r.Error() != nil || len(ops) == 1000 {
			s.t.Fatalf("%d passes: %v", len(ops), r.Error())
		}
	}
	s.tampered = false
	return ops, drifted
}

// TestDriftOfABigServiceIsRepairedInPieces: all others are repaired with the first pass. Their changes go ahead of the
// pieces, each of which is repaired drift.
func TestDriftOfABigServiceIsRepairedInPieces(t *testing.T) {
	const objects, ports = 50, 60
	h := newHostile().ports(ports).endpoints(ports, 5, "n1")
	s := bigOthers(t, h, objects, objects)
	s.passes(hostileName)
	before := s.memory.State().Text()
	s.takeAway()
	pass := 0
	ops, drifted := s.repairs(func() []cluster.Name {
		if pass++; pass == 1 {
			return nil
		}
		if pass == 2 && len(s.memory.State().VirtualServers) != 5 {
			t.Errorf("after the first pass there are %d virtual servers, want those of the 5 others",
				len(s.memory.State().VirtualServers))
		}
		if pass > 2 {
			if n := len(ready(s.memory.State().VirtualServers[frontEndAt("10.96.0.4", 80)])); n != 5+(pass-1)%2 {
				t.Errorf("before pass %d the other Service has %d endpoints", pass, n)
			}
		}
		return s.apply([]byte(sliceOf(3, 5+pass%2)))
	})
	all := 0
	for i, n := range ops {
		if n > 2*objects {
			t.Errorf("operations of the passes %v, none may have more than %d", ops, 2*objects)
		}
		if all += drifted[i]; drifted[i] > n {
			t.Errorf("pass %d has repaired %d by %d operations", i, drifted[i], n)
		}
	}
	if len(ops) < 10 || all < ports*7 {
		t.Errorf("operations of the passes %v, of which %v have repaired drift", ops, drifted)
	}
	s.now = s.now.Add(time.Hour) // the endpoint that goes with the last change has drained
	s.converge(s.apply([]byte(sliceOf(3, 5))), false)
	s.now = s.now.Add(25 * time.Hour)
	s.converge(nil, false)
	if diff := gocmp.Diff(before, s.memory.State().Text()); diff != "" {
		t.Errorf("(-before +repaired):\n%s", diff)
	}
}

// TestAWipeIsRepairedAtOnce: where everything is gone and no Service is a big one, one pass repairs it, of however many
// Services.
func TestAWipeIsRepairedAtOnce(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.memory.AfterEach = nil
	s.converge(s.apply([]byte(manyServices(500))), true)
	before := s.memory.State().Text()
	s.takeAway()
	if ops, drifted := s.repairs(func() []cluster.Name { return nil }); len(ops) != 1 || drifted[0] != ops[0] {
		t.Errorf("passes of %v operations, of which %v have repaired drift", ops, drifted)
	}
	if diff := gocmp.Diff(before, s.memory.State().Text()); diff != "" {
		t.Errorf("(-before +repaired):\n%s", diff)
	}
}

// TestABigServiceThatGoesWhileItIsRepaired: it is repaired first, and then goes with all that it had.
func TestABigServiceThatGoesWhileItIsRepaired(t *testing.T) {
	s := bigOthers(t, newHostile().ports(60).endpoints(60, 5, "n2"), 50, 50)
	before := s.memory.State().Text()
	s.passes(hostileName)
	s.tampered = true
	for e := range s.memory.State().Clone().Entries.All() {
		s.memory.State().Entries.Drop(e)
	}
	clear(s.memory.State().Addresses)
	pass := 0
	s.repairs(func() []cluster.Name {
		if pass++; pass != 2 {
			return nil
		}
		delete(s.objects.services, hostileName)
		return []cluster.Name{hostileName}
	})
	if diff := gocmp.Diff(before, s.memory.State().Text()); diff != "" {
		t.Errorf("(-without it +when it is gone):\n%s", diff)
	}
}
