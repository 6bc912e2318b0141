package engine

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// willingKernel does nothing and says that all is done, so that what is left is our own work.
type willingKernel struct{ dataplane.Kernel }

func (willingKernel) Apply(ops []dataplane.Op) []error { return make([]error, len(ops)) }

// NewIdle returns an engine on a kernel that does nothing.
func NewIdle(tb testing.TB, l Lister) *Engine {
	s := newScenario(tb, 0, 0)
	return New(s.engine.settings, willingKernel{s.memory}, l)
}

// NoObjects is a cluster without any.
func NoObjects() Lister { return &objects{} }

// indexed finds slices by their Service, as the watcher does.
type indexed struct{ *objects }

func (o indexed) Slices(of cluster.Name) []*discovery.EndpointSlice {
	slice, found := o.slices[cluster.Name{Namespace: of.Namespace, Name: of.Name + "-a"}]
	if !found {
		return nil
	}
	return []*discovery.EndpointSlice{slice}
}

func engineWith(tb testing.TB, services, endpoints int) *scenario {
	s := newScenario(tb, 0, 0)
	s.memory.AfterEach = nil
	s.apply([]byte(manyServices(services)))
	for i := range services {
		if endpoints != 5 {
			s.apply([]byte(sliceOf(i, endpoints)))
		}
	}
	begin(s)
	return s
}

func begin(s *scenario) {
	s.restart()
	s.engine.kernel, s.engine.lister = willingKernel{s.memory}, indexed{s.objects}
}

// firstPasses makes as many passes as a start takes, and returns the number of Services.
func firstPasses(b *testing.B, s *scenario) (services int) {
	for {
		r := s.engine.Pass(s.now, nil, false)
		if r.Error() != nil {
			b.Fatal(r.Error())
		}
		if services += r.Services; r.Backlog == 0 {
			return services
		}
	}
}

// BenchmarkFirstPass is everything from the objects of the API to operations.
func BenchmarkFirstPass(b *testing.B) {
	for _, of := range []struct{ n, endpoints int }{{100, 5}, {1000, 5}, {10_000, 5}, {10_000, 10}} {
		n := of.n
		b.Run(fmt.Sprintf("%dx%d", n, of.endpoints), func(b *testing.B) {
			s := engineWith(b, n, of.endpoints)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				begin(s)
				b.StartTimer()
				if services := firstPasses(b, s); services != n {
					b.Fatal(services)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/Service")
		})
	}
}

// BenchmarkOneChange is an endpoint that comes and goes; it should not depend on how many other Services there are.
func BenchmarkOneChange(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := engineWith(b, n, 5)
			firstPasses(b, s)
			var dirty []cluster.Name
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				b.StopTimer()
				dirty = s.apply([]byte(sliceOf(3, 5+i%2)))
				i++
				s.now = s.now.Add(time.Second)
				b.StartTimer()
				if r := s.engine.Pass(s.now, dirty, false); r.Error() != nil {
					b.Fatal(r.Error())
				}
			}
		})
	}
}

// BenchmarkRound is what the loop does for an audit beside it, when nothing has drifted: comparing what was seen with
// the mirror, in pieces, the longest of which is how long a change may have to wait; and the pass at the end.
func BenchmarkRound(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newScenario(b, 0, 0)
			s.memory.AfterEach = nil
			s.engine.lister = indexed{s.objects}
			s.converge(s.apply([]byte(manyServices(n))), false)
			reader := s.memory.Reader()
			var longest []time.Duration
			pieces := 0
			for b.Loop() {
				b.StopTimer()
				of := s.engine.newRound()
				seen, _ := reader.Summarize(dataplane.AllParts)
				of.startComparing(seen)
				var found *drift
				longest = append(longest, 0)
				b.StartTimer()
				for found == nil {
					began := time.Now()
					found = of.step()
					longest[len(longest)-1] = max(longest[len(longest)-1], time.Since(began))
					pieces++
				}
				if r := s.engine.repair(s.now, found); !r.Audit || r.OpCount() != 0 {
					b.Fatal(r.OpCount(), r.Error())
				}
			}
			slices.Sort(longest)
			b.ReportMetric(float64(longest[len(longest)/2].Microseconds()), "us/longest-piece")
			b.ReportMetric(float64(pieces)/float64(b.N), "pieces")
		})
	}
}

// BenchmarkWipe is what the loop does to repair all Services of which everything is gone, without what the kernel
// takes.
func BenchmarkWipe(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newScenario(b, 0, 0)
			s.memory.AfterEach = nil
			s.engine.lister = indexed{s.objects}
			s.converge(s.apply([]byte(manyServices(n))), false)
			for b.Loop() {
				b.StopTimer()
				s.takeAway()
				s.round(s.memory.Reader(), dataplane.AllParts, func() {})
				s.engine.kernel = willingKernel{s.memory}
				b.StartTimer()
				if r := s.engine.repair(s.now, s.found); r.OpCount() < 7*n || r.Backlog > 0 {
					b.Fatal(r.OpCount(), r.Error())
				}
				b.StopTimer()
				s.engine.kernel, s.found = s.memory, nil
				s.converge(nil, true)
				b.StartTimer()
			}
		})
	}
}

// bigServices are of the most that one Service may have on a node, in several shapes.
var bigServices = map[string]func() *hostileObjects{
	"4095x8":            func() *hostileObjects { return newHostile().ports(4095).endpoints(4095, 8, "n2") },
	"32x1000":           func() *hostileObjects { return newHostile().ports(32).endpoints(32, 1000, "n2") },
	"2x16000":           func() *hostileObjects { return oneSlice(newHostile().ports(2), 2, 16) },
	"16000here":         func() *hostileObjects { return hairpins(newHostile().ports(16)) },
	"4096x256addresses": func() *hostileObjects { return newHostile().ports(4096).balancers(256).endpoints(50, 8, "n2") },
	"16x4096ranges": func() *hostileObjects {
		h := newHostile().ports(16).balancers(1).endpoints(16, 8, "n2")
		for i := range budget.SourceRanges {
			h.service.Spec.LoadBalancerSourceRanges = append(h.service.Spec.LoadBalancerSourceRanges,
				fmt.Sprintf("100.64.%d.%d/32", i>>8, i&255))
		}
		return h
	},
}

func oneSlice(h *hostileObjects, ports, thousands int) *hostileObjects {
	for range thousands {
		h.endpoints(ports, 1000, "n2")
	}
	return h
}

func hairpins(h *hostileObjects) *hostileObjects { return h.endpoints(16, 1000, "n1") }

// BenchmarkBesideABigService is the longest pass while the largest Service comes, gets another limit for each of its
// endpoints, and goes: others wait for it. It is the processor time of the thread, so that other programs do not count;
// what the kernel takes comes on top. The work beside the passes is a figure of its own.
func BenchmarkBesideABigService(b *testing.B) {
	for _, name := range slices.Sorted(maps.Keys(bigServices)) {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			s := engineWith(b, 1000, 5)
			s.engine.kernel = idleKernel{willingKernel{s.memory}}
			firstPasses(b, s)
			h := bigServices[name]()
			s.engine.lister, s.runner = hostileLister{s.objects, h.slices}, &stepRunner{}
			s.engine.background = s.runner
			longest, passes := map[string]time.Duration{}, 0
			timed := func(what string, do func()) {
				before, _ := kernel.ProcessorTime()
				do()
				after, _ := kernel.ProcessorTime()
				longest[what] = max(longest[what], after-before)
			}
			step := func(what string) {
				for dirty, left := []cluster.Name{hostileName}, true; left; dirty = nil {
					timed(what, func() {
						r := s.engine.Pass(s.now, dirty, false)
						if passes, left = passes+1, r.Backlog > 0; r.Error() != nil {
							b.Fatal(r.Error())
						}
					})
					for ; len(s.runner.jobs) > 0; s.runner.jobs = s.runner.jobs[1:] {
						timed("made", s.runner.jobs[0])
					}
				}
			}
			for b.Loop() {
				s.objects.services[hostileName] = h.service
				step("comes")
				h.annotate("ipvs-proxier.io/max-connections", "7")
				step("changes")
				delete(h.service.Annotations, "ipvs-proxier.io/max-connections")
				delete(s.objects.services, hostileName)
				step("goes")
				s.now = s.now.Add(time.Hour)
			}
			for what, d := range longest {
				b.ReportMetric(float64(d.Microseconds())/1000, "ms/"+what)
			}
			b.ReportMetric(float64(passes)/float64(3*b.N), "passes")
		})
	}
}

// BenchmarkContenders is what many Services take that want the ports of one address: all of them come, then the one
// goes that has it.
func BenchmarkContenders(b *testing.B) {
	for _, n := range []int{50, 100, 200} {
		b.Run(fmt.Sprintf("%dx400", n), func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			took, longest, rows := map[string]time.Duration{}, time.Duration(0), 0
			for b.Loop() {
				s := newScenario(b, 0, 0)
				s.memory.AfterEach = nil
				s.engine.kernel = idleKernel{willingKernel{s.memory}}
				names := s.contend(n, 400)
				step := func(what string, dirty []cluster.Name) {
					for left := true; left; dirty = nil {
						before, _ := kernel.ProcessorTime()
						r := s.engine.Pass(s.now, dirty, false)
						after, _ := kernel.ProcessorTime()
						left, took[what] = r.Backlog > 0, took[what]+after-before
						if what == "goes" {
							longest, rows = max(longest, after-before), rows+len(r.Changed)
						}
					}
				}
				step("come", names)
				delete(s.objects.services, names[0])
				step("goes", names[:1])
			}
			for what, d := range took {
				b.ReportMetric(float64(d.Milliseconds())/float64(b.N), "ms/"+what)
			}
			b.ReportMetric(float64(longest.Milliseconds()), "ms/longest")
			b.ReportMetric(float64(rows)/float64(b.N), "rows")
		})
	}
}
