package proxier_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestTheCoreDecidesOnly: the packages that decide reach no kernel, no log and no file. What they need comes as an argument.
func TestTheCoreDecidesOnly(t *testing.T) {
	for _, dir := range []string{"internal/cluster", "internal/dataplane", "../internal/spelling", "internal/budget", "internal/annotation", "../scheduler", "../ipset"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				for _, forbidden := range []string{"log", "log/slog", "os", "net", "syscall", "golang.org/x/sys", "k8s.io/klog", "k8s.io/client-go",
					"github.com/vishvananda", "github.com/moby/ipvs", "github.com/prometheus",
					"github.com/ipvs-proxier/ipvs-proxier/ipset/client", "github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"} {
					if path == forbidden || strings.HasPrefix(path, forbidden+"/") && forbidden != "log" && forbidden != "net" {
						t.Errorf("%s imports %s", file, path)
					}
				}
			}
		}
	}
}
