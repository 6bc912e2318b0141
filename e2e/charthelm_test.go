//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestChartByHelm does with the chart what an operator does, by the commands of Helm 3 and 4 and a real API server:
// lint, install, upgrade, roll back, uninstall. make chart-cli builds the commands.
func TestChartByHelm(t *testing.T) {
	if os.Getenv("IPVSP_HELM") == "" {
		t.Skip("no commands of Helm: make chart-cli builds them and runs this")
	}
	c := newCluster(t)
	kubeconfig, client, _ := c.startAPIServer(c.Node1)
	space := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ipvs-proxier"}}
	_, err := client.CoreV1().Namespaces().Create(t.Context(), space, metav1.CreateOptions{})
	c.must(err)
	const values = "deploy/helm/testdata/matrix/minimal.yaml"
	// The tests' API server was not linked with its version and says 0.0.0, for which there is no chart.
	chart := filepath.Join(t.TempDir(), "ipvs-proxier")
	c.must(os.CopyFS(chart, os.DirFS("deploy/chart")))
	metadata, err := os.ReadFile(filepath.Join(chart, "Chart.yaml"))
	c.must(err)
	anyVersion := regexp.MustCompile(`(?m)^kubeVersion:.*\n`).ReplaceAll(metadata, nil)
	c.must(os.WriteFile(filepath.Join(chart, "Chart.yaml"), anyVersion, 0o600))
	for _, name := range []string{"helm3", "helm4"} {
		helm := func(args ...string) (string, error) {
			t.Helper()
			home := filepath.Join(t.TempDir(), "home")
			return c.Node1.Run("env", append([]string{"HOME=" + home, "KUBECONFIG=" + kubeconfig, programs.Path(name)},
				args...)...)
		}
		good := func(args ...string) string {
			t.Helper()
			output, err := helm(args...)
			if err != nil {
				t.Fatalf("%s %q: %v\n%s", name, args, err, output)
			}
			return output
		}
		daemons := func() (generation int64, checksum string) {
			t.Helper()
			d, err := client.AppsV1().DaemonSets("ipvs-proxier").Get(t.Context(), "ipvs-proxier", metav1.GetOptions{})
			c.must(err)
			return d.Generation, d.Spec.Template.Annotations["checksum/config"]
		}
		t.Log(good("version", "--short"))
		good("lint", "deploy/chart", "--values", values, "--strict")
		release := []string{"ipvs-proxier", chart, "--namespace", "ipvs-proxier", "--values", values}
		output, err := helm(append([]string{"install", "--set", "config.shceduler=lc"}, release...)...)
		if err == nil || !strings.Contains(err.Error()+output, "shceduler") {
			t.Errorf("%s: a misspelt option: %v\n%s", name, err, output)
		}
		if output := good(append([]string{
			"install",
		}, release...)...); !strings.Contains(output, "rollout status daemonset ipvs-proxier") {
			t.Errorf("%s says not what to do next:\n%s", name, output)
		}
		first, before := daemons()
		good(append([]string{"upgrade", "--set", "admissionPolicy=Deny"}, release...)...)
		if generation, _ := daemons(); generation != first {
			t.Errorf("%s: another policy has changed the DaemonSet", name)
		}
		good(append([]string{"upgrade", "--set", "config.scheduler=lc"}, release...)...)
		second, after := daemons()
		if second == first || after == before {
			t.Errorf("%s: another configuration has not changed the DaemonSet: generations %d, %d", name, first, second)
		}
		good("rollback", "ipvs-proxier", "1", "--namespace", "ipvs-proxier")
		if _, back := daemons(); back != before {
			t.Errorf("%s: after the way back the checksum is %s, want %s", name, back, before)
		}
		good("upgrade", "ipvs-proxier", chart, "--namespace", "ipvs-proxier", "--reuse-values", "--set",
			"cleanUp.enabled=true")
		if d, err := client.AppsV1().DaemonSets("ipvs-proxier").Get(
			t.Context(), "ipvs-proxier", metav1.GetOptions{},
		); err != nil ||
			len(d.Spec.Template.Spec.Containers) != 1 || d.Spec.Template.Spec.InitContainers[0].Args[0] != "cleanup" {
			t.Errorf("%s: the pods do not clean up: %+v, %v", name, d.Spec.Template.Spec, err)
		}
		good("uninstall", "ipvs-proxier", "--namespace", "ipvs-proxier")
		left, err := client.AppsV1().DaemonSets("ipvs-proxier").List(t.Context(), metav1.ListOptions{})
		c.must(err)
		if len(left.Items) > 0 {
			t.Errorf("%s has left %d DaemonSets", name, len(left.Items))
		}
	}
}
