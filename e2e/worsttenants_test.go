//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// tenantKiB is what one object is meant to take of a node at most: the process and the kernel together.
const tenantKiB = 64 << 10

// worstTenant is an object that the API server accepts, as large or as wrong as it takes it.
type worstTenant struct {
	name string
	// ports and endpoints are how many it has of each; node is where these are, "" where nobody says.
	ports, endpoints int
	node             string
	// make makes a Service with these, and its slice, the worst of its kind; nil where it is that already.
	make func(*v1.Service, []*discovery.EndpointSlice)
	// reason is that of the Problem which the Service has to have; "" is none.
	reason string
}

// unknownKeys are as many as the API server takes: 256 KiB of annotations.
func unknownKeys() map[string]string {
	keys := map[string]string{}
	for i := range 12_000 {
		keys[fmt.Sprintf("ipvs-proxier.io/a%04d", i)] = ""
	}
	return keys
}

func unknownNames() string {
	var b strings.Builder
	for i := 0; b.Len() < 64_000; i++ {
		fmt.Fprintf(&b, "q%d=wlc,", i)
	}
	return b.String() + "*=rr"
}

func balancedAt(n int, ranges ...string) func(*v1.Service, []*discovery.EndpointSlice) {
	return func(s *v1.Service, _ []*discovery.EndpointSlice) {
		s.Spec.Type, s.Spec.LoadBalancerSourceRanges = v1.ServiceTypeLoadBalancer, ranges
		for i := range n {
			to := v1.LoadBalancerIngress{IP: fmt.Sprintf("198.18.%d.%d", i/250, 1+i%250)}
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, to)
		}
	}
}

func manyRanges() (ranges []string) {
	for i := range 40_000 {
		ranges = append(ranges, fmt.Sprintf("100.%d.%d.%d/32", 64+i>>16, i>>8&255, i&255))
	}
	return ranges
}

func says(key, value string) func(*v1.Service, []*discovery.EndpointSlice) {
	return func(s *v1.Service, _ []*discovery.EndpointSlice) { s.Annotations[key] = value }
}

// worstTenants are the worst objects, by what they ask for.
var worstTenants = []worstTenant{
	{name: "endpoints that the kernel refuses", ports: 1, endpoints: 3, node: "elsewhere", reason: "BroadcastEndpoint",
		make: func(_ *v1.Service, slices []*discovery.EndpointSlice) {
			slices[0].Endpoints[0].Addresses = []string{"192.168.50.255"}
		}},
	{name: "unknown names in a value", ports: 5000, endpoints: 1, node: "elsewhere", reason: "BeyondBudget",
		make: says("ipvs-proxier.io/scheduler", unknownNames())},
	{name: "a value of 250 KB", ports: 1, endpoints: 1, node: "elsewhere", reason: "InvalidAnnotation",
		make: says("ipvs-proxier.io/scheduler", strings.Repeat("lc", 125_000))},
	{name: "control characters", ports: 1, endpoints: 1, node: "elsewhere", reason: "InvalidAnnotation",
		make: says("ipvs-proxier.io/scheduler", strings.Repeat("\x1b", 40_000))},
	{name: "unknown keys", ports: 1, endpoints: 1, node: "elsewhere", reason: "UnknownAnnotation",
		make: func(s *v1.Service, _ []*discovery.EndpointSlice) { s.Annotations = unknownKeys() }},
	{name: "unknown keys of a slice", ports: 300, endpoints: 100, node: "elsewhere", reason: "UnknownAnnotation",
		make: func(_ *v1.Service, slices []*discovery.EndpointSlice) { slices[0].Annotations = unknownKeys() }},
	{name: "source ranges", ports: 16, endpoints: 8, node: "elsewhere", reason: "BeyondBudget",
		make: balancedAt(2, manyRanges()...)},
	{name: "ports times addresses", ports: 4096, endpoints: 8, node: "elsewhere", reason: "BeyondNodeBudget",
		make: balancedAt(256)},
	{name: "ports times endpoints", ports: 1000, endpoints: 1000, node: "elsewhere", reason: "BeyondBudget"},
	{name: "ports times endpoints of this node", ports: 1000, endpoints: 1000, node: "node1", reason: "BeyondBudget"},
	{name: "ports times endpoints of any node", ports: 1000, endpoints: 1000, reason: "BeyondBudget"},
	{name: "large tables", ports: 1000, endpoints: 8, node: "elsewhere", reason: "BeyondNodeBudget",
		make: says("ipvs-proxier.io/scheduler", "mh")},
	{name: "another Service's cluster IP", ports: 80, endpoints: 1, node: "elsewhere", reason: "FrontEndConflict",
		make: func(s *v1.Service, _ []*discovery.EndpointSlice) {
			s.Spec.Type = v1.ServiceTypeLoadBalancer
			s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "10.101.0.1"}}
		}},
}

// text is the object with its slices, as YAML.
func (w worstTenant) text() string {
	s := service("tenant", []string{"10.102.0.1"})
	port := s.Spec.Ports[0]
	s.Spec.Ports = nil
	for i := range w.ports {
		port.Name, port.Port = fmt.Sprint("p", i), int32(1+i)
		s.Spec.Ports = append(s.Spec.Ports, port)
	}
	var pods []*topology.Host
	for i := range w.endpoints {
		pods = append(pods, &topology.Host{Node: w.node, IPv4: netip.AddrFrom4([4]byte{10, 246, byte(i >> 8), byte(i)})})
	}
	slices := endpointSlices(s, pods...)
	for i := range slices[0].Endpoints {
		if w.node == "" {
			slices[0].Endpoints[i].NodeName = nil
		}
	}
	if w.make != nil {
		w.make(s, slices)
	}
	return manifest(s) + "---\n" + manifest(slices[0])
}

// TestTheWorstTenants: 1,000 Services are there, and beside them the worst object of each kind that the API server
// accepts. While it is there changes of others arrive, health is good, and its refusal is a Problem of its own. When
// it is gone, so is all that it had. How long changes of others take, and what process and kernel take more than
// before the first object, is reported and not judged.
func TestTheWorstTenants(t *testing.T) {
	if os.Getenv("IPVSP_WORST") == "" {
		t.Skip("run by make worst-tenants")
	}
	b := startBeside(t)
	never := func() bool { return false }
	b.measure(20, never)
	process, kernel := b.taken()
	t.Logf("without: process %d KiB, kernel %d KiB", process, kernel)
	for _, w := range worstTenants {
		text := w.text()
		alone := b.measure(50, never)
		b.write("tenant.yaml", text)
		done := make(chan error, 1)
		go func() { done <- b.awaitTenant(w.reason) }()
		arrived, most := false, 0
		with := b.measure(50, func() bool {
			now, of := b.taken()
			most = max(most, now-process+of-kernel)
			select {
			case err := <-done:
				b.must(err)
				arrived = true
			default:
			}
			return !arrived
		})
		b.remove("tenant.yaml")
		b.await(func() error {
			if n, err := b.kernel.Count(); err != nil || n != 2*(b.others+10) {
				return fmt.Errorf("%s: %d virtual servers when it is gone, %w", w.name, n, err)
			}
			return nil
		})
		t.Logf("%s: %d bytes, %+d KiB at most; others without it: %s; beside it: %s",
			w.name, len(text), most, percentiles(alone), percentiles(with))
		if most > tenantKiB {
			t.Logf("%s: %d KiB are more than %d, which are meant (docs/reliability.md)", w.name, most, tenantKiB)
		}
	}
}

// awaitTenant waits until the object is in the kernel as far as it may be, and its refusal is told.
func (b *beside) awaitTenant(reason string) error {
	kernel, err := harness.OpenKernel(b.Node1)
	if err != nil {
		return err
	}
	defer kernel.Close()
	return harness.Await(2*time.Minute, func() error {
		_, text, err := b.proxier.Get("http://127.0.0.1:10249/metrics")
		if err != nil {
			return err
		}
		if !strings.Contains(text, fmt.Sprintf(`ipvs_proxier_problems{namespace="default",reason=%q,service="tenant"}`, reason)) {
			return fmt.Errorf("no Problem %s of the Service", reason)
		}
		if n, err := kernel.Count(); err != nil || n <= 2*(b.others+10) {
			return fmt.Errorf("%d virtual servers, none of them the Service's, %w", n, err)
		}
		return nil
	})
}

// taken returns what the process and the kernel take, in KiB. Of the kernel it counts all slab, memory for each
// processor, which has the counters of virtual and real servers, and areas of their own, which has tables of sets.
func (b *beside) taken() (process, kernel int) {
	process, kernel = b.memory()
	for _, field := range []string{"Percpu:", "VmallocUsed:"} {
		kernel += kilobytes("/proc/meminfo", field)
	}
	return process, kernel
}
