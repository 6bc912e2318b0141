package cluster_test

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// hostile returns objects with n of something that an author chooses.
var hostile = map[string]func(n int) (*v1.Service, []*discovery.EndpointSlice){
	"ports, each named wrong in an annotation": func(n int) (*v1.Service, []*discovery.EndpointSlice) {
		s := shopService(withPorts(n))
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "q%d=rr,", i)
		}
		s.Annotations["ipvs-proxier.io/scheduler"] = strings.TrimSuffix(b.String(), ",")
		return s, nil
	},
	"source ranges that are none": func(n int) (*v1.Service, []*discovery.EndpointSlice) {
		return shopService(func(s *v1.Service) {
			for i := range n {
				s.Spec.LoadBalancerSourceRanges = append(s.Spec.LoadBalancerSourceRanges, fmt.Sprintf("10.%d/x", i))
			}
		}), nil
	},
	"unknown keys": func(n int) (*v1.Service, []*discovery.EndpointSlice) {
		return shopService(func(s *v1.Service) { s.Annotations = unknownKeys(n) }), nil
	},
	"unknown keys of a slice, and ports": func(n int) (*v1.Service, []*discovery.EndpointSlice) {
		slice := portsSlice("web-a", n, 1)
		slice.Annotations = unknownKeys(n)
		return shopService(withPorts(n)), []*discovery.EndpointSlice{slice}
	},
	"a long value": func(n int) (*v1.Service, []*discovery.EndpointSlice) {
		return shopService(func(s *v1.Service) {
			s.Annotations["ipvs-proxier.io/scheduler"] = strings.Repeat("lc", 10*n)
			s.Annotations["kube-router.io/service.schedflags"] = strings.Repeat("\x01", 10*n)
		}), nil
	},
	"addresses that are none": func(n int) (*v1.Service, []*discovery.EndpointSlice) {
		return shopService(func(s *v1.Service) {
			for i := range n {
				s.Spec.ExternalIPs = append(s.Spec.ExternalIPs, fmt.Sprintf("203.0.113.x%d", i))
				s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress,
					v1.LoadBalancerIngress{IP: fmt.Sprintf("198.51.%d.%d", i/256, i%256)})
			}
		}), nil
	},
	"endpoints that are none, behind several ports": func(n int) (*v1.Service, []*discovery.EndpointSlice) {
		slice := portsSlice("web-a", 10, n)
		for i := range slice.Endpoints {
			slice.Endpoints[i].Addresses[0] = fmt.Sprintf("x%d", i)
		}
		return shopService(withPorts(10)), []*discovery.EndpointSlice{slice}
	},
	"ports whose last good values are looked up": func(n int) (*v1.Service, []*discovery.EndpointSlice) {
		s := shopService(withPorts(n))
		for _, key := range []string{"scheduler", "slow-start", "drain-timeout"} {
			s.Annotations["ipvs-proxier.io/"+key] = "wrong"
		}
		return s, nil
	},
}

func withPorts(n int) func(*v1.Service) {
	return func(s *v1.Service) {
		s.Spec.Ports = nil
		for i := range n {
			s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: fmt.Sprint("p", i), Port: int32(i + 1)})
		}
	}
}

func unknownKeys(n int) map[string]string {
	keys := map[string]string{}
	for i := range n {
		keys[fmt.Sprintf("ipvs-proxier.io/schedule%05d", i)] = "x"
	}
	return keys
}

// portsSlice returns a slice of web with those of withPorts, and endpoints on node n2.
func portsSlice(name string, ports, endpoints int) *discovery.EndpointSlice {
	slice := &discovery.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name}, AddressType: discovery.AddressTypeIPv4}
	for i := range ports {
		slice.Ports = append(slice.Ports, discovery.EndpointPort{Name: new(fmt.Sprint("p", i)), Port: new(int32(8080))})
	}
	for i := range endpoints {
		slice.Endpoints = append(slice.Endpoints,
			discovery.Endpoint{Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 200+i>>16, i>>8&255, i&255)}, NodeName: new("n2")})
	}
	return slice
}

// TestParsingIsLinear: twice as much of whatever an author chooses takes little more than twice the allocations, and
// asks no more than twice as often.
func TestParsingIsLinear(t *testing.T) {
	for name, make := range hostile {
		t.Run(name, func(t *testing.T) {
			cost := func(n int) (allocations, bytes, asked float64) {
				s, slices := make(n)
				questions := 0
				run := func() {
					cluster.Parse(cluster.Input{
						Service: s, Slices: slices, NodeName: "n1",
						LastGood:   func(string, *cluster.ServicePort) (string, bool) { questions++; return "rr", true },
						NodeWeight: func(string) (uint32, bool) { questions++; return 0, false },
					})
				}
				allocations = testing.AllocsPerRun(1, run)
				bytes = math.Inf(1)
				for range 5 { // what the runtime itself allocates meanwhile is counted, too: the least is what parsing takes
					var before, after runtime.MemStats
					questions = 0
					runtime.ReadMemStats(&before)
					run()
					runtime.ReadMemStats(&after)
					bytes = min(bytes, float64(after.TotalAlloc-before.TotalAlloc))
				}
				return allocations, bytes, float64(questions)
			}
			allocations, bytes, asked := cost(400)
			allocations2, bytes2, asked2 := cost(800)
			if allocations2 > 2.2*allocations || bytes2 > 2.5*bytes || asked2 > 2*asked {
				t.Errorf("twice the input: %.0f allocations become %.0f, %.0f bytes %.0f, %.0f questions %.0f",
					allocations, allocations2, bytes, bytes2, asked, asked2)
			}
		})
	}
}

// TestWhatIsToldIsBounded: however much is wrong, a Service has few Problems, each of them short, and the last ones say
// how many more there are.
func TestWhatIsToldIsBounded(t *testing.T) {
	for name, make := range hostile {
		t.Run(name, func(t *testing.T) {
			s, of := make(5000)
			reported := parse(s, of...).Problems.Reported()
			if len(reported) == 0 || len(reported) > 2*budget.Problems+2 {
				t.Fatalf("%d Problems", len(reported))
			}
			for _, p := range reported {
				if len(p.Text()) > 2*budget.MessageBytes+20 || len(p.Field) > budget.MessageBytes ||
					budget.Printable(p.String()) != p.String() {
					t.Errorf("%d bytes: %s", len(p.String()), p)
				}
			}
			if !slices.Equal(reported, parse(s, of...).Problems.Reported()) {
				t.Error("parsed again, it reports something else")
			}
		})
	}
	s, _ := hostile["unknown keys"](1000)
	reported := parse(s).Problems.Reported()
	if last := reported[len(reported)-1]; last.Reason != cluster.MoreProblems ||
		!strings.HasPrefix(last.Message, fmt.Sprintf("and %d more", 1000-budget.Problems)) {
		t.Errorf("the last Problem is %s", last)
	}
	if !strings.Contains(reported[0].Field, "schedule00000") {
		t.Errorf("the first Problem is %s", reported[0])
	}
}

// TestProblemsOfTheNodeHaveRoom: Problems that all nodes see and Problems of one node have budgets of their own. A
// Problem that takes something away is never left out.
func TestProblemsOfTheNodeHaveRoom(t *testing.T) {
	one, another := cluster.Reason{Name: "One", OfNode: true}, cluster.Reason{Name: "Another", OfNode: true}
	urgent := cluster.Reason{Name: "Zzz", OfNode: true, Urgent: true}
	var ps cluster.Problems
	for i := range 3 * budget.Problems {
		for _, reason := range []cluster.Reason{
			cluster.AnnotationConflict, cluster.InvalidField, cluster.UnknownAnnotation, one, another,
		} {
			ps.Addf(reason, fmt.Sprint("f", i), "m")
		}
	}
	ps.Addf(cluster.BeyondBudget, "f", "too much")
	ps.Addf(urgent, "f", "too much here")
	kept := ps.Kept()
	var joined cluster.Problems
	joined.Join(kept)
	for name, of := range map[string]cluster.Problems{"at once": ps, "kept": kept, "joined": joined} {
		reported := of.Reported()
		count := map[bool]int{}
		for _, p := range reported {
			count[p.Reason.OfNode]++
		}
		if count[true] != budget.Problems+1 || count[false] != budget.Problems+1 {
			t.Errorf("%s: %d of the node and %d of all, want %d of each", name, count[true], count[false], budget.Problems+1)
		}
		for _, want := range []cluster.Reason{cluster.BeyondBudget, urgent} {
			if !slices.ContainsFunc(reported, func(p cluster.Problem) bool { return p.Reason == want }) {
				t.Errorf("%s: %s is not reported", name, want)
			}
		}
		n := 3 * budget.Problems
		if end := reported[len(reported)-2:]; !strings.HasPrefix(
			end[0].Message, fmt.Sprintf("and %d more", 3*n+1-budget.Problems),
		) || !strings.HasPrefix(end[1].Message, fmt.Sprintf("and %d more", 2*n+1-budget.Problems)) {
			t.Errorf("%s: at the end %q", name, end)
		}
	}
}

// TestBudgetsOfParts: what is beyond each bound is left out, the first ones are in force, and one Problem says so; at
// the bound there is none.
func TestBudgetsOfParts(t *testing.T) {
	ingress := func(n int) func(*v1.Service) {
		return func(s *v1.Service) {
			for i := range n {
				s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress,
					v1.LoadBalancerIngress{IP: fmt.Sprintf("198.51.%d.%d", i/200, 1+i%200)})
			}
		}
	}
	ranges := func(n int) func(*v1.Service) {
		return func(s *v1.Service) {
			for i := range n {
				s.Spec.LoadBalancerSourceRanges = append(s.Spec.LoadBalancerSourceRanges, fmt.Sprintf("172.16.%d.%d/32",
					i/256, i%256))
			}
		}
	}
	for name, c := range map[string]struct {
		most   int
		make   func(n int) (*v1.Service, []*discovery.EndpointSlice)
		got    func(cluster.Service) int
		field  string
		beside int // of what is in force because something is beyond
	}{
		"ports": {budget.Ports,
			func(n int) (*v1.Service, []*discovery.EndpointSlice) { return shopService(withPorts(n)), nil },
			func(s cluster.Service) int { return len(s.Ports) }, "spec.ports", 0},
		"addresses of load balancers": {budget.Addresses,
			func(n int) (*v1.Service, []*discovery.EndpointSlice) { return shopService(ingress(n)), nil },
			func(s cluster.Service) int { return len(s.LoadBalancerIPs) }, "status.loadBalancer.ingress", 0},
		"source ranges": {budget.SourceRanges,
			func(n int) (*v1.Service, []*discovery.EndpointSlice) { return shopService(ingress(1), ranges(n)), nil },
			func(s cluster.Service) int { return len(s.SourceRanges) }, "spec.loadBalancerSourceRanges", 1},
		"endpoints of a port": {budget.Endpoints, func(n int) (*v1.Service, []*discovery.EndpointSlice) {
			return shopService(withPorts(1)), manySlices(1, n)
		},
			func(s cluster.Service) int { return len(s.Ports[0].Endpoints) }, "endpoints", 0},
		"endpoints of all ports": {budget.AllEndpoints, func(n int) (*v1.Service, []*discovery.EndpointSlice) {
			of := manySlices(64, 1024)
			if n > budget.AllEndpoints {
				return shopService(withPorts(65)), manySlices(65, 1024)
			}
			return shopService(withPorts(64)), of
		}, func(s cluster.Service) (n int) {
			for _, port := range s.Ports {
				n += len(port.Endpoints)
			}
			return n
		}, "endpoints", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, of := c.make(c.most)
			at := parse(s, of...)
			if got := c.got(at); got != c.most || !at.Problems.None() {
				t.Errorf("as many as there may be: %d in force, want %d; %q", got, c.most, at.Problems.Reported())
			}
			s, of = c.make(c.most + 1)
			slices.Reverse(of) // whatever their order
			beyond := parse(s, of...)
			if got := c.got(beyond); got != c.most+c.beside {
				t.Errorf("one more: %d in force, want %d", got, c.most+c.beside)
			}
			wantProblems(t, beyond.Problems.Reported(), fmt.Sprintf("BeyondBudget %s allowed are %d in force", c.field, c.most))
		})
	}
}

// manySlices returns slices of 1,000 endpoints at most, in the order of their names.
func manySlices(ports, endpoints int) (all []*discovery.EndpointSlice) {
	whole := portsSlice("", ports, endpoints)
	for i, chunk := range slices.Collect(slices.Chunk(whole.Endpoints, 1000)) {
		all = append(all, &discovery.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%03d",
			i)}, AddressType: whole.AddressType, Ports: whole.Ports, Endpoints: chunk})
	}
	return all
}

// TestSourceRangesFailClosed: networks beyond the budget open nothing, whatever family they are of.
func TestSourceRangesFailClosed(t *testing.T) {
	s := shopService(func(s *v1.Service) {
		s.Spec.ClusterIPs = []string{"10.96.0.1", "fd00:96::1"}
		s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "198.51.100.1"}, {IP: "2001:db8::1"}}
		for i := range budget.SourceRanges {
			s.Spec.LoadBalancerSourceRanges = append(s.Spec.LoadBalancerSourceRanges, fmt.Sprintf("172.16.%d.%d/32",
				i/256, i%256))
		}
		s.Spec.LoadBalancerSourceRanges = append(s.Spec.LoadBalancerSourceRanges, "2001:db8:7::/48", "0.0.0.0/0")
	})
	got := parse(s)
	for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		if !got.Restricted(family) {
			t.Errorf("%s is open", family)
		}
	}
}

// TestLongValues: a value is read up to its budget, and none beyond it.
func TestLongValues(t *testing.T) {
	key, _ := annotation.Lookup(annotation.Service, annotation.Weight)
	var b strings.Builder
	for i := 0; b.Len() < budget.ValueBytes-40; i++ {
		fmt.Fprintf(&b, "node=worker-%05d:%d,", i, i%10)
	}
	long := b.String() + "*=1"
	if _, err := key.Parse(long); err != nil {
		t.Errorf("%d bytes are refused: %v", len(long), err)
	}
	long += strings.Repeat(" ", budget.ValueBytes-len(long))
	if _, err := key.Parse(long); err != nil {
		t.Errorf("%d bytes are refused: %v", len(long), err)
	}
	if _, err := key.Parse(long + " "); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprint("allowed are at most ", budget.ValueBytes)) {
		t.Errorf("%d bytes: %v", len(long)+1, err)
	}
}
