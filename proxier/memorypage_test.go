package proxier

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestMemoryPage: docs/installing.md names the memory that the manifests request and that docs/benchmarking.md
// measured. The largest cluster that Kubernetes supports fits into it.
func TestMemoryPage(t *testing.T) {
	page := section(t, "../docs/installing.md", "## Memory")
	benchmarks := contentOf(t, "../docs/benchmarking.md")
	asked := number(t, page, `asks for (\d+) MiB`)
	for _, file := range []string{"../deploy/ipvs-proxier.yaml", "../deploy/chart/values.yaml"} {
		if n := number(t, contentOf(t, file), `requests:\s+cpu: \w+\s+memory: (\d+)Mi\n`); n != asked {
			t.Errorf("%s asks for %d MiB, docs/installing.md says %d", file, n, asked)
		}
	}
	peak := number(t, page, `10,000 Services of five endpoints its peak was (\d+) MiB`)
	for _, c := range []struct {
		what           string
		said, measured int
	}{
		{"10,000 Services", peak, number(t, benchmarks, `\| 10,000 \| ipvs-proxier \|.* (\d+) MiB \|\n`)},
		{"1,000 Services", number(t, page, `with 1,000\s+it was (\d+) MiB`),
			number(t, benchmarks, `\| 1,000 \| ipvs-proxier \|.* (\d+) MiB \([^|]*\) \|\n`)},
		{"50,000 Services", number(t, page, `had a peak of (\d+) MiB`),
			number(t, benchmarks, `\| 50,000 \| ipvs-proxier, from manifests \|.* (\d+) MiB \([^|]*\) \|\n`)},
		{"what stays of 10,000 Services", number(t, page, `Each further 10,000 Services take (\d+) MiB`),
			number(t, benchmarks, `(\d+) MiB for 10,000 Services`)},
	} {
		if c.said != c.measured {
			t.Errorf("%s: docs/installing.md says %d MiB, docs/benchmarking.md %d", c.what, c.said, c.measured)
		}
	}
	if peak >= asked {
		t.Errorf("asked for are %d MiB; 10,000 Services alone take %d at their peak", asked, peak)
	}
}

// section is the part of a page below a heading, up to the next one of its kind.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, after, found := strings.Cut(contentOf(t, page), "\n"+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", page, heading)
	}
	text, _, _ := strings.Cut(after, "\n## ")
	return text
}

func contentOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func number(t *testing.T, text, pattern string) int {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("nothing matches %s", pattern)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
