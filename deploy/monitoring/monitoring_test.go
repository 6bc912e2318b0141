// Package monitoring_test compares what is here with the pages that explain it. e2e/monitoring_test.go asks a real
// Prometheus.
package monitoring_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

type rulesFile struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestEachAlertHasARunbook: docs/runbooks.md has a section for each alert, in the same order and no others, to which
// its annotation leads, and rules_test.yaml has histories for it.
func TestEachAlertHasARunbook(t *testing.T) {
	var rules rulesFile
	if err := yaml.Unmarshal([]byte(read(t, "rules.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	tests := read(t, "rules_test.yaml")
	var alerts, sections []string
	for _, r := range rules.Groups[0].Rules {
		alerts = append(alerts, r.Alert)
		if want := "docs/runbooks.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want {
			t.Errorf("%s leads to %q, want %q", r.Alert, r.Annotations["runbook"], want)
		}
		if severity := r.Labels["severity"]; severity != "critical" && severity != "warning" && severity != "info" {
			t.Errorf("%s has the severity %q", r.Alert, severity)
		}
		for _, name := range []string{r.Alert + " fires\n", r.Alert + " is silent\n"} {
			if !strings.Contains(tests, name) {
				t.Errorf("rules_test.yaml has no test %q", name)
			}
		}
	}
	for _, found := range regexp.MustCompile(`(?m)^## (IPVSProxier\w+)$`).FindAllStringSubmatch(read(t,
		"../../docs/runbooks.md"), -1) {
		sections = append(sections, found[1])
	}
	if diff := cmp.Diff(alerts, sections); diff != "" {
		t.Errorf("alerts and sections of docs/runbooks.md (-alerts +sections):\n%s", diff)
	}
}

// TestRules has promtool play the histories of rules_test.yaml.
func TestRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool: make test-monitoring installs it (Debian's package prometheus)")
	}
	if out, err := exec.Command(promtool, "test", "rules", "rules_test.yaml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
