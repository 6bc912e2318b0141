//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
	"github.com/ipvs-proxier/ipvs-proxier/internal/ipvs/ipvstest"
)

const (
	// soakServices have soakEndpoints each, of which the first soakAsked Services' are pods that are there.
	soakServices  = 1000
	soakEndpoints = 5
	soakAsked     = 10
	// soakAway is how many Services are gone at any time.
	soakAway = 5
	// soakPace is the time between two changes.
	soakPace = 250 * time.Millisecond
	// soakSmoke is the shortest run that is judged. Memory has not come to rest in a shorter one.
	soakSmoke = 10 * time.Minute
	// soakJudged is the time at the end of a run that is judged, or the last half of a shorter run.
	soakJudged = time.Hour
)

// soakSeries are what must not rise.
//
// The tolerances of sizes are chosen by what a leak would be: at soakPace an hour has up to 14,400 changes, and where
// each of them leaves 150 bytes behind that is 2 MiB. Memory of a Go program may move by as much from sample to sample,
// with its collector, so that only line and medians together show a rise (harness.Trend). A kernel's slab is shared
// with all that runs on it, and gets twice as much. Those of counts are what one change makes come and go: a Service
// with its five endpoints. Connections are those of a load whose rate is even; the tolerance is a tenth of what a
// minute of it makes.
var soakSeries = []struct {
	name, unit string
	tolerance  float64
}{
	{"resident memory of the proxier", "KiB", 2048},
	{"anonymous memory of the proxier (heap, stacks)", "KiB", 2048},
	{"handles of the proxier", "", 3},
	{"threads of the proxier", "", 2},
	{"virtual servers", "", 2},
	{"real servers", "", 2 * soakEndpoints},
	{"set entries", "", 4 * soakEndpoints},
	{"addresses of the link", "", 2},
	{"lines of rules", "", 2},
	{"connections of IPVS", "", 120},
	{"connections tracked on the node", "", 120},
	{"slab of IPVS and conntrack", "KiB", 1024},
	{"slab of the kernel that it cannot reclaim", "KiB", 4096},
}

// soak is a node with many Services whose endpoints roll.
type soak struct {
	*fed
	r        *rand.Rand
	services []soaked
	pods     []*topology.Host
	// gone are the Services that are away, the first one for the longest time.
	gone  []int
	done  map[string]int
	table []harness.Trend
}

// soaked is a Service: how often its endpoints were exchanged, each of which comes and goes in turn.
type soaked struct {
	away      bool
	rolled    int
	scheduler string
	weight    int
}

// TestSoak rolls 1,000 Services of five endpoints for as long as IPVSP_SOAK says: an endpoint is exchanged, a Service
// goes and another one comes back, weights and schedulers change. Beside that a small load asks a Service that stays,
// and some that roll. Each minute, once all changes have arrived, it takes a sample. No series may rise over the last
// hour, no request to the Service that stays is lost, and in the end the kernel holds what a start on a clean node
// makes.
func TestSoak(t *testing.T) {
	text := os.Getenv("IPVSP_SOAK")
	if text == "" {
		t.Skip("run by make soak")
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration < 10*time.Second {
		t.Fatalf("IPVSP_SOAK is %q; want a duration of 10s or more", text)
	}
	every := time.Minute
	if duration < soakSmoke {
		every = duration / 10
	}
	s := &soak{fed: &fed{cluster: newCluster(t)}, r: drawn(seed(t), 6), done: map[string]int{}}
	for _, series := range soakSeries {
		s.table = append(s.table, harness.Trend{Name: series.name, Unit: series.unit, Tolerance: series.tolerance})
	}
	s.one = s.backend(1, 10, "one")
	two, client := s.backend(2, 10, "two"), s.pod(1, 50, "client")
	for i := range soakEndpoints + 2 {
		s.pods = append(s.pods, s.backend(1+i%2, 20+i, fmt.Sprintf("rolling-%d", i)))
	}
	args := s.follow(os.Getenv("IPVSP_SOURCE") == "api")
	s.set("web", with(web(nodePort), s.one, two))
	s.services = make([]soaked, soakServices)
	for i := range s.services {
		// As many of each kind as later: a scheduler has memory in the kernel, and an endpoint of this node a set
		// entry.
		s.services[i] = soaked{scheduler: s.scheduler(), away: i < soakAway, weight: s.weight(), rolled: s.r.IntN(30)}
		if i < soakAway {
			s.gone = append(s.gone, i)
		}
	}
	for i := range s.services {
		s.put(i)
	}
	s.start(args...)
	s.must(s.proxier.AwaitReady())
	load := s.putUnderLoad(client, 4, duration+time.Hour)
	rolling := []string{"--mode", "crr", "--rate", "5", "--duration", (duration + time.Hour).String()}
	for i := range soakAsked {
		rolling = append(rolling, "tcp://"+at(soakAddress(soakAway+i), 80).String())
	}
	beside := s.startLoad(s.Outside, rolling...)

	began := time.Now()
	next := began.Add(every)
	for end := began.Add(duration); time.Now().Before(end); {
		s.change()
		time.Sleep(soakPace) // the rate of the changes
		if time.Now().After(next) {
			next = next.Add(every)
			s.changeArrives()
			s.sample(time.Since(began))
		}
	}
	load.judge(fmt.Sprintf("%s of changes (%s)", duration, counts(s.done)))
	report, err := beside.Stop()
	s.must(err)
	t.Logf("Services that roll: %d requests answered, %d not (%v), which is not judged",
		report.Requests.Answered, report.Requests.Errors, report.Errors)
	s.verdict(duration, every)
	// What drains has connections that IPVS keeps for two minutes.
	s.must(harness.Await(5*time.Minute, func() error {
		status, err := s.proxier.Status()
		if err == nil && status.Draining > 0 {
			err = errStill(fmt.Sprintf("%d real servers drain", status.Draining))
		}
		return err
	}))
	s.sameAsFresh(s.args...)
}

func (s *soak) weight() int { return 1 + s.r.IntN(9) }

// scheduler is one that goes by weights.
func (s *soak) scheduler() string {
	all := []string{"wrr", "wlc", "sh", "mh", "sed"}
	return all[s.r.IntN(len(all))]
}

// soakAddress is the cluster IP of a Service.
func soakAddress(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 96, byte(100 + i/250), byte(1 + i%250)})
}

// change makes one change, and counts it.
func (s *soak) change() {
	s.t.Helper()
	i := s.r.IntN(soakServices)
	for s.services[i].away {
		i = s.r.IntN(soakServices)
	}
	of := &s.services[i]
	switch n := s.r.IntN(100); {
	case n < 70:
		of.rolled++
		s.done["endpoint exchanged"]++
		s.put(i)
	case n < 85:
		of.weight = s.weight()
		s.done["weight"]++
		s.put(i)
	case n < 90:
		of.scheduler = s.scheduler()
		s.done["scheduler"]++
		s.put(i)
	default:
		back := s.gone[0]
		s.gone = append(s.gone[1:], i)
		s.services[back].away, of.away = false, true
		s.done["Service gone, another one back"]++
		s.put(back)
		s.put(i)
	}
}

// texts is the Service with its slice, as YAML; nothing where it is away.
func (s *soak) texts(i int) []string {
	of := s.services[i]
	if of.away {
		return nil
	}
	made := service(fmt.Sprintf("soak-%d", i), []string{soakAddress(i).String()}, scheduled(of.scheduler),
		annotated("ipvs-proxier.io/weight", fmt.Sprintf("node=node1:%d,*=1", of.weight)))
	made.Spec.Ports = made.Spec.Ports[:1]
	var pods []*topology.Host
	for e := range soakEndpoints {
		n := of.rolled + e
		if i >= soakAway && i < soakAway+soakAsked {
			pods = append(pods, s.pods[n%len(s.pods)])
			continue
		}
		// Nobody asks these, so that the kernel needs no pod to exist.
		// No two Services have one in common: how many there are would depend on how far each has rolled.
		number := 3<<8 + i*50 + n%50
		address := netip.AddrFrom4([4]byte{10, 244, byte(number >> 8), byte(number)})
		pods = append(pods, &topology.Host{Node: fmt.Sprintf("node%d", 1+n%3), IPv4: address})
	}
	return []string{with(made, pods...)}
}

// soakFile is how many Services have a file together: one for each would make the directory, and all of them every
// change, expensive.
const soakFile = 10

// put writes a Service as it is to be.
func (s *soak) put(i int) {
	s.t.Helper()
	if s.api == nil {
		first := i - i%soakFile
		if i != first && len(s.done) == 0 {
			return // at the beginning a file is written once
		}
		var texts []string
		for j := first; j < first+soakFile; j++ {
			texts = append(texts, s.texts(j)...)
		}
		s.write(fmt.Sprintf("soak-%d.yaml", first), texts...)
		return
	}
	if texts := s.texts(i); len(texts) > 0 {
		s.api.put(fmt.Sprintf("soak-%d", i), texts...)
		return
	}
	name := fmt.Sprintf("soak-%d", i)
	s.api.try(func(ctx context.Context) error {
		return gone(s.api.client.DiscoveryV1().EndpointSlices("default").Delete(ctx, name+"-ipv4", metav1.DeleteOptions{}))
	})
	s.api.try(func(ctx context.Context) error {
		return gone(s.api.client.CoreV1().Services("default").Delete(ctx, name, metav1.DeleteOptions{}))
	})
}

// sample measures everything once.
func (s *soak) sample(after time.Duration) {
	s.t.Helper()
	if s.proxier.Ended() {
		s.t.Fatalf("the proxier has ended: %s", s.proxier.Output())
	}
	now := map[string]float64{}
	s.ofProcess(now)
	s.ofKernel(now)
	for i, series := range s.table {
		if v, measured := now[series.Name]; measured {
			s.table[i].Values = append(s.table[i].Values, v)
		}
	}
	if n := len(s.table[0].Values); n == 1 || n%10 == 0 {
		var words []string
		for _, series := range s.table {
			words = append(words, fmt.Sprintf("%s %v", series.Name, now[series.Name]))
		}
		s.t.Logf("after %s: %s", after.Round(time.Second), strings.Join(words, ", "))
	}
}

// ofProcess measures the proxier. Its goroutines and timers are not counted; each of them has memory.
func (s *soak) ofProcess(now map[string]float64) {
	s.t.Helper()
	dir := fmt.Sprintf("/proc/%d", s.proxier.PID())
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	s.must(err)
	for line := range strings.Lines(string(text)) {
		field, rest, _ := strings.Cut(line, ":")
		name := map[string]string{
			"VmRSS": "resident memory of the proxier", "RssAnon": "anonymous memory of the proxier (heap, stacks)",
			"Threads": "threads of the proxier",
		}[field]
		if name == "" {
			continue
		}
		value, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		s.must(err)
		now[name] = value
	}
	handles, err := os.ReadDir(filepath.Join(dir, "fd"))
	s.must(err)
	now["handles of the proxier"] = float64(len(handles))
}

// ofKernel measures what the node's kernel has.
func (s *soak) ofKernel(now map[string]float64) {
	s.t.Helper()
	for line := range strings.Lines(s.output("ipvsadm", "-Sn")) {
		switch {
		case strings.HasPrefix(line, "-A "):
			now["virtual servers"]++
		case strings.HasPrefix(line, "-a "):
			now["real servers"]++
		}
	}
	for line := range strings.Lines(s.output("ipset", "save")) {
		if strings.HasPrefix(line, "add ") {
			now["set entries"]++
		}
	}
	now["addresses of the link"] = float64(strings.Count(s.output("ip", "-o", "addr", "show", "dev", "kube-ipvs0"), "\n"))
	now["lines of rules"] = float64(strings.Count(s.output("iptables-save")+s.output("ip6tables-save"), "\n-A"))
	s.must(s.Node1.Do(func() error {
		connections, err := ipvstest.Connections()
		if err != nil {
			return err
		}
		now["connections of IPVS"] = float64(len(connections))
		text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		if err != nil {
			return err
		}
		now["connections tracked on the node"], err = strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
		return err
	}))
	// Both are the whole machine's. A kernel may hide the first.
	if text, err := os.ReadFile("/proc/slabinfo"); err == nil {
		now["slab of IPVS and conntrack"] = slabOf(string(text), "ip_vs", "nf_conntrack")
	}
	text, err := os.ReadFile("/proc/meminfo")
	s.must(err)
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "SUnreclaim:" {
			now["slab of the kernel that it cannot reclaim"], err = strconv.ParseFloat(words[1], 64)
			s.must(err)
		}
	}
}

// output is what a program on the node prints.
func (s *soak) output(name string, args ...string) string {
	s.t.Helper()
	text, err := s.Node1.Run(name, args...)
	s.must(err)
	return text
}

// slabOf sums, in KiB, the objects in use of the caches whose names begin so.
func slabOf(slabinfo string, prefixes ...string) (sum float64) {
	for line := range strings.Lines(slabinfo) {
		words := strings.Fields(line)
		if len(words) < 4 {
			continue
		}
		for _, prefix := range prefixes {
			if strings.HasPrefix(words[0], prefix) {
				used, _ := strconv.ParseFloat(words[1], 64)
				size, _ := strconv.ParseFloat(words[3], 64)
				sum += used * size / 1024
			}
		}
	}
	return sum
}

// verdict prints the table of the time that is judged, and fails the test by the name of each series that rises.
func (s *soak) verdict(duration, every time.Duration) {
	s.t.Helper()
	judged := min(soakJudged, duration/2)
	var rows []string
	for _, series := range s.table {
		n := len(series.Values)
		series.Values = series.Values[max(0, n-int(judged/every)):]
		rows = append(rows, series.Row())
		switch {
		case len(series.Values) == 0 && !strings.HasPrefix(series.Name, "slab of IPVS"):
			s.t.Errorf("%s was not measured", series.Name)
		case duration >= soakSmoke && series.Rises():
			line, medians := series.Rise()
			s.t.Errorf("%s rises by %.4g %s (line) and %.4g (medians) within %s, more than %v",
				series.Name, line, series.Unit, medians, judged, series.Tolerance)
		}
	}
	s.t.Logf("the last %s:\n%s\n%s", judged, harness.TrendHead, strings.Join(rows, "\n"))
	if duration < soakSmoke {
		s.t.Logf("a run of less than %s is not judged", soakSmoke)
	}
}
