//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// cluster is a topology whose node1 runs the proxier on a directory of manifests.
type cluster struct {
	t *testing.T
	*topology.Topology
	manifests string
	proxier   *harness.Proxier
	// lives are all proxiers that were started, the last one last.
	lives  []*harness.Proxier
	kernel *harness.Kernel
	args   []string
	// program is the proxier to start; empty is this version's.
	program string
	// rest is how startAPIServer's client reaches the API server.
	rest *rest.Config
	// secondAPIServer starts another API server beside the one of startAPIServer, on port 6444.
	secondAPIServer func() *harness.Process
	// asks is how often outcome asks at least.
	asks int
}

// newCluster builds the network; the proxier is not started yet.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	network, err := topology.New()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, Topology: network, manifests: t.TempDir()}
	t.Cleanup(network.Close)
	if c.kernel, err = harness.OpenKernel(network.Node1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kernel.Close)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the dataplane of node1:\n%s", harness.Dump(network.Node1))
		}
	})
	t.Cleanup(c.endLives)
	return c
}

// mostLogs is how many lives of the proxier show their logs after a failure: a test may start a thousand.
const mostLogs = 10

// endLives ends all proxiers, and shows what the last ones said if the test has failed.
func (c *cluster) endLives() {
	for _, life := range c.lives {
		life.Kill()
	}
	if !c.t.Failed() {
		return
	}
	for _, life := range c.lives[max(0, len(c.lives)-mostLogs):] {
		c.t.Logf("log of the proxier:\n%s", life.Output())
	}
}

// run starts the proxier on the manifests and waits until its first pass is done.
func (c *cluster) run(args ...string) {
	c.t.Helper()
	c.start(append([]string{"--manifests", c.manifests}, args...)...)
	c.must(c.proxier.AwaitReady())
}

func (c *cluster) start(args ...string) {
	c.t.Helper()
	c.args = args
	if by := os.Getenv("IPVSP_NETFILTER"); by != "" { // what holds sets and rules in all tests of this run
		args = append(slices.Clone(args), "--netfilter="+by)
	}
	start := programs.StartProxier
	if c.program != "" {
		start = func(node *topology.Host, args ...string) (*harness.Proxier, error) {
			return programs.StartProxierOf(c.program, node, args...)
		}
	}
	proxier, err := start(c.Node1, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.proxier = proxier
	c.lives = append(c.lives, proxier)
}

// again starts the proxier with the same arguments after its end.
func (c *cluster) again() {
	c.t.Helper()
	c.start(c.args...)
	c.must(c.proxier.AwaitReady())
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// pod adds a pod that only asks.
func (c *cluster) pod(node, number int, name string) *topology.Host {
	c.t.Helper()
	h, err := c.AddPod(node, number, name)
	c.must(err)
	return h
}

// backend adds a pod that serves on port 8080 and answers with its name.
func (c *cluster) backend(node, number int, name string, args ...string) *topology.Host {
	c.t.Helper()
	h := c.pod(node, number, name)
	c.serve(h, name, args...)
	return h
}

func (c *cluster) serve(h *topology.Host, id string, args ...string) *harness.Process {
	c.t.Helper()
	p, err := programs.Serve(h, id, args...)
	c.must(err)
	c.t.Cleanup(p.Kill)
	return p
}

// write puts a manifest in place in one step.
func (c *cluster) write(name string, objects ...string) {
	c.t.Helper()
	path := filepath.Join(c.manifests, name)
	c.must(os.WriteFile(path+".tmp", []byte(strings.Join(objects, "---\n")), 0o644))
	c.must(os.Rename(path+".tmp", path))
}

func (c *cluster) remove(name string) {
	c.t.Helper()
	c.must(os.Remove(filepath.Join(c.manifests, name)))
}

// awaitVirtualServer waits until the kernel has the virtual server as in text (harness.VirtualServer.Text).
func (c *cluster) awaitVirtualServer(network string, at netip.AddrPort, text string) {
	c.t.Helper()
	c.must(harness.Await(20*time.Second, func() error {
		v, err := c.kernel.VirtualServer(network, at)
		if err == nil && v.Text() != text {
			err = fmt.Errorf("virtual server %s %s is %q, want %q", network, at, v.Text(), text)
		}
		return err
	}))
}

// await waits for a condition.
func (c *cluster) await(ready func() error) {
	c.t.Helper()
	c.must(harness.Await(20*time.Second, ready))
}

// ask asks once and fails the test when there is no answer.
func (c *cluster) ask(from *topology.Host, network string, to netip.AddrPort) harness.Answer {
	c.t.Helper()
	answer, err := harness.Ask(from, network, to)
	if err != nil {
		c.t.Fatalf("%s asks %s %s: %v", from.Name, network, to, err)
	}
	return answer
}

func (c *cluster) load(from *topology.Host, args ...string) *harness.LoadReport {
	c.t.Helper()
	r, err := programs.Load(from, args...)
	c.must(err)
	return r
}

func (c *cluster) startLoad(from *topology.Host, args ...string) *harness.Load {
	c.t.Helper()
	l, err := programs.StartLoad(from, args...)
	c.must(err)
	return l
}

// sentWithoutErrors is withoutErrors for a load that keeps its rate on every machine. A request that an emulated
// machine had no time to send says nothing about the proxier.
func sentWithoutErrors(t *testing.T, r *harness.LoadReport) {
	t.Helper()
	unsent := r.Errors["unsent"]
	if r.Requests.Errors+r.Requests.Unfinished != unsent || r.Requests.Answered == 0 {
		t.Errorf("requests %+v, errors %v (%s): want every one that was sent answered", r.Requests, r.Errors, r.WhereErrors())
	}
	if unsent > 0 {
		t.Logf("%d of %d requests were not sent: the machine had no time for them", unsent, r.Requests.Planned)
	}
}

// withoutErrors fails the test when a request was not answered.
func withoutErrors(t *testing.T, r *harness.LoadReport) {
	t.Helper()
	if r.Requests.Errors+r.Requests.Unfinished != 0 || r.Requests.Answered == 0 {
		t.Errorf("requests %+v, errors %v (%s): want every one answered", r.Requests, r.Errors, r.WhereErrors())
	}
}

func at(addr netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(addr, port) }

// withoutNFTables says why nftables cannot be used by hand on nodes here, and by no proxier; "" where they can.
func (c *cluster) withoutNFTables() string {
	if _, err := exec.LookPath("nft"); err != nil {
		return "The machine has no program nft (Debian's package nftables)."
	}
	if _, err := c.Node2.Run(
		"nft", "add table ip probe; add chain ip probe nat { type nat hook postrouting priority 0; }; delete table ip probe",
	); err != nil {
		return "This kernel has no nf_tables for IPv4."
	}
	return ""
}
