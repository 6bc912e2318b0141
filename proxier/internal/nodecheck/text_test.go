package nodecheck

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/internal/marks"
)

func TestText(t *testing.T) {
	f, w := ready()
	f.Capabilities, f.SELinux, f.KubeletChain = Is[uint64](0), "container_t", Not[string]("\x1b[2Jwhy")
	var out strings.Builder
	if err := Evaluate(f, w).WriteText(
		&out, func(text string) string { return strings.ReplaceAll(text, "\x1b", "ESC") },
	); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	begin := "node n1 is not ready: 1 thing must be fixed, and 1 other looked after, and 1\nthing could not be looked at.\n\nfails    IPX-211  CapabilityMissing\n  found      "
	if !strings.HasPrefix(text, begin) {
		t.Errorf("want it to begin with\n%s\ngot\n%s", begin, text)
	}
	last := 0
	for _, words := range []string{
		"\nwarns    IPX-214  SELinuxConfined\n", "\nunknown  IPX-222", "ESC[2Jwhy\n",
		"\nok       IPX-201  IPVS is in the kernel (loadable)\n", Page,
	} {
		at := strings.Index(text, words)
		if at < last {
			t.Errorf("want %q in order in\n%s", words, text)
		}
		last = at
	}
	for line := range strings.Lines(text) {
		if utf8.RuneCountInString(line) > width+1 {
			t.Errorf("%q has more than %d columns", line, width)
		}
	}
}

// TestGenerated: the page has each code, as the table says.
func TestGenerated(t *testing.T) {
	const page = "../../../" + Page
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text, err := marks.Replace(string(data), "<!-- generated: written by make generate -->\n", "<!-- end -->\n",
		Sections())
	if err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	golden.Compare(t, page, text)
}

// TestPermissions: the requests to the API need what the ClusterRole gives, no more and no less.
func TestPermissions(t *testing.T) {
	data, err := os.ReadFile("../../../deploy/ipvs-proxier.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var given, asked []string
	for _, document := range strings.Split(string(data), "\n---\n") {
		var role struct {
			Kind  string
			Rules []struct{ APIGroups, Resources, Verbs []string }
		}
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		for _, r := range role.Rules {
			for _, group := range r.APIGroups {
				for _, resource := range r.Resources {
					for _, verb := range r.Verbs {
						given = append(given, fmt.Sprint(Permission{group, resource, verb}))
					}
				}
			}
		}
	}
	for _, p := range Permissions {
		asked = append(asked, p.String())
	}
	slices.Sort(given)
	slices.Sort(asked)
	if !slices.Equal(given, asked) {
		t.Errorf("the ClusterRole gives %v; needed is %v", given, asked)
	}
}
