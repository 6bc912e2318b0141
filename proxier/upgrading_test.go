package proxier

import (
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/observe"
)

// described returns the help texts of all metrics, by name, also of those that have no series yet.
func described(of prometheus.Collector) map[string]string {
	described := make(chan *prometheus.Desc, 1000)
	of.Describe(described)
	close(described)
	pattern, help := regexp.MustCompile(`fqName: "([^"]*)", help: "([^"]*)`), map[string]string{}
	for d := range described {
		if found := pattern.FindStringSubmatch(d.String()); found != nil {
			help[found[1]] = found[2]
		}
	}
	return help
}

// constants returns what a pattern finds in a file of this module.
func constants(t *testing.T, file, pattern string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, c := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		found[c[1]] = true
	}
	if len(found) < 5 {
		t.Fatalf("%s has %d of %s", file, len(found), pattern)
	}
	return found
}

// TestUpgradingNamesWhatIs: metrics, reasons, flags, sets and chains that docs/upgrading.md names as new or kept exist;
// names in the kernel that it calls old do not; and the old metrics are those whose help says so.
func TestUpgradingNamesWhatIs(t *testing.T) {
	data, err := os.ReadFile("../docs/upgrading.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	help := described(observe.NewMetrics(nil, "v").Registry)
	for name, text := range described(observe.NewConnectionMetrics(nil)) {
		help[name] = text
	}
	maps.Copy(help, described(observe.NewViewAge(nil)))
	if len(help) < 30 {
		t.Fatalf("%d metrics only", len(help))
	}
	for _, name := range regexp.MustCompile("`(ipvs_proxier_[a-z_]+)`").FindAllStringSubmatch(page, -1) {
		if _, is := help[name[1]]; !is {
			t.Errorf("there is no metric %s", name[1])
		}
	}
	old := regexp.MustCompile("(?m)^\\| `(ipvs_proxier_[a-z_]+)` \\| `(ipvs_proxier_[a-z_]+)` \\|").FindAllStringSubmatch(
		page, -1,
	)
	for name, text := range help {
		said := false
		for _, row := range old {
			said = said || row[1] == name && strings.HasPrefix(text, "Deprecated: "+row[2]+" ")
		}
		if deprecated := strings.HasPrefix(text, "Deprecated:"); deprecated != said {
			t.Errorf("%s: deprecated by its help is %v, by the page %v", name, deprecated, said)
		}
	}
	_, reasons, _ := strings.Cut(page, "## Reasons")
	reasons, _, _ = strings.Cut(reasons, "\n## ")
	declared := declaredReasons(t)
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*`) \\| (this node|all nodes) \\|").FindAllStringSubmatch(reasons,
		-1) {
		for reason := range strings.SplitSeq(strings.ReplaceAll(row[1], "`", ""), ", ") {
			if declared[reason] != row[2] {
				t.Errorf("%s is of %q, and not of %s", reason, declared[reason], row[2])
			}
		}
	}
	flags := map[string]bool{}
	for _, o := range Options() {
		for _, name := range o.Flags {
			flags[name] = true
		}
	}
	for _, row := range regexp.MustCompile("`--([a-z-]+)`").FindAllStringSubmatch(page, -1) {
		if !flags[row[1]] {
			t.Errorf("there is no flag --%s", row[1])
		}
	}
	_, kernel, _ := strings.Cut(page, "## Names in the kernel")
	sets := constants(t, "internal/dataplane/names.go", `Set\w+ += Prefix \+ "([A-Z-]+)"`)
	chains := constants(t, "internal/dataplane/names.go", `Chain\w+ += Prefix \+ "([A-Z-]+)"`)
	for _, row := range regexp.MustCompile(`(?m)^\| (.*?) ?\| (.*?) ?\|.*\|$`).FindAllStringSubmatch(kernel, -1) {
		for i, cell := range row[1:3] {
			of := chains
			if strings.HasPrefix(cell, "set") {
				of = sets
			}
			for _, name := range regexp.MustCompile("`(IPVSP-[A-Z-]+)`").FindAllStringSubmatch(cell, -1) {
				if is := of[strings.TrimPrefix(name[1], dataplane.Prefix)]; is != (i == 1) {
					t.Errorf("%s: %s exists: %v", row[0], name[1], is)
				}
			}
		}
	}
}
