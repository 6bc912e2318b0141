package proxier

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// willingKernel does nothing and says that all is done, so that what is left is our own work.
type willingKernel struct{ Kernel }

func (willingKernel) Apply(ops []dataplane.Op) []error { return make([]error, len(ops)) }

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
		r := s.engine.pass(s.now, nil, false)
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
				if r := s.engine.pass(s.now, dirty, false); r.Error() != nil {
					b.Fatal(r.Error())
				}
			}
		})
	}
}

// BenchmarkRound is what the loop does for an audit beside it, when nothing has drifted: comparing what was seen with the mirror, in pieces, the
// longest of which is how long a change may have to wait; and the pass at the end.
func BenchmarkRound(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newScenario(b, 0, 0)
			s.memory.AfterEach = nil
			s.engine.lister = indexed{s.objects}
			s.converge(s.apply([]byte(manyServices(n))), false)
			reader := s.memory.Beside()
			var longest []time.Duration
			pieces := 0
			for b.Loop() {
				b.StopTimer()
				s.engine.begin()
				of := s.engine.round
				seen, _ := reader.Summarize()
				s.engine.saw(of, seen, nil)
				longest = append(longest, 0)
				b.StartTimer()
				for s.engine.round.judging() {
					began := time.Now()
					s.engine.judge()
					longest[len(longest)-1] = max(longest[len(longest)-1], time.Since(began))
					pieces++
				}
				if r := s.engine.pass(s.now, nil, false); !r.Audit || r.OpCount() != 0 {
					b.Fatal(r.OpCount(), r.Error())
				}
			}
			slices.Sort(longest)
			b.ReportMetric(float64(longest[len(longest)/2].Microseconds()), "us/longest-piece")
			b.ReportMetric(float64(pieces)/float64(b.N), "pieces")
		})
	}
}

// bigServices are of the most that one Service may have on a node, in several shapes.
var bigServices = map[string]func() *hostileObjects{
	"4095x8":    func() *hostileObjects { return newHostile().ports(4095).endpoints(4095, 8, "n2") },
	"32x1000":   func() *hostileObjects { return newHostile().ports(32).endpoints(32, 1000, "n2") },
	"2x16000":   func() *hostileObjects { return oneSlice(newHostile().ports(2), 2, 16) },
	"16000here": func() *hostileObjects { return hairpins(newHostile().ports(16)) },
	"16x4096ranges": func() *hostileObjects {
		h := newHostile().ports(16).balancers(1).endpoints(16, 8, "n2")
		for i := range budget.SourceRanges {
			h.service.Spec.LoadBalancerSourceRanges = append(h.service.Spec.LoadBalancerSourceRanges, fmt.Sprintf("100.64.%d.%d/32", i>>8, i&255))
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

// BenchmarkBesideABigService is the longest pass while the largest Service comes, gets another limit for each of its endpoints, and goes: others wait
// for it. What the kernel takes comes on top.
func BenchmarkBesideABigService(b *testing.B) {
	for _, name := range slices.Sorted(maps.Keys(bigServices)) {
		b.Run(name, func(b *testing.B) {
			s := engineWith(b, 1000, 5)
			s.engine.kernel = idleKernel{willingKernel{s.memory}}
			firstPasses(b, s)
			h := bigServices[name]()
			s.engine.lister = hostileLister{s.objects, h.slices}
			var longest [3]time.Duration
			var piece time.Duration
			passes := 0
			step := func(at int) {
				for dirty := []cluster.Name{hostileName}; ; dirty = nil {
					began := time.Now()
					r := s.engine.pass(s.now, dirty, false)
					took := time.Since(began)
					if longest[at] = max(longest[at], took); r.Services == 0 {
						piece = max(piece, took)
					}
					if passes++; r.Error() != nil {
						b.Fatal(r.Error())
					}
					if r.Backlog == 0 {
						return
					}
				}
			}
			for b.Loop() {
				s.objects.services[hostileName] = h.service
				step(0)
				h.annotate("ipvs-proxier.io/max-connections", "7")
				step(1)
				delete(h.service.Annotations, "ipvs-proxier.io/max-connections")
				delete(s.objects.services, hostileName)
				step(2)
				s.now = s.now.Add(time.Hour)
			}
			for i, what := range []string{"comes", "changes", "goes"} {
				b.ReportMetric(float64(longest[i].Microseconds())/1000, "ms/"+what)
			}
			b.ReportMetric(float64(piece.Microseconds())/1000, "ms/piece")
			b.ReportMetric(float64(passes)/float64(3*b.N), "passes")
		})
	}
}
