package engine

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestRestlessWalk changes hostile objects again before the last change is carried out, on a kernel that fails often,
// with restarts in between. What must never be is not, also then; and once the kernel fails less everything is as on a
// kernel that never failed.
func TestRestlessWalk(t *testing.T) {
	seed := anySeed(t)
	a := author{rand.New(rand.NewPCG(seed, 6))}
	s := newScenario(t, 0.1, seed)
	s.faulty.Burst = 20
	for range 40 {
		s.faulty.Rate = pick(a, 0.1, 0.4, 0.6)
		for range 3 {
			s.objects.nodes = a.node()
			s.objects.version++
			to := a.place(*s.objects)
			names := slices.Concat(s.objects.Names(), to.Names())
			s.objects.services, s.objects.slices = to.services, to.slices
			s.hurry(a, names)
			if a.IntN(10) == 0 {
				s.mode = pick(a, dataplane.ByAddress, dataplane.ByRoute)
				s.restart()
				s.hurry(a, nil)
			}
		}
		s.faulty.Rate = 0.1
		s.walkTo(s.corrected())
		s.now = s.now.Add(25 * time.Hour)
		s.converge(nil, false)
		s.walkTo(s.corrected())
		s.now = s.now.Add(25 * time.Hour)
		s.converge(nil, false)
		s.testAsFresh()
		if t.Failed() {
			return
		}
	}
}

// hurry makes a few passes, some of which have waited for what is to be tried again.
func (s *scenario) hurry(a author, names []cluster.Name) {
	for range 1 + a.IntN(4) {
		s.runSome()
		s.guarded(s.engine.Pass(s.now, names, false))
		names = nil
		if next := s.engine.retries.next(); a.IntN(2) == 0 && next.After(s.now) {
			s.now = next
		}
	}
}
