package dataplane

import (
	"math"
	"runtime"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// allocated returns how often run allocates, and how many bytes. What the runtime itself allocates meanwhile is
// counted, too: the least is what run takes.
func allocated(run func()) (allocations, bytes float64) {
	allocations, bytes = math.Inf(1), math.Inf(1)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run()
		runtime.ReadMemStats(&after)
		allocations = min(allocations, float64(after.Mallocs-before.Mallocs))
		bytes = min(bytes, float64(after.TotalAlloc-before.TotalAlloc))
	}
	return allocations, bytes
}

// here has the endpoints of a Service be of this node, so that each has an entry of its own.
func here(s cluster.Service) Fragment {
	for i := range s.Ports {
		for j := range s.Ports[i].Endpoints {
			s.Ports[i].Endpoints[j].Local, s.Ports[i].Endpoints[j].Remote = true, false
		}
	}
	return Compile(s, Node{Name: "n1"}, Config{Families: []cluster.Family{cluster.IPv4}})
}

// TestPassesAreLinear: what is done with a Fragment takes little more than four times as much when it is four times as
// large; a list that grows may have taken half as much again.
func TestPassesAreLinear(t *testing.T) {
	nobody := map[cluster.Name]struct{}{}
	bySteps := func(w *Want, f Fragment) {
		w.Begin(f)
		for over := false; !over; {
			_, over = w.Step(f.Owner, 32, nobody)
		}
	}
	for name, made := range map[string]func(n int) (run func()){
		"a Service comes": func(n int) func() {
			f := here(wide(n, 1, 3))
			return func() { NewWant(NewState()).Set(f, nobody) }
		},
		"it comes by steps, with many ports": func(n int) func() {
			f := here(wide(n, 1, 3))
			return func() { bySteps(NewWant(NewState()), f) }
		},
		"it comes by steps, with many endpoints here": func(n int) func() {
			f := here(wide(2, 1, 4*n))
			return func() { bySteps(NewWant(NewState()), f) }
		},
		"it changes by steps": func(n int) func() {
			w, f, other := NewWant(NewState()), here(wide(n, 1, 3)), here(wide(n, 1, 4))
			w.Set(f, nobody)
			return func() { bySteps(w, other); bySteps(w, f) }
		},
		"its set is full": func(n int) func() {
			w, f := NewWant(NewState()), here(wide(n, 1, 3))
			return func() { g := f; w.ration(&g, n, 1) }
		},
		"it differs from the kernel": func(n int) func() {
			w := NewWant(NewState())
			w.Set(here(wide(n, 1, 3)), nobody)
			have, all := NewState(), All(nil, w.State)
			return func() { Diff(have, w.State, all); Diff(w.State, have, all) }
		},
		"its endpoints differ from the kernel's": func(n int) func() {
			want, have := NewWant(NewState()), NewWant(NewState())
			want.Set(here(wide(1, 1, 4*n)), nobody)
			half := here(wide(1, 1, 2*n))
			for i := range half.FrontEnds {
				for j := range half.FrontEnds[i].VirtualServer.RealServers {
					half.FrontEnds[i].VirtualServer.RealServers[j].Weight = 7
				}
			}
			have.Set(half, nobody)
			all := All(nil, want.State, have.State)
			return func() { Diff(have.State, want.State, all); Diff(want.State, have.State, all) }
		},
		"operations of it are applied in phases": func(n int) func() {
			w := NewWant(NewState())
			w.Set(here(wide(n, 1, 3)), nobody)
			ops := Diff(NewState(), w.State, All(nil, w.State))
			return func() {
				have := NewState()
				for _, phase := range Phases(ops) {
					gate := NewGate(have, w.State, ops)
					for _, op := range phase {
						gate.Blocked(op)
					}
					have.ApplyAll(phase)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			allocations, bytes := allocated(made(250))
			allocations4, bytes4 := allocated(made(1000))
			if allocations4 > 5*allocations+50 || bytes4 > 6*bytes {
				t.Errorf("%.0f allocations become %.0f, %.0f bytes %.0f", allocations, allocations4, bytes, bytes4)
			}
		})
	}
}
