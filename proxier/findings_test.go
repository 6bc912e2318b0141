package proxier

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFindingsNameVersions: a finding is about versions that its script names, of packages and of modules. With any
// version nobody could say of what it was true.
func TestFindingsNameVersions(t *testing.T) {
	scripts, err := filepath.Glob("../findings/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		_, list, _ := strings.Cut(string(text), "\nversions=\"")
		list, _, _ = strings.Cut(list, "\"")
		if !strings.Contains(string(text), "apt-get download -q $versions") || list == "" {
			t.Errorf("%s does not download what $versions names", script)
		}
		for _, named := range strings.Fields(list) {
			if !regexp.MustCompile(`^[a-z0-9.+-]+=[0-9:]+.*[0-9]`).MatchString(named) {
				t.Errorf("%s names no version: %s", script, named)
			}
		}
		if got := regexp.MustCompile(`go (?:get|install|run) [^\s@]+(?:\s|$)`).FindString(string(text)); got != "" {
			t.Errorf("%s gets a module of no version: %s", script, got)
		}
	}
}
