//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/benchmark"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// benchEndpoints is how many each Service has.
const benchEndpoints = 5

// benchSizes are the numbers of Services by the names that IPVSP_BENCH_SIZE may have beside plain numbers, separated by
// spaces.
var benchSizes = map[string][]int{
	"quick": {100},
	"":      {100, 1000, 5000, 10_000},
}

// bench is TestProgramming at work.
type bench struct {
	*cluster
	api        kubernetes.Interface
	kubeconfig string
	out, file  string // the directory for the results, and what they are called there
	quick      bool
	peerLimit  int // peers get no more Services than this, whatever the size
	nodes      int
	page       benchmark.Page
}

// TestProgramming measures what programming Services costs ipvs-proxier and its peers, side by side. They run in one
// guest, one after the other and in turns, with one API server and the same objects. Each has a node of its own that
// has never seen another proxy. It asserts nothing but that the runs could be made. make bench runs it, and names in
// IPVSP_BENCH_PROGRAMMING the directory for the results.
func TestProgramming(t *testing.T) {
	out := os.Getenv("IPVSP_BENCH_PROGRAMMING")
	if out == "" {
		t.Skip("run by make bench and make bench-quick")
	}
	b := &bench{cluster: newCluster(t), out: out, file: "programming", quick: os.Getenv("IPVSP_BENCH_SIZE") == "quick"}
	sizes, rounds := b.plan()
	b.startAPI()
	b.begin()
	b.must(writableTables())
	for _, s := range b.subjects() {
		b.tryOut(s)
	}
	for _, services := range sizes {
		for round := range rounds {
			for _, s := range b.subjects() {
				if services <= s.largest && (s.name == benchmark.Ours || services <= b.peerLimit) {
					b.measure(s, services, round)
				}
			}
		}
		if !b.quick {
			b.count(services)
		}
	}
	if n := os.Getenv("IPVSP_BENCH_MANIFESTS"); n != "" && n != "0" {
		services, err := strconv.Atoi(n)
		b.must(err)
		b.fromManifests(services)
	}
	b.write()
	b.verdict()
}

// subjects are the proxies whose names contain what IPVSP_BENCH_ONLY says.
func (b *bench) subjects() (some []subject) {
	for _, s := range benchSubjects(b.kubeconfig, benchNode) {
		if strings.Contains(s.name, os.Getenv("IPVSP_BENCH_ONLY")) && !(b.quick && s.iptables) {
			some = append(some, s)
		}
	}
	return some
}

// plan reads what is to be measured.
func (b *bench) plan() (sizes []int, rounds int) {
	b.t.Helper()
	text := os.Getenv("IPVSP_BENCH_SIZE")
	sizes, named := benchSizes[text]
	if !named {
		for _, word := range strings.Fields(text) {
			n, err := strconv.Atoi(word)
			b.must(err)
			sizes = append(sizes, n)
		}
		slices.Sort(sizes) // the API server grows with them
	}
	rounds = 1
	if text := os.Getenv("IPVSP_BENCH_ROUNDS"); text != "" {
		var err error
		rounds, err = strconv.Atoi(text)
		b.must(err)
	}
	b.peerLimit = 1000
	if text := os.Getenv("IPVSP_BENCH_PEERS"); text != "" {
		var err error
		b.peerLimit, err = strconv.Atoi(text)
		b.must(err)
	}
	return sizes, rounds
}

const benchNode = "node1"

// startAPI starts the API server, outside of the nodes that are measured.
func (b *bench) startAPI() {
	b.t.Helper()
	kubeconfig, _, _ := b.startAPIServer(b.Outside)
	text, err := os.ReadFile(kubeconfig)
	b.must(err)
	b.kubeconfig = filepath.Join(filepath.Dir(kubeconfig), "kubeconfig-from-nodes")
	b.must(os.WriteFile(b.kubeconfig, []byte(strings.ReplaceAll(string(text), "127.0.0.1", b.Outside.IPv4.String())),
		0o600))
	b.api, err = kubernetes.NewForConfig(b.rest)
	b.must(err)
}

// begin begins the page.
func (b *bench) begin() {
	b.t.Helper()
	_ = os.Remove(filepath.Join(b.out, b.file+".log"))
	b.say("the guest is ready")
	kernel, err := b.Node1.Run("uname", "-sr")
	b.must(err)
	b.page = benchmark.Page{
		Command: os.Getenv("IPVSP_BENCH_COMMAND"), Kernel: strings.TrimSpace(kernel), Guest: os.Getenv("LAB_GUEST"),
		Processors: processors(), Endpoints: benchEndpoints,
	}
}

// tryOut has a program run once: reading it from the machine's disk into the guest is no matter of its own.
func (b *bench) tryOut(s subject) {
	b.t.Helper()
	began := time.Now()
	run := b.run(s, 1, options{timeout: warmTimeout})
	b.say("%s was tried out in %.0f s", run.Name(), time.Since(began).Seconds())
	if run.Failure != "" {
		b.say("NOT MEASURED: %s: %s", run.Name(), run.Failure)
	}
}

// say logs, and leaves it in a file at once: a run takes hours, and what a test logs is seen at its end.
func (b *bench) say(format string, args ...any) {
	b.t.Helper()
	b.t.Logf(format, args...)
	f, err := os.OpenFile(filepath.Join(b.out, b.file+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	b.must(err)
	defer f.Close()
	fmt.Fprintf(f, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}

// writableTables puts a file system over the directory in which kube-router gives names to its routing tables: the
// lab's is read-only.
func writableTables() error {
	const dir = "/etc/iproute2"
	names, err := os.ReadFile(filepath.Join(dir, "rt_tables"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount over %s: %w", dir, err)
	}
	return os.WriteFile(filepath.Join(dir, "rt_tables"), names, 0o644)
}

func processors() int {
	text, _ := os.ReadFile("/proc/cpuinfo")
	return max(1, strings.Count("\n"+string(text), "\nprocessor"))
}

// options of one measurement.
type options struct {
	changes int
	idle    time.Duration
	restart bool
	record  string   // file
	under   []string // a command that is to run the proxy
	timeout time.Duration
}

const (
	// kube-proxy needs 40 minutes for 5,000 Services in User-Mode Linux.
	benchTimeout = 90 * time.Minute
	warmTimeout  = 3 * time.Minute
	quickTimeout = 6 * time.Minute
)

// measure makes one run of a proxy, and where it is ours the floors beside it.
func (b *bench) measure(s subject, services, round int) {
	b.t.Helper()
	o := options{changes: s.changes(services), idle: time.Minute, restart: true} // a minute has one of our audits at most
	if services > 5000 {
		o.idle = 4 * time.Minute // they may come less often
	}
	if b.quick {
		o.timeout = quickTimeout
		o.changes, o.idle = 30, 5*time.Second
		if s.name != benchmark.Ours {
			o.changes = 2 // some ten seconds each
		}
	}
	if text := os.Getenv("IPVSP_BENCH_CHANGES"); text != "" && s.name != benchmark.Ours {
		most, err := strconv.Atoi(text)
		b.must(err)
		o.changes = min(o.changes, most)
	}
	if s.name == benchmark.Ours {
		o.record = filepath.Join(b.t.TempDir(), "writes")
	}
	run := b.run(s, services, o)
	run.Round = round
	if o.record != "" && run.Failure == "" {
		run.Floor = b.floor(o.record)
		run.List, run.Events = b.list(), b.list("-events")
		os.Remove(o.record)
	}
	b.add(run)
}

func (b *bench) add(run benchmark.Run) {
	b.say("%s", run.Line())
	b.page.Runs = append(b.page.Runs, run)
	b.write() // what there is is there when a later run takes too long
}

// node makes a node that has never seen a proxy: IPVS remembers deleted real servers for minutes, and looks through
// them at every new one.
func (b *bench) node() (node *topology.Host, forget func()) {
	b.t.Helper()
	const first, last = 3, 97
	number := first + b.nodes%(last-first)
	b.nodes++
	node, err := b.AddNode(number, benchNode)
	b.must(err)
	b.register(node)
	return node, func() {
		// Emptied by a program that is waited for, because the kernel takes a network namespace apart when it likes.
		_, _ = node.Run("sh", "-c", "ipvsadm -C; ip link del kube-ipvs0; ip link del kube-dummy-if; iptables -F; iptables -t nat -F; ipset flush")
		b.Remove(node)
	}
}

// register writes to the API, where there is one, that node1 has the addresses of this node.
func (b *bench) register(node *topology.Host) {
	b.t.Helper()
	if b.api == nil {
		return
	}
	nodes := b.api.CoreV1().Nodes()
	object, err := nodes.Get(b.t.Context(), benchNode, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		object, err = nodes.Create(b.t.Context(), &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: benchNode}},
			metav1.CreateOptions{})
	}
	b.must(err)
	object.Status.Addresses = []v1.NodeAddress{
		{Type: v1.NodeInternalIP, Address: node.IPv4.String()}, {Type: v1.NodeInternalIP, Address: node.IPv6.String()},
	}
	_, err = nodes.UpdateStatus(b.t.Context(), object, metav1.UpdateOptions{})
	b.must(err)
}

// run has ipvs-load control measure a proxy on a new node.
func (b *bench) run(s subject, services int, o options) benchmark.Run {
	b.t.Helper()
	node, forget := b.node()
	defer forget()
	args := []string{"control", "--json", "--services", fmt.Sprint(services), "--endpoints", fmt.Sprint(benchEndpoints),
		"--changes", fmt.Sprint(o.changes), "--pause", "200ms",
		"--idle", o.idle.String(), "--timeout", cmp.Or(o.timeout, b.timeout()).String(), "--settled", s.settled, "--ready",
		s.ready,
		"--metrics", ownMetrics, "--histogram", s.histogram}
	if s.name == benchmark.Ours {
		args = append(args, "--counter", benchmark.OwnAudits)
	}
	if s.iptables {
		args = append(args, "--iptables")
	} else {
		args = append(args, "--vips", fmt.Sprintf("%s=%d", s.link, services))
	}
	for _, set := range s.sets(services) {
		args = append(args, "--set", set)
	}
	source := "API"
	if !slices.Contains(s.command, "--manifests") {
		args = append(args, "--kubeconfig", b.kubeconfig)
	} else {
		source = "manifests"
	}
	if o.restart {
		args = append(args, "--restart")
	}
	if o.record != "" {
		args = append(args, "--record", o.record)
	}
	args = append(append(append(args, "--"), o.under...), s.command...)
	run := benchmark.Run{Proxy: s.name, Build: s.build, Arguments: s.arguments, Source: source, Services: services}
	cmd := exec.Command(programs.Path("ipvs-load"), args...)
	var output, log strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &log
	b.must(node.Start(cmd))
	err := cmd.Wait()
	r := &benchmark.Control{}
	decode := json.Unmarshal([]byte(output.String()), r)
	switch {
	case decode != nil:
		run.Failure = fmt.Sprintf("%v: %v\n%s%s", err, decode, output.String(), log.String())
		return run
	case r.Failure != "":
		run.Failure = r.Failure
	case err != nil:
		run.Failure = fmt.Sprintf("%v: %s", err, log.String())
	}
	// What a program says of itself names directories of this machine, which are nobody's business on the page.
	run.Failure = strings.NewReplacer(peers+"/", "", string(programs)+"/", "").Replace(run.Failure)
	run.Report = r
	return run
}

// timeout is for one wait: for all Services, or for one change.
func (b *bench) timeout() time.Duration {
	if b.peerLimit > 1000 {
		return benchTimeout
	}
	return benchTimeout / 3
}

// floor sends what was recorded to a new node, without a proxy.
func (b *bench) floor(record string) *benchmark.Floor {
	b.t.Helper()
	node, forget := b.node()
	defer forget()
	text, err := node.Run(programs.Path("ipvs-load"), "replay", "--json", record)
	f := &benchmark.Floor{}
	if err := errors.Join(err, json.Unmarshal([]byte(text), f)); err != nil {
		b.t.Errorf("floor: %v\n%s", err, text)
		return nil
	}
	return f
}

// list times a process that lists what the API has.
func (b *bench) list(args ...string) *float64 {
	b.t.Helper()
	began := time.Now()
	text, err := b.Node1.Run(programs.Path("apilist"), append(args, b.kubeconfig)...)
	if err != nil {
		b.t.Errorf("list: %v\n%s", err, text)
		return nil
	}
	took := time.Since(began).Seconds()
	return &took
}

// fromManifests measures ours on a directory instead of the API.
func (b *bench) fromManifests(services int) {
	b.t.Helper()
	s := benchSubjects(b.kubeconfig, benchNode)[0].fromManifests()
	record := filepath.Join(b.t.TempDir(), "writes")
	run := b.run(s, services, options{changes: 20, idle: 10 * time.Second, restart: true, record: record})
	if run.Failure == "" {
		run.Floor = b.floor(record)
	}
	b.add(run)
}

// write leaves the runs, and what they make, in the directory for the results.
func (b *bench) write() {
	b.t.Helper()
	text, err := json.MarshalIndent(b.page, "", " ")
	b.must(err)
	b.must(os.WriteFile(filepath.Join(b.out, b.file+".json"), append(text, '\n'), 0o644))
}

// verdict fails the test when ours could not be measured. A peer that could not be is said, in the table too.
func (b *bench) verdict() {
	for _, r := range b.page.Runs {
		if r.Failure == "" {
			continue
		}
		if r.Proxy == benchmark.Ours {
			b.t.Errorf("%s, %d Services: %s", r.Name(), r.Services, r.Failure)
		} else {
			b.say("NOT MEASURED: %s, %d Services: %s", r.Name(), r.Services, r.Failure)
		}
	}
}
