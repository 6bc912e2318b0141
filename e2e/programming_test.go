//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// programmingSizes are the numbers of Services, of 5 endpoints each, by what IPVSP_BENCH_PROGRAMMING_SIZE says; kube-proxy is left out where
// it would take hours.
var programmingSizes = map[string][]struct {
	services int
	peer     bool
}{
	"quick": {{100, true}},
	"":      {{100, true}, {1000, true}, {5000, false}, {10_000, false}},
}

// TestProgramming measures what programming Services costs ipvs-proxier and kube-proxy's ipvs mode, one after the other on one node with one API
// server and the same objects. It asserts nothing but that the runs could be made; `make bench-programming` runs it and names in
// IPVSP_BENCH_PROGRAMMING the directory for the results.
func TestProgramming(t *testing.T) {
	out := os.Getenv("IPVSP_BENCH_PROGRAMMING")
	if out == "" {
		t.Skip("run by make bench-programming")
	}
	c := newCluster(t)
	kubeconfig, _, _ := c.startAPIServer(c.Node1)
	c.rest.QPS, c.rest.Burst = 10_000, 10_000
	api, err := kubernetes.NewForConfig(c.rest)
	c.must(err)
	node, err := api.CoreV1().Nodes().Create(t.Context(), &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.Node1.Name}}, metav1.CreateOptions{})
	c.must(err)
	node.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: c.Node1.IPv4.String()}, {Type: v1.NodeInternalIP, Address: c.Node1.IPv6.String()}}
	_, err = api.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{})
	c.must(err)
	kernel, err := c.Node1.Run("uname", "-sr")
	c.must(err)
	apply := c.startApplier(api)

	ours := []string{programs.Path("ipvs-proxier"), "run", "--node-name", c.Node1.Name, "--cluster-cidr", topology.PodCIDRs, "--kubeconfig", kubeconfig}
	theirs := []string{filepath.Join(peers, "kube-proxy"), "--kubeconfig", kubeconfig, "--proxy-mode", "ipvs", "--hostname-override", c.Node1.Name,
		"--cluster-cidr", topology.PodCIDRs, "--ipvs-scheduler", "rr", "--conntrack-max-per-core", "0", "--conntrack-min", "0"}
	var table strings.Builder
	// Each has run once before it is measured: reading programs from the machine's disk into the guest is no matter of theirs.
	for _, command := range [][]string{ours, theirs} {
		c.program(filepath.Join(out, "warm-up.json"), 1, apply, command)
		c.clean()
	}
	for _, size := range programmingSizes[os.Getenv("IPVSP_BENCH_PROGRAMMING_SIZE")] {
		for _, proxy := range []struct {
			name    string
			command []string
		}{{"ipvs-proxier", ours}, {"kube-proxy", theirs}} {
			if proxy.name == "kube-proxy" && !size.peer {
				continue
			}
			r := c.program(filepath.Join(out, fmt.Sprintf("%s-%d.json", proxy.name, size.services)), size.services, apply, proxy.command)
			fmt.Fprintf(&table, "| %s | %d | %s |\n", proxy.name, size.services, r.row())
			t.Logf("%s, %d Services: %s", proxy.name, size.services, r.row())
			if proxy.name == "ipvs-proxier" {
				// The start of a new life, for which there is nothing to do.
				r := c.program(filepath.Join(out, fmt.Sprintf("restart-%d.json", size.services)), size.services, apply, proxy.command)
				fmt.Fprintf(&table, "| %s, started again | %d | %s |\n", proxy.name, size.services, r.row())
				t.Logf("restart, %d Services: %s", size.services, r.row())
			}
			c.clean()
		}
	}
	head := fmt.Sprintf("Measured on %s by `make bench-programming`: Services with 5 endpoints each, from one kube-apiserver, which runs in the same guest.\n\n", strings.TrimSpace(kernel)) +
		"| proxy | Services | last real server | everything in place | own CPU | children's CPU | processes started | netlink messages in buffers | change p50 | change max | in-process | peak memory |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n"
	c.must(os.WriteFile(filepath.Join(out, "programming.md"), []byte(head+table.String()), 0o644))
}

// clean takes away what either proxy has left on node1.
func (c *cluster) clean() {
	c.t.Helper()
	for _, command := range [][]string{{programs.Path("ipvs-proxier"), "cleanup"}, {filepath.Join(peers, "kube-proxy"), "--cleanup"}} {
		// kube-proxy's fails where a chain of ours or of its iptables mode is not what it thinks, after it has removed what counts.
		if text, err := c.Node1.Run(command[0], command[1:]...); err != nil {
			c.t.Logf("%s: %v, %d bytes of errors", command, err, len(text))
		}
	}
	c.must(harness.Await(5*time.Minute, func() error {
		if text, err := c.Node1.Run("ipvsadm", "-Sn"); err != nil || text != "" {
			return fmt.Errorf("after cleanup there is still something: %w", err)
		}
		return nil
	}))
}

// programmed is what ipvs-load control found out, and the proxy's own metrics.
type programmed struct {
	First struct {
		Took      float64 `json:"took_s"`
		Own       float64 `json:"own_cpu_s"`
		Children  float64 `json:"children_cpu_s"`
		Processes int64   `json:"processes_started"`
		Netlink   *int64  `json:"netlink_buffers"`
	} `json:"first_programming"`
	Changes struct {
		P50 float64 `json:"p50_ms"`
		Max float64 `json:"max_ms"`
	} `json:"changes"`
	RSS int64 `json:"peak_rss_bytes"`

	// complete is the time from the start to the end of the first pass that had everything; own the mean time of a change from the
	// watch event to the kernel, negative where the proxy does not tell.
	complete, own time.Duration
}

func (r *programmed) row() string {
	netlink, own := "?", "not told"
	if r.First.Netlink != nil {
		netlink = fmt.Sprint(*r.First.Netlink)
	}
	if r.own >= 0 {
		own = fmt.Sprintf("%.1f ms", float64(r.own.Microseconds())/1000)
	}
	return fmt.Sprintf("%.1f s | %.1f s | %.2f s | %.2f s | %d | %s | %.0f ms | %.0f ms | %s | %.0f MiB",
		r.First.Took, r.complete.Seconds(), r.First.Own, r.First.Children, r.First.Processes, netlink, r.Changes.P50, r.Changes.Max, own, float64(r.RSS)/(1<<20))
}

// program runs ipvs-load control with the proxy, and watches the proxy's metrics beside it.
func (c *cluster) program(file string, services int, apply string, command []string) *programmed {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	metrics := c.watchMetrics(ctx)
	args := append([]string{"control", "--json", "--services", fmt.Sprint(services), "--endpoints", "5", "--changes", "10", "--idle", "5s", "--timeout", "1h", "--apply", apply, "--"}, command...)
	cmd := exec.Command(programs.Path("ipvs-load"), args...)
	var output, log strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &log
	c.must(c.Node1.Start(cmd))
	err := cmd.Wait()
	cancel()
	last := <-metrics
	r := &programmed{}
	if decode := json.Unmarshal([]byte(output.String()), r); err != nil || decode != nil {
		c.t.Fatalf("%v: %v, %v\n%s%s", command, err, decode, output.String(), log.String())
	}
	c.must(os.WriteFile(file, []byte(output.String()), 0o644))
	r.complete, r.own = last.complete, last.change()
	return r
}

// seenMetrics is what the proxy said of itself last, and the time from its start to its first good pass.
type seenMetrics struct {
	text     string
	complete time.Duration
}

// change is the mean time of a change within the proxy.
func (s seenMetrics) change() time.Duration {
	sum, told := sample(s.text, `ipvs_proxier_change_duration_seconds_sum{stage="total"}`)
	n, _ := sample(s.text, `ipvs_proxier_change_duration_seconds_count{stage="total"}`)
	if !told || n == 0 {
		return -1
	}
	return time.Duration(sum / n * 1e9)
}

// sample returns the value of a series.
func sample(text, series string) (float64, bool) {
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(found[1], 64)
	return v, err == nil
}

// watchMetrics reads node1's metrics every second until ctx ends, then it delivers.
func (c *cluster) watchMetrics(ctx context.Context) <-chan seenMetrics {
	done := make(chan seenMetrics, 1)
	go func() {
		var seen seenMetrics
		defer func() { done <- seen }()
		for ; ctx.Err() == nil; time.Sleep(time.Second) {
			_, text, err := harness.Get(c.Node1, "http://127.0.0.1:10249/metrics")
			if err != nil {
				continue
			}
			seen.text = text
			end, _ := sample(text, "kubeproxy_sync_proxy_rules_last_timestamp_seconds")
			if end == 0 {
				end, _ = sample(text, `kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"}`)
			}
			if began, _ := sample(text, "process_start_time_seconds"); end > 0 && seen.complete == 0 {
				seen.complete = time.Duration((end - began) * 1e9)
			}
		}
	}()
	return done
}

// startApplier listens on node1 for the names of files with manifests and brings them to the API, so that a change does not cost the start of a
// large program. It returns the command that asks it.
func (c *cluster) startApplier(api kubernetes.Interface) (command string) {
	c.t.Helper()
	var l net.Listener
	c.must(c.Node1.Do(func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:7001"); return err }))
	c.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answer := "done"
			name, err := bufio.NewReader(conn).ReadString('\n')
			if err == nil {
				err = applyFile(c.t.Context(), api, strings.TrimSpace(name))
			}
			if err != nil {
				answer = strings.ReplaceAll(err.Error(), "\n", " ")
			}
			fmt.Fprintln(conn, answer)
			conn.Close()
		}
	}()
	return `bash -c 'exec 3<>/dev/tcp/127.0.0.1/7001; echo {file} >&3; read -r answer <&3; [ "$answer" = done ] || { echo "$answer"; exit 1; }'`
}

// applyFile creates or updates the Services and EndpointSlices of the file.
func applyFile(ctx context.Context, api kubernetes.Interface, name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	documents := make(chan string)
	var wait sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for range 4 {
		wait.Go(func() {
			for d := range documents {
				if err := applyDocument(ctx, api, d); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	for d := range strings.SplitSeq(string(text), "---\n") {
		if strings.TrimSpace(d) != "" {
			documents <- d
		}
	}
	close(documents)
	wait.Wait()
	return failed
}

func applyDocument(ctx context.Context, api kubernetes.Interface, document string) error {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
		return err
	}
	switch kind.Kind {
	case "Service":
		s := &v1.Service{}
		if err := yaml.Unmarshal([]byte(document), s); err != nil {
			return err
		}
		s.UID = ""
		_, err := api.CoreV1().Services(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) || err != nil && strings.Contains(err.Error(), "provided IP is already allocated") {
			return nil // it never changes
		}
		return err
	case "EndpointSlice":
		s := &discovery.EndpointSlice{}
		if err := yaml.Unmarshal([]byte(document), s); err != nil {
			return err
		}
		_, err := api.DiscoveryV1().EndpointSlices(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			_, err = api.DiscoveryV1().EndpointSlices(s.Namespace).Update(ctx, s, metav1.UpdateOptions{})
		}
		return err
	}
	return fmt.Errorf("a %s is not expected", kind.Kind)
}
