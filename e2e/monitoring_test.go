//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// lintIsKubeProxys are findings of promtool about names that are kube-proxy's.
var lintIsKubeProxys = []string{`kubeproxy_sync_proxy_rules_no_local_endpoints_total non-counter metrics should not have "_total" suffix`}

// TestMonitoring has a real Prometheus scrape a real proxier, and asks it for each query of the dashboard and each
// series of the alert rules: all have an answer. Names and types are as promtool wants them.
func TestMonitoring(t *testing.T) {
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s: make test-monitoring installs it (Debian's package prometheus)", program)
		}
	}
	if out, err := exec.Command(
		"promtool", "test", "rules", "deploy/monitoring/rules_test.yaml",
	).CombinedOutput(); err != nil {
		t.Errorf("the rules do not fire as they should: %v\n%s", err, out)
	}
	c := newCluster(t)
	kubeconfig, client, _ := c.startAPIServer(c.Node1)
	c.readyNode(client, "node1")
	one, dual := c.backend(1, 10, "one"), v1.IPFamilyPolicyRequireDualStack
	made := web(nodePort, scheduled("leest-connection")) // a Problem
	made.Spec.IPFamilyPolicy = &dual
	_, err := client.CoreV1().Services("default").Create(t.Context(), made, metav1.CreateOptions{})
	c.must(err)
	for _, slice := range endpointSlices(made, one) {
		_, err := client.DiscoveryV1().EndpointSlices("default").Create(t.Context(), slice, metav1.CreateOptions{})
		c.must(err)
	}
	// Somebody has the address of /healthz for a while: a Problem of the node.
	var taken net.Listener
	c.must(c.Node1.Do(func() (err error) { taken, err = net.Listen("tcp", "0.0.0.0:10256"); return err }))
	c.start("--kubeconfig", kubeconfig, "--audit-period", "1s")
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	c.must(os.WriteFile(config, []byte(`
global: {scrape_interval: 1s}
scrape_configs:
- job_name: ipvs-proxier
  honor_labels: true
  static_configs: [{targets: ["127.0.0.1:10249"]}]
`), 0o600))
	p, err := harness.Start(c.Node1, "prometheus", "--config.file", config, "--storage.tsdb.path",
		filepath.Join(dir, "data"), "--web.listen-address", "127.0.0.1:9090")
	c.must(err)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("log of Prometheus:\n%s", p.Output())
		}
	})
	missing := monitoredQueries(t)
	c.must(harness.Await(3*time.Minute, func() error {
		for query := range missing {
			n, err := c.query(query)
			if err != nil {
				return err
			}
			if n > 0 {
				delete(missing, query)
			}
		}
		if taken != nil &&
			!slices.ContainsFunc(
				slices.Collect(maps.Keys(missing)), func(q string) bool { return strings.Contains(q, `service=""`) },
			) {
			taken.Close()
			taken = nil
		}
		c.proxier.Get("http://127.0.0.1:10256/readyz")
		if len(missing) > 0 {
			return fmt.Errorf("no answer to:\n%s", strings.Join(slices.Sorted(maps.Keys(missing)), "\n"))
		}
		return nil
	}))

	_, text, err := c.proxier.Get("http://127.0.0.1:10249/metrics")
	c.must(err)
	lint := exec.Command("promtool", "check", "metrics")
	lint.Stdin = strings.NewReader(text)
	out, err := lint.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lintIsKubeProxys, line) {
			t.Errorf("promtool: %s", line)
		}
	}
}

// query returns how many series answer.
func (c *cluster) query(text string) (int, error) {
	_, body, err := c.proxier.Get("http://127.0.0.1:9090/api/v1/query?query=" + url.QueryEscape(text))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return 0, fmt.Errorf("%w: %s", err, body)
	}
	if answer.Status != "success" {
		return 0, harness.GiveUp(fmt.Errorf("%s: %s", text, answer.Error))
	}
	return len(answer.Data.Result), nil
}

// silent are series that a node without trouble does not have: limits of connections are from Linux 7.2 on, and
// failures have series from the first one on.
var silent = []string{"ipvs_proxier_connections_max", "ipvs_proxier_operation_failures_total"}

// selector is a series of the rules, with its labels.
var selector = regexp.MustCompile(`\b(?:ipvs_proxier_\w+|process_\w+|up)\b(?:\{[^}]*\})?`)

// monitoredQueries are those of the dashboard, with its variables filled in, and the series of all alert rules.
func monitoredQueries(t *testing.T) map[string]bool {
	t.Helper()
	queries := map[string]bool{}
	read := func(path string, into any) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err == nil {
			err = yaml.Unmarshal(data, into) // JSON is YAML
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	read("deploy/monitoring/dashboard.json", &dashboard)
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries[strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "1m").Replace(target.Expr)] = true
		}
	}
	fromDashboard := len(queries)
	var rules struct {
		Groups []struct{ Rules []struct{ Expr string } }
	}
	read("deploy/monitoring/rules.yaml", &rules)
	for _, rule := range rules.Groups[0].Rules {
		for _, series := range selector.FindAllString(rule.Expr, -1) {
			if !slices.Contains(silent, series) {
				queries[series] = true
			}
		}
	}
	if fromDashboard < 15 || len(queries) < fromDashboard+10 {
		t.Fatalf("%d queries of the dashboard, %d with the rules: too few", fromDashboard, len(queries))
	}
	return queries
}
