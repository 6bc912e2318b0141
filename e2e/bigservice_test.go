//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// The big Service has nearly as many real servers as one may have on a node (docs/security.md).
const (
	bigPorts     = 500
	bigEndpoints = 65
)

// beside is what stands beside a Service that asks for much, and changes meanwhile.
type beside struct {
	*fed
	others int
	// virtualServers are those of the others, of those that change, and of the API itself.
	virtualServers int
	// changes counts them over all: each brings an endpoint that was not there before.
	changes int
}

// startBeside starts the proxier, which follows an API or manifests, with 1,000 Services and ten that change.
func startBeside(t *testing.T, api bool) *beside {
	t.Helper()
	b := &beside{fed: &fed{cluster: newCluster(t)}, others: 1000}
	args := b.follow(api)
	if api {
		b.readyNode(b.api.client, b.Node1.Name) // else /healthz has load balancers pass the node by
	}
	var all []string
	for i := range b.others {
		all = append(all, with(b.other(i), b.endpoint(0)))
	}
	b.set("others", all...)
	for i := range 10 {
		b.set(changingGroup(i), with(b.changing(i), b.endpoint(0)))
	}
	b.start(args...)
	b.must(b.proxier.AwaitReady())
	n, err := b.kernel.Count()
	b.must(err)
	b.virtualServers = n
	if n < 2*(b.others+10) {
		t.Fatalf("there are %d virtual servers, want at least %d", n, 2*(b.others+10))
	}
	return b
}

func changingGroup(i int) string { return fmt.Sprintf("changing-%d", i) }

// TestBesideABigService: 1,000 Services are there. The largest Service that the budget allows comes, changes and goes,
// again and again. Meanwhile changes of others arrive, health is good, and each time the kernel has what it is to have.
// The test logs how long changes take without it and beside it, and what the process and the kernel take more. It
// compares them with nothing: docs/benchmarking.md has figures.
func TestBesideABigService(t *testing.T) {
	b := startBeside(t, false)
	// Written beforehand: what measures has the same processor.
	texts := map[string]string{"rr": b.big(scheduled("rr")), "wlc": b.big(scheduled("wlc"))}
	before := b.stages()
	alone := b.measure(300, func() bool { return false })
	rss, slab := b.memory()
	t.Logf("without it: %s; in the proxier up to (p50, p90, p95 in ms) %s; process %d KiB, slab %d KiB",
		percentiles(alone), b.stages().since(before), rss, slab)

	before = b.stages()
	done, failed := make(chan struct{}), make(chan error, 1)
	var most [2]int
	go func() {
		defer close(done)
		for range 3 {
			if err := b.cycle(texts, func() {
				rss, slab := b.memory()
				most = [2]int{max(most[0], rss), max(most[1], slab)}
			}); err != nil {
				failed <- err
				return
			}
		}
	}()
	with := b.measure(300, func() bool {
		select {
		case <-done:
			return false
		default:
			return true
		}
	})
	<-done
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	t.Logf("beside it:  %s; in the proxier up to (p50, p90, p95 in ms) %s; process %+d KiB, slab %+d KiB",
		percentiles(with), b.stages().since(before), most[0]-rss, most[1]-slab)
	b.must(b.proxier.AwaitReady())
	if n, err := b.kernel.Count(); err != nil || n != b.virtualServers {
		t.Errorf("in the end there are %d virtual servers, %v; want %d", n, err, b.virtualServers)
	}
}

// other is a Service that stays as it is, changing one that changes.
func (b *beside) other(i int) *v1.Service {
	return service(fmt.Sprint("other-", i), []string{fmt.Sprintf("10.96.%d.%d", 100+i/250, 1+i%250)})
}

func (b *beside) changing(i int) *v1.Service {
	return service(fmt.Sprint("changing-", i), []string{fmt.Sprintf("10.96.110.%d", 1+i)})
}

// endpoint is one of which nothing is needed but its address.
func (b *beside) endpoint(i int) *topology.Host {
	addr := netip.AddrFrom4([4]byte{10, 245, byte(i >> 8), byte(i)})
	return &topology.Host{Node: "elsewhere", IPv4: addr, IPv6: b.Node1.IPv6}
}

func (b *beside) big(change ...func(*v1.Service)) string {
	s := service("big", []string{"10.96.120.1"}, change...)
	port := s.Spec.Ports[0]
	s.Spec.Ports = nil
	for i := range bigPorts {
		port.Name, port.Port = fmt.Sprint("p", i), int32(1+i)
		s.Spec.Ports = append(s.Spec.Ports, port)
	}
	var pods []*topology.Host
	for i := range bigEndpoints {
		pods = append(pods, b.endpoint(60_000+i))
	}
	return with(s, pods...)
}

// measure makes so many changes of others, and more as long as it is to go on, and returns how long each took to come
// to the kernel.
func (b *beside) measure(n int, more func() bool) (took []time.Duration) {
	b.t.Helper()
	for i := 0; i < n || more(); i++ {
		b.changes++
		at := i % 10
		text := with(b.changing(at), b.endpoint(b.changes))
		began := b.change(changingGroup(at), text)
		want := at4(b.endpoint(b.changes))
		if err := awaitQuickly(func() (bool, error) {
			v, err := b.kernel.VirtualServer("tcp", netip.MustParseAddrPort(fmt.Sprintf("10.96.110.%d:80", 1+at)))
			is := func(r harness.RealServer) bool { return r.Address == want && r.Weight > 0 }
			return err == nil && v != nil && slices.ContainsFunc(v.RealServers, is), err
		}); err != nil {
			b.t.Fatalf("change %d: %v", i, err)
		}
		took = append(took, time.Since(began))
		if i%50 == 0 {
			if status, text, err := b.proxier.Get("http://127.0.0.1:10256/healthz"); err != nil || status != 200 {
				b.t.Fatalf("/healthz is %d %s, %v", status, text, err)
			}
		}
		time.Sleep(10 * time.Millisecond) // so that changes are single ones
	}
	return took
}

// change puts a change of a group in place, and returns since when the proxier can have it: from when its file is
// written, or has the API answered.
func (b *beside) change(group, text string) (since time.Time) {
	if b.api != nil {
		b.api.put(group, text)
		return time.Now()
	}
	since = time.Now()
	b.set(group, text)
	return since
}

func at4(h *topology.Host) netip.AddrPort { return at(h.IPv4, 8080) }

// awaitQuickly asks so often that what it measures is not the time between two questions.
func awaitQuickly(is func() (bool, error)) error {
	for end := time.Now().Add(harness.Patiently(30 * time.Second)); ; time.Sleep(300 * time.Microsecond) {
		if ok, err := is(); err != nil || ok {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("it does not come")
		}
	}
}

// cycle has the big Service come, change and go, and waits each time until the kernel has it as it is to be.
func (b *beside) cycle(texts map[string]string, there func()) error {
	path := filepath.Join(b.manifests, "big.yaml")
	kernel, err := harness.OpenKernel(b.Node1)
	if err != nil {
		return err
	}
	defer kernel.Close()
	for _, scheduler := range []string{"rr", "wlc"} {
		if err := os.WriteFile(path+".tmp", []byte(texts[scheduler]), 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".tmp", path); err != nil {
			return err
		}
		if err := harness.Await(2*time.Minute, func() error { return isBig(kernel, scheduler) }); err != nil {
			return err
		}
		there()
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return harness.Await(2*time.Minute, func() error {
		if n, err := kernel.Count(); err != nil || n != 2*(b.others+10) {
			return fmt.Errorf("%d virtual servers when it is gone, %w", n, err)
		}
		return nil
	})
}

// isBig reports whether all of the big Service is there. It reads little, since reading takes processor time from the
// others.
func isBig(kernel *harness.Kernel, scheduler string) error {
	for _, port := range []uint16{bigPorts, 1, bigPorts / 2} {
		v, err := kernel.VirtualServer("tcp", netip.AddrPortFrom(netip.MustParseAddr("10.96.120.1"), port))
		if err != nil || v == nil || v.Scheduler != scheduler || len(v.RealServers) != bigEndpoints {
			return fmt.Errorf("port %d is not as it is to be: %v", port, err)
		}
	}
	return nil
}

// memory returns what the process and the kernel's slab take, in KiB.
func (b *beside) memory() (process, slab int) {
	return kilobytes(fmt.Sprintf("/proc/%d/status", b.proxier.PID()), "VmRSS:"), kilobytes("/proc/meminfo", "Slab:")
}

func kilobytes(file, field string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == field {
			n, _ := strconv.Atoi(words[1])
			return n
		}
	}
	return 0
}

// histograms are the proxier's metrics of how long changes took, by stage: how many took no longer than each bound, in
// seconds. The stage total is from the arrival of a change to the end of the pass that brought it to the kernel.
type histograms map[string]map[float64]float64

var stages = []string{"total", "queue", "compile", "kernel"}

var bucket = regexp.MustCompile(`(?m)^ipvs_proxier_change_duration_seconds_bucket\{stage="([^"]+)",le="([^"]+)"\} (\S+)$`)

func (b *beside) stages() histograms {
	b.t.Helper()
	_, text, err := b.proxier.Get("http://127.0.0.1:10249/metrics")
	b.must(err)
	h := histograms{}
	for _, found := range bucket.FindAllStringSubmatch(text, -1) {
		bound, err := strconv.ParseFloat(found[2], 64)
		b.must(err)
		if h[found[1]] == nil {
			h[found[1]] = map[float64]float64{}
		}
		h[found[1]][bound], err = strconv.ParseFloat(found[3], 64)
		b.must(err)
	}
	return h
}

// since says which bounds, in ms, hold for 50, 90 and 95 of 100 changes since then, by stage. The big Service's own
// changes are among them, which are fewer than 5 of 100.
func (h histograms) since(before histograms) string {
	var texts []string
	for _, stage := range stages {
		bounds := slices.Sorted(maps.Keys(h[stage]))
		of := func(part float64) float64 {
			for _, bound := range bounds {
				all := h[stage][bounds[len(bounds)-1]] - before[stage][bounds[len(bounds)-1]]
				if h[stage][bound]-before[stage][bound] >= part*all {
					return 1000 * bound
				}
			}
			return 0
		}
		texts = append(texts, fmt.Sprintf("%s %g, %g, %g", stage, of(0.5), of(0.9), of(0.95)))
	}
	return strings.Join(texts, "; ")
}

func percentiles(took []time.Duration) string {
	slices.Sort(took)
	of := func(p int) time.Duration { return took[min(len(took)-1, len(took)*p/100)].Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d changes of others, p50 %v, p90 %v, p99 %v, max %v", len(took), of(50), of(90), of(99), of(100))
}
