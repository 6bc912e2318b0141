package proxier_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mapOf returns the comment of a package in its doc.go.
func mapOf(t *testing.T, folder string) string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, "doc.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Doc.Text()
}

// TestMapsNameAllFiles: the doc.go of a large room names each of its files, and no other.
func TestMapsNameAllFiles(t *testing.T) {
	for _, folder := range []string{"internal/dataplane", "internal/engine"} {
		text := mapOf(t, folder)
		files, err := filepath.Glob(folder + "/*.go")
		if err != nil || len(files) < 30 {
			t.Fatalf("%s: %d files, %v", folder, len(files), err)
		}
		named := regexp.MustCompile(`\b[a-z]+\.go\b`).FindAllString(text, -1)
		for _, file := range files {
			name := filepath.Base(file)
			if !strings.HasSuffix(name, "_test.go") && name != "doc.go" && !slices.Contains(named, name) {
				t.Errorf("%s/doc.go does not name %s", folder, name)
			}
		}
		for _, name := range named {
			if !slices.Contains(files, filepath.Join(folder, name)) {
				t.Errorf("%s/doc.go names %s, which is not there", folder, name)
			}
		}
	}
}

// TestMapOfTheLoadGenerator: its doc.go names each package below internal, and none imports one that stands further
// down.
func TestMapOfTheLoadGenerator(t *testing.T) {
	const internal = "../cmd/ipvs-load/internal"
	var named []string
	for _, line := range regexp.MustCompile(`(?m)^\t  ([a-z]+) +`).FindAllStringSubmatch(mapOf(t, "../cmd/ipvs-load"),
		-1) {
		named = append(named, line[1])
	}
	entries, err := os.ReadDir(internal)
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]*imports{}
	for _, entry := range entries {
		if !slices.Contains(named, entry.Name()) {
			t.Errorf("doc.go does not name %s", entry.Name())
		}
		if err := readImports(packages, filepath.Join(internal, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if len(packages) != len(named) {
		t.Errorf("%d packages, and %d are named", len(packages), len(named))
	}
	for i, name := range named {
		of := packages["cmd/ipvs-load/internal/"+name]
		if of == nil {
			t.Errorf("doc.go names %s, which is not there", name)
			continue
		}
		for _, below := range named[i+1:] {
			if slices.Contains(of.ours, "cmd/ipvs-load/internal/"+below) {
				t.Errorf("%s imports %s, which stands further down", name, below)
			}
		}
	}
}
