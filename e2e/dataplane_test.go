//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// dataPlaneRounds is the number of rounds of each scenario, from which on rounds are compared one by one.
const dataPlaneRounds = 5

// TestDataPlane measures what a Service costs its clients: the same scenarios of the library, in turn, straight to the endpoints, through
// kube-proxy's ipvs mode on node2 and through ipvs-proxier on node1, in one guest. Both nodes have a client and two of the four endpoints.
// It asserts nothing but that the runs could be made; `make bench-data` runs it and names in IPVSP_BENCH_DATA the directory for the results.
func TestDataPlane(t *testing.T) {
	out := os.Getenv("IPVSP_BENCH_DATA")
	if out == "" {
		t.Skip("run by make bench-data")
	}
	c := newCluster(t)
	pods := []*topology.Host{c.backend(1, 10, "one"), c.backend(1, 11, "two"), c.backend(2, 10, "three"), c.backend(2, 11, "four")}
	client1, client2 := c.pod(1, 50, "client1"), c.pod(2, 50, "client2")
	// A client that asks an endpoint by the Service must not ask it straight as well: IPVS cannot tell flows with one source port apart.
	straight := c.pod(1, 51, "straight")

	kubeconfig, api, _ := c.startAPIServer(c.Node2)
	ctx := t.Context()
	node, err := api.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.Node2.Name}}, metav1.CreateOptions{})
	c.must(err)
	node.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: c.Node2.IPv4.String()}, {Type: v1.NodeInternalIP, Address: c.Node2.IPv6.String()}}
	_, err = api.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
	c.must(err)
	dual := v1.IPFamilyPolicyRequireDualStack
	s := web()
	s.Spec.IPFamilyPolicy = &dual
	_, err = api.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
	c.must(err)
	for _, slice := range endpointSlices(s, pods...) {
		_, err := api.DiscoveryV1().EndpointSlices("default").Create(ctx, slice, metav1.CreateOptions{})
		c.must(err)
	}
	c.startKubeProxy(c.Node2, kubeconfig)
	c.write("web.yaml", with(web(), pods...))
	c.run()
	for _, client := range []*topology.Host{client1, client2} {
		c.must(harness.Await(2*time.Minute, func() error {
			for range 8 {
				if _, err := harness.Ask(client, "tcp", web4); err != nil {
					return err
				}
			}
			return nil
		}))
	}

	var direct []string
	for _, p := range pods {
		direct = append(direct, at(p.IPv4, 8080).String())
	}
	variants := []dataPlaneVariant{
		{"direct", straight, direct}, {"kube-proxy", client2, []string{web4.String()}}, {"ipvs-proxier", client1, []string{web4.String()}},
	}
	kernel, err := c.Node1.Run("uname", "-sr")
	c.must(err)
	var text strings.Builder
	for _, scenario := range dataPlaneScenarios {
		fmt.Fprintf(&text, "## %s\n\n%s\n\n", scenario.title, scenario.about)
		fmt.Fprintf(&text, "    ipvs-load scenario %s %s\n\n```\n%s```\n\n", scenario.name, strings.Join(scenario.set("TARGET=tcp://..."), " "), c.measure(out, scenario, variants))
	}
	c.must(os.WriteFile(filepath.Join(out, "data-plane.md"), []byte(dataPlaneHead(strings.TrimSpace(kernel))+text.String()), 0o644))
}

type dataPlaneVariant struct {
	name    string
	client  *topology.Host
	targets []string
}

type dataPlaneScenario struct {
	name, variant, protocol string
	values                  []string
	title, about            string
}

var dataPlaneScenarios = []dataPlaneScenario{
	{"latency-at-rate", "service", "tcp", []string{"RATE=100", "DURATION=5s"}, "New connections", "TCP connect, request, reply, close, at 100 a second with Poisson arrivals."},
	{"udp-dns", "", "udp", []string{"RATE=100", "DURATION=5s"}, "UDP exchanges", "One datagram out and one back, each from a new source port, at 100 a second with Poisson arrivals."},
	{"idle-connections", "", "tcp", []string{"CONNECTIONS=200", "INTERVAL=2s", "DURATION=5s"}, "Connections that stay", "200 connections, each of which speaks every 2 s."},
	{"cps", "", "tcp", []string{"RATES=50:2s,100:2s,150:2s", "WARMUP=1s"}, "A rising rate of new connections", "2 s each at 50, 100 and 150 new connections a second."},
}

// set are the flags that give the scenario its values; the targets go to the variable of that name.
func (s *dataPlaneScenario) set(target string) []string {
	var flags []string
	for _, v := range append(slices.Clone(s.values), target) {
		flags = append(flags, "--set", "'"+v+"'")
	}
	return flags
}

// measure runs the scenario in rounds, in each of which every variant has its turn in an order that alternates, keeps the reports, and
// returns what compare says of them.
func (c *cluster) measure(out string, s dataPlaneScenario, variants []dataPlaneVariant) string {
	c.t.Helper()
	files := make([]string, len(variants))
	reports := make([][]byte, len(variants))
	order := []int{0, 1, 2}
	for range dataPlaneRounds {
		for _, i := range order {
			reports[i] = append(append(reports[i], c.round(s, variants[i])...), '\n')
		}
		slices.Reverse(order)
	}
	dir := filepath.Join(out, s.name)
	c.must(os.MkdirAll(dir, 0o755))
	for i, v := range variants {
		files[i] = v.name + ".json"
		c.must(os.WriteFile(filepath.Join(dir, files[i]), reports[i], 0o644))
	}
	compare := exec.Command(programs.Path("ipvs-load"), append([]string{"compare"}, files...)...)
	compare.Dir = dir
	text, err := compare.CombinedOutput()
	if compare.ProcessState == nil || compare.ProcessState.ExitCode() > 1 { // 1: something is slower, which is a result
		c.t.Fatalf("compare: %v\n%s", err, text)
	}
	c.t.Logf("%s\n%s", s.name, text)
	return string(text)
}

// round is the report of one run.
func (c *cluster) round(s dataPlaneScenario, v dataPlaneVariant) json.RawMessage {
	c.t.Helper()
	var targets []string
	for _, t := range v.targets {
		targets = append(targets, s.protocol+"://"+t)
	}
	args := []string{"scenario", s.name, "--json", "--repetitions", "1"}
	if s.variant != "" {
		args = append(args, "--variant", s.variant)
	}
	for _, value := range append(slices.Clone(s.values), "TARGET="+strings.Join(targets, ","), "ENDPOINT="+targets[0]) {
		args = append(args, "--set", `"`+value+`"`)
	}
	cmd := exec.Command(programs.Path("ipvs-load"), args...)
	var output, log strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &log
	c.must(v.client.Start(cmd))
	err := cmd.Wait()
	var result struct {
		Variants []struct{ Rounds []json.RawMessage }
	}
	if decode := json.Unmarshal([]byte(output.String()), &result); decode != nil || len(result.Variants) != 1 || len(result.Variants[0].Rounds) != 1 {
		c.t.Fatalf("%s, %s: %v, %v\n%s\n%s", s.name, v.name, err, decode, log.String(), output.String())
	}
	return result.Variants[0].Rounds[0]
}

func dataPlaneHead(kernel string) string {
	return `# What a Service costs its clients

Made by ` + "`make bench-data`" + ` on ` + kernel + `: scenarios of ipvs-load's library, in five rounds each, in which every variant has its turn: "direct" straight to the
four endpoints, "kube-proxy" 1.37.2 in ipvs mode on one node, "ipvs-proxier" on another, in one guest with one set of endpoints. Both
proxies let the same kernel code do the work, so "no difference" between them is what is expected; what either costs against
"direct" is IPVS and connection tracking. A guest with one processor that also runs client and servers tells ratios, not
absolute speed.

`
}
