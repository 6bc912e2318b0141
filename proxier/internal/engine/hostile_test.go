package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

var (
	hostileName = cluster.Name{Namespace: "hostile", Name: "s"}
	// hostileBytes is how much of the node's memory one Service may take.
	hostileBytes = int64(64 << 20)
)

// hostileObjects are those of one author.
type hostileObjects struct {
	service *v1.Service
	slices  []*discovery.EndpointSlice
}

func newHostile() *hostileObjects {
	return &hostileObjects{service: &v1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: hostileName.Namespace, Name: hostileName.Name, UID: "h", Annotations: map[string]string{},
		},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, ClusterIP: "10.97.0.1", ClusterIPs: []string{"10.97.0.1"}},
	}}
}

func (h *hostileObjects) ports(n int) *hostileObjects {
	for i := range n {
		h.service.Spec.Ports = append(h.service.Spec.Ports, v1.ServicePort{Name: fmt.Sprint("p", i), Port: int32(1 + i)})
	}
	return h
}

// balancers gives it addresses of load balancers.
func (h *hostileObjects) balancers(n int) *hostileObjects {
	for i := range n {
		h.service.Status.LoadBalancer.Ingress = append(h.service.Status.LoadBalancer.Ingress,
			v1.LoadBalancerIngress{IP: fmt.Sprintf("198.18.%d.%d", i/250, 1+i%250)})
	}
	return h
}

// endpoints adds a slice of the first ports; node is "" where nobody says on which node they are.
func (h *hostileObjects) endpoints(ports, n int, node string) *hostileObjects {
	slice := &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostileName.Namespace, Name: fmt.Sprintf("s-%03d",
			len(h.slices)), Labels: map[string]string{discovery.LabelServiceName: hostileName.Name},
			Annotations: map[string]string{}},
		AddressType: discovery.AddressTypeIPv4,
	}
	for i := range ports {
		slice.Ports = append(slice.Ports, discovery.EndpointPort{Name: new(fmt.Sprint("p", i)), Port: new(int32(8080))})
	}
	for i := range n {
		e := discovery.Endpoint{Addresses: []string{fmt.Sprintf("10.240.%d.%d", 4*len(h.slices)+i>>8, i&255)}}
		if node != "" {
			e.NodeName = &node
		}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	h.slices = append(h.slices, slice)
	return h
}

func (h *hostileObjects) annotate(key, value string) *hostileObjects {
	h.service.Annotations[key] = value
	return h
}

// manyKeys are annotations that this version does not know, as many as the API server takes.
func manyKeys(of map[string]string, letter string) {
	for i := range 12_400 {
		of[fmt.Sprintf("ipvs-proxier.io/%s%04d", letter, i)] = ""
	}
}

func wrongNames(bytes int) string {
	var b strings.Builder
	for i := 0; b.Len() < bytes; i++ {
		fmt.Fprintf(&b, "q%d=wlc,", i)
	}
	return b.String() + "*=rr"
}

// hostileRows are the worst objects that the API server accepts, by what they are about.
var hostileRows = map[string]func() *hostileObjects{
	"names of ports in a value beyond the budget": func() *hostileObjects {
		return newHostile().ports(5000).annotate("ipvs-proxier.io/scheduler", wrongNames(250_000))
	},
	"names of ports in a value": func() *hostileObjects {
		return newHostile().ports(5000).annotate("ipvs-proxier.io/scheduler", wrongNames(budget.ValueBytes-20))
	},
	"source ranges": func() *hostileObjects {
		h := newHostile().ports(100).balancers(20)
		for i := range 60_000 {
			h.service.Spec.LoadBalancerSourceRanges = append(h.service.Spec.LoadBalancerSourceRanges,
				fmt.Sprintf("100.%d.%d.%d/32", 64+i>>16, i>>8&255, i&255))
		}
		return h
	},
	"source ranges that are none": func() *hostileObjects {
		h := newHostile().ports(100).balancers(1)
		for range 60_000 {
			h.service.Spec.LoadBalancerSourceRanges = append(h.service.Spec.LoadBalancerSourceRanges, "\x1b[2J")
		}
		return h
	},
	"unknown keys": func() *hostileObjects {
		h := newHostile().ports(1)
		manyKeys(h.service.Annotations, "a")
		return h
	},
	"unknown keys of a slice": func() *hostileObjects {
		h := newHostile().ports(300).endpoints(300, 1000, "n2")
		manyKeys(h.slices[0].Annotations, "a")
		return h
	},
	"a long value": func() *hostileObjects {
		return newHostile().ports(1).annotate("ipvs-proxier.io/scheduler", strings.Repeat("lc", 125_000))
	},
	"a long value within the budget": func() *hostileObjects {
		return newHostile().ports(1).annotate("ipvs-proxier.io/scheduler", strings.Repeat("w", budget.ValueBytes)).
			annotate("ipvs-proxier.io/weight", strings.Repeat("zone=a:1,", budget.ValueBytes/9-1)+"*=1")
	},
	"control characters": func() *hostileObjects {
		return newHostile().ports(1).annotate("kube-router.io/service.scheduler", strings.Repeat("\x1b", 250_000)).
			annotate("kube-router.io/service.schedflags", strings.Repeat("\x00\n", 20_000))
	},
	"ports and endpoints elsewhere": func() *hostileObjects {
		return newHostile().ports(1000).endpoints(1000, 1000,
			"n2")
	},
	"ports and endpoints here":     func() *hostileObjects { return newHostile().ports(1000).endpoints(1000, 1000, "n1") },
	"ports and endpoints anywhere": func() *hostileObjects { return newHostile().ports(1000).endpoints(1000, 1000, "") },
	"the API's most ports": func() *hostileObjects {
		return newHostile().ports(20_000).balancers(10).endpoints(20_000, 1000, "n2")
	},
	"ports times addresses": func() *hostileObjects {
		return newHostile().ports(4096).balancers(256).endpoints(50, 8,
			"n2")
	},
	"slices without end": func() *hostileObjects {
		h := newHostile().ports(1).balancers(20)
		for range 60 {
			h.endpoints(1, 1000, "n1")
		}
		return h
	},
	"large tables": func() *hostileObjects {
		return newHostile().ports(4000).balancers(3).endpoints(4000, 2, "n2").annotate("ipvs-proxier.io/scheduler", "mh")
	},
	"slow starts": func() *hostileObjects {
		return newHostile().ports(1).balancers(3).endpoints(1, 1000, "n2").endpoints(1, 1000, "n2").endpoints(1, 1000, "n2").
			annotate("ipvs-proxier.io/scheduler", "wlc").annotate("ipvs-proxier.io/slow-start", "1h")
	},
	"addresses that are none": func() *hostileObjects {
		h := newHostile().ports(10).balancers(20_000)
		for i := range 20_000 {
			h.service.Spec.ExternalIPs = append(h.service.Spec.ExternalIPs, fmt.Sprintf("127.0.%d.%d", i>>8, i&255))
		}
		return h
	},
}

// CheckHostileObjects checks: beside the worst objects that the API server accepts, other Services have what they have
// without them, the Service itself has few Problems with a short log and few Events, what the node holds of it is
// bounded, and nothing of it stays when it goes.
func CheckHostileObjects(t *testing.T, words HostileWords) {
	const others = 100
	alone := newScenario(t, 0, 0)
	alone.memory.AfterEach = nil
	alone.converge(alone.apply([]byte(manyServices(others))), false)
	want := alone.engine.have.ServiceText()
	for _, name := range slices.Sorted(maps.Keys(hostileRows)) {
		t.Run(name, func(t *testing.T) {
			h := hostileRows[name]()
			s := newScenario(t, 0, 0)
			s.memory.AfterEach = nil
			s.engine.lister, s.engine.kernel = hostileLister{s.objects, h.slices}, idleKernel{willingKernel{s.memory}}
			s.converge(s.apply([]byte(manyServices(others))), false)
			before := Heap()
			s.objects.services[hostileName] = h.service
			s.converge([]cluster.Name{hostileName}, false)
			if grown := Heap() - before; grown > hostileBytes {
				t.Errorf("the Service takes %d MiB, allowed are %d", grown>>20, hostileBytes>>20)
			}
			testHostileKernel(t, s.engine.have)
			testHostileWords(t, s, words)
			// Another Service's endpoint comes, and the hostile one is not in its way.
			counting := &countingKernel{Kernel: s.engine.kernel}
			s.engine.kernel = counting
			if r := s.engine.Pass(s.now, s.apply([]byte(sliceOf(3, 6))), false); r.Error() != nil || r.Services != 1 ||
				counting.applied > 10 {
				t.Errorf("a change of another Service: %d Services are looked at, %d operations, error %v",
					r.Services, counting.applied, r.Error())
			}
			s.converge(s.apply([]byte(sliceOf(3, 5))), false)
			delete(s.objects.services, hostileName)
			s.engine.lister = s.objects
			s.converge([]cluster.Name{hostileName}, false)
			s.now = s.now.Add(time.Hour)
			s.converge(nil, false)
			if diff := cmp.Diff(want, s.engine.have.ServiceText()); diff != "" {
				t.Errorf("when it is gone (-want +got):\n%s", diff)
			}
		})
	}
}

// idleKernel has no connections.
type idleKernel struct{ willingKernel }

func (idleKernel) Connections(dataplane.VirtualServerID) ([]dataplane.Connections, error) {
	return nil, nil
}

// hostileLister is a lister with more slices of the hostile Service.
type hostileLister struct {
	*objects
	hostile []*discovery.EndpointSlice
}

func (b hostileLister) Slices(of cluster.Name) []*discovery.EndpointSlice {
	if of == hostileName {
		return slices.Clone(b.hostile)
	}
	return b.objects.Slices(of)
}

func (b hostileLister) Size(of cluster.Name) (service, slices int) {
	service, slices = b.objects.Size(of)
	if of == hostileName {
		for _, s := range b.hostile {
			slices += s.Size()
		}
	}
	return service, slices
}

// testHostileKernel: the kernel holds no more than a budget of what is the Service's.
func testHostileKernel(t *testing.T, state *dataplane.State) {
	t.Helper()
	frontEnds, realServers := 0, 0
	for id, v := range state.VirtualServers {
		if text := id.Addr.String(); strings.HasPrefix(text, "10.97.") || strings.HasPrefix(text, "198.18.") {
			frontEnds++
			realServers += len(v.RealServers)
		}
	}
	if frontEnds == 0 || frontEnds > budget.FrontEnds || realServers > budget.RealServers {
		t.Errorf("%d front ends and %d real servers", frontEnds, realServers)
	}
	if n := state.Entries.Len(); n > budget.Entries+budget.Hairpins+1000 {
		t.Errorf("%d set entries", n)
	}
}

// HostileWords checks what observers say of a Service: the limits are those of the budget.
type HostileWords func(t *testing.T, name cluster.Name, reports []Report)

// testHostileWords: reports are short, also when all of them change.
func testHostileWords(t *testing.T, s *scenario, words HostileWords) {
	t.Helper()
	if n := len(s.rows[hostileName].Problems); n > 2*budget.Problems+2 {
		t.Errorf("%d Problems", n)
	}
	var reports []Report
	for _, row := range []Row{s.rows[hostileName], {Name: hostileName, UID: "h"}} {
		reports = append(reports, Report{Start: s.now, Changed: []Row{row}})
	}
	words(t, hostileName, reports)
}

// TestHostileNode: what a node's credential writes to its Node is reported within the same bounds.
func TestHostileNode(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.converge(s.apply([]byte(manyServices(3))), false)
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: "n1", Annotations: map[string]string{"ipvs-proxier.io/weight": strings.Repeat("\x1b", 100_000)},
	}}
	manyKeys(node.Annotations, "a")
	s.objects.nodes = map[string]*v1.Node{"n1": node}
	s.objects.version++
	s.converge(nil, false)
	if n := len(s.node); n == 0 || n > budget.Problems+1 {
		t.Errorf("%d Problems of the Node", n)
	}
	for _, p := range s.node {
		if text := p.String(); len(text) > 3*budget.MessageBytes || budget.Printable(text) != text {
			t.Errorf("%d bytes: %.200s", len(text), text)
		}
	}
}
