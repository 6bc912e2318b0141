package proxier

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCasesNameTests: every test and scenario that docs/cases.md names exists.
func TestCasesNameTests(t *testing.T) {
	text, err := os.ReadFile("../docs/cases.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, found := range declared.FindAllSubmatch(source, -1) {
			tests[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\bTest\w+|[a-z-]+\.txtar`).FindAllString(string(text), -1) {
		if strings.HasSuffix(name, ".txtar") {
			if _, err := os.Stat("internal/engine/testdata/" + name); err != nil {
				t.Error(err)
			}
		} else if !tests[name] {
			t.Errorf("there is no test %s", name)
		}
	}
}
