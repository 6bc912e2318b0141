//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
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
			s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "10.96.110.1"}}
		}},
}

// text is the object with its slices, as YAML.
func (w worstTenant) text() string {
	s := service("tenant", []string{"10.96.120.1"})
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

// How often others are measured without the object and beside it, in turns, and by how many changes each time, unless
// IPVSP_WORST_ROUNDS and IPVSP_WORST_CHANGES say otherwise.
const (
	worstRounds  = 5
	worstChanges = 100
)

// fromEnv returns the number in the variable, or the other one.
func fromEnv(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// TestTheWorstTenants: 1,000 Services are there, and beside them the worst object of each kind that the API server
// accepts comes and goes. Each round has a network of its own, and a proxier that has not seen one before. While it is
// there changes of others arrive, health is good, the process and the kernel together take no more than tenantKiB for
// it, and its refusal is a Problem of its own. When it is gone, so is all that it had. How long changes of others take
// is logged and not judged: without it and beside it, in turns, by as many changes; from the file, or the API's answer,
// to the kernel, and in the proxier alone, of all rounds together, with the object's own arrivals. From a file the time
// to read the object's own file belongs to it.
func TestTheWorstTenants(t *testing.T) {
	if os.Getenv("IPVSP_WORST") == "" {
		t.Skip("run by make worst-tenants")
	}
	only, err := regexp.Compile(os.Getenv("IPVSP_WORST"))
	if err != nil {
		t.Fatal(err)
	}
	rounds, changes := fromEnv("IPVSP_WORST_ROUNDS", worstRounds), fromEnv("IPVSP_WORST_CHANGES", worstChanges)
	var table strings.Builder
	for _, w := range worstTenants {
		if !only.MatchString(w.name) {
			continue
		}
		m := newWorstMeasures()
		for round := range rounds {
			t.Run(fmt.Sprintf("%s-%d", strings.ReplaceAll(w.name, " ", "-"), round), func(t *testing.T) {
				startBeside(t, os.Getenv("IPVSP_SOURCE") == "api").worst(w, changes, m)
			})
		}
		if len(m.with) > 0 {
			row := m.row(w)
			table.WriteString(row)
			t.Log("\n" + worstHead + row)
		}
	}
	t.Logf("after %d rounds of %d changes each:\n%s%s", rounds, changes, worstHead, table.String())
}

const worstHead = "| object | bytes | process, kernel, together at most, MiB | p99 of others without it, beside it, ms " +
	"| ratio of the medians | p95 in the proxier, up to ms |\n|---|---|---|---|---|---|\n"

// worstMeasures are those of one object, of all rounds.
type worstMeasures struct {
	without, with []time.Duration // p99 of others' changes
	// inProxier counts changes by the bounds of the stage total, without the object and beside it.
	inProxier [2]map[float64]float64
	// most is what process and kernel took together at most, of what each took then.
	most int
	of   [2]int
}

func newWorstMeasures() *worstMeasures {
	return &worstMeasures{inProxier: [2]map[float64]float64{{}, {}}}
}

// worst has an object come and go, while others change so often: a round. The node is a new one each time, since the
// kernel is slow for minutes after many real servers were deleted, also without the object.
func (b *beside) worst(w worstTenant, changes int, m *worstMeasures) {
	never := func() bool { return false }
	b.measure(20, never)
	process, kernel := b.settled()
	text := w.text()
	sample := func() {
		if p, k := b.taken(); p-process+k-kernel > m.most {
			m.most, m.of = p-process+k-kernel, [2]int{p - process, k - kernel}
		}
	}
	before := b.stages()
	note := func(to map[float64]float64) {
		after := b.stages()
		for bound, n := range after["total"] {
			to[bound] += n - before["total"][bound]
		}
		before = after
	}
	m.without = append(m.without, p99(b.measure(changes, never)))
	note(m.inProxier[0])
	done := make(chan error, 1)
	go func() {
		err := errors.New("the object could not be written")
		defer func() { done <- err }() // also where set ends the goroutine
		b.set("tenant", text)
		err = b.awaitTenant(w.reason)
	}()
	arrived, begun := false, 0
	took := b.measure(0, func() bool {
		begun++
		sample()
		select {
		case err := <-done:
			b.must(err)
			arrived = true
		default:
		}
		return begun <= changes || !arrived
	})
	m.with = append(m.with, p99(took[:changes]))
	note(m.inProxier[1])
	b.must(b.proxier.AwaitReady())
	b.set("tenant")
	b.await(func() error {
		sample()
		if n, err := b.kernel.Count(); err != nil || n != b.virtualServers {
			return fmt.Errorf("%s: %d virtual servers when it is gone, %w", w.name, n, err)
		}
		return nil
	})
	if b.api == nil && m.most > tenantKiB { // else the slab has what etcd and the API server took
		b.t.Errorf("it takes %d KiB, want at most %d (docs/security.md)", m.most, tenantKiB)
	}
}

func (m *worstMeasures) row(w worstTenant) string {
	low, high := ratioOfMedians(m.without, m.with)
	return fmt.Sprintf("| %s | %d | %.1f, %.1f, **%.1f** | %d, %d | %.1f (%.1f to %.1f) | %g, %g |\n",
		w.name, len(w.text()),
		float64(m.of[0])/1024, float64(m.of[1])/1024, float64(m.most)/1024, median(m.without).Milliseconds(),
		median(m.with).Milliseconds(), float64(median(m.with))/float64(median(m.without)), low, high,
		upTo(0.95, m.inProxier[0]), upTo(0.95, m.inProxier[1]))
}

// upTo returns the bound, in ms, below which that part of all is.
func upTo(part float64, counts map[float64]float64) float64 {
	bounds := slices.Sorted(maps.Keys(counts))
	for _, bound := range bounds {
		if counts[bound] >= part*counts[bounds[len(bounds)-1]] {
			return 1000 * bound
		}
	}
	return 0
}

// settled returns what the process and the kernel take when that does not change any more: what was there before is
// given back after a while.
func (b *beside) settled() (process, kernel int) {
	process, kernel = b.taken()
	same := 0
	b.await(func() error {
		p, k := b.taken()
		if d := p + k - process - kernel; d*d > 512*512 {
			process, kernel, same = p, k, 0
		} else {
			same++
		}
		if same < 20 {
			return fmt.Errorf("memory changes: process %d KiB, kernel %d KiB", p, k)
		}
		return nil
	})
	return process, kernel
}

func p99(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)*99/100]
}

func median(of []time.Duration) time.Duration {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}

// ratioOfMedians returns the bounds that hold the ratio of two medians in 95 of 100 resamplings.
func ratioOfMedians(a, b []time.Duration) (low, high float64) {
	random := rand.New(rand.NewPCG(1, 1))
	again := func(of []time.Duration) (some []time.Duration) {
		for range of {
			some = append(some, of[random.IntN(len(of))])
		}
		return some
	}
	var ratios []float64
	for range 2000 {
		ratios = append(ratios, float64(median(again(b)))/float64(median(again(a))))
	}
	slices.Sort(ratios)
	return ratios[len(ratios)*25/1000], ratios[len(ratios)*975/1000]
}

// awaitTenant waits until the object is in the kernel as far as it may be, and its refusal is reported.
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
		if !strings.Contains(
			text, fmt.Sprintf(`ipvs_proxier_problems{namespace="default",reason=%q,service="tenant"}`, reason),
		) {
			return fmt.Errorf("no Problem %s of the Service", reason)
		}
		if !strings.Contains(text, "\nipvs_proxier_waiting_services 0\n") {
			return fmt.Errorf("not all of it is in the kernel yet")
		}
		if n, err := kernel.Count(); err != nil || n <= b.virtualServers {
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
