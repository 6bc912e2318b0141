package proxier_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pure are the packages that decide: they reach no kernel, no log, no file and no clock, by themselves or by another
// package of this module. What they need comes as an argument.
var pure = []string{
	"internal/document", "internal/marks", "internal/spelling", "internal/version", "internal/version/command",
	"internal/wronguse",
	"ipset", "proxier/internal/annotation",
	"proxier/internal/budget", "proxier/internal/bundle", "proxier/internal/cluster", "proxier/internal/dataplane",
	"proxier/internal/explain", "proxier/internal/iptables",
	"proxier/internal/nodecheck", "proxier/internal/threeway",
	"scheduler", "scheduler/hashing",
}

// doing are packages that reach the world, with those below them; calculating are among these and do not. clock is what
// package time reads one by.
var (
	doing = []string{
		"log", "os", "syscall", "golang.org/x/sys", "k8s.io/klog", "k8s.io/client-go", "github.com/sirupsen/logrus",
		"github.com/vishvananda", "github.com/moby/ipvs", "github.com/prometheus", "github.com/fsnotify", "net",
	}
	calculating = []string{"net/netip", "net/url"}
	clock       = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
)

const module = "github.com/ipvs-proxier/ipvs-proxier/"

// TestTheCoreDecidesOnly: the list above is right, and whole.
func TestTheCoreDecidesOnly(t *testing.T) {
	packages := map[string]*imports{}
	for _, root := range []string{"proxier", "ipset", "scheduler", "internal"} {
		readTree(t, packages, root)
	}
	for _, name := range pure {
		if packages[name] == nil {
			t.Errorf("%s is not there", name)
			continue
		}
		if way := packages[name].doing(packages); way != "" {
			t.Errorf("%s decides, and reaches %s", name, way)
		}
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if packages[name].doing(packages) == "" {
			found = append(found, name)
		}
	}
	if diff := cmp.Diff(pure, found); diff != "" {
		t.Errorf("the list of packages that decide only (-listed +found):\n%s", diff)
	}
}

// TestRoomsKnowTheirPlace: what the engine and the observers may not reach, by themselves or by another package of this
// module.
func TestRoomsKnowTheirPlace(t *testing.T) {
	packages := map[string]*imports{}
	for _, root := range []string{"proxier", "ipset", "scheduler", "internal"} {
		readTree(t, packages, root)
	}
	for _, room := range []struct {
		name    string
		without []string
		// doors are packages that the room may use for what stands behind them, which is not looked at.
		doors []string
	}{
		{"proxier/internal/engine", []string{
			"log", "os", "net/http", "golang.org/x/sys", "github.com/prometheus", "k8s.io/client-go",
			module + "proxier/internal/observe", module + "proxier/internal/events",
			module + "proxier/internal/kernel", module + "proxier/internal/source", module + "proxier/internal/predecessor",
		}, nil},
		// What observers ask of the kernel's adapter is TestObserversDoNotWrite's.
		{"proxier/internal/observe", []string{
			module + "proxier/internal/predecessor", module + "internal/netlink", module + "internal/ipvs", "golang.org/x/sys",
		}, []string{"proxier/internal/kernel", "proxier/internal/statedir"}},
		{"proxier/internal/events", []string{
			module + "proxier/internal/kernel", module + "proxier/internal/observe", "github.com/prometheus",
		}, nil},
	} {
		if packages[room.name] == nil {
			t.Errorf("%s is not there", room.name)
			continue
		}
		for _, path := range room.without {
			if !exists(t, packages, path) {
				t.Errorf("the rule of %s names %s, which is not there: it could never fail", room.name, path)
			}
		}
		for _, door := range room.doors {
			if !slices.Contains(packages[room.name].ours, door) {
				t.Errorf("%s does not use %s any more: the rule needs no exception", room.name, door)
			}
		}
		for path, way := range packages[room.name].reachable(packages, room.doors) {
			if below(room.without, path) {
				t.Errorf("%s imports %s%s", room.name, way, path)
			}
		}
	}
	for _, path := range slices.Concat(doing, calculating) {
		if !exists(t, packages, path) {
			t.Errorf("the list of packages that reach the world names %s, which is not there", path)
		}
	}
}

// exists reports whether there is such a package, or one below it: of this module, of Go, or of a module that go.mod
// has.
func exists(t *testing.T, packages map[string]*imports, path string) bool {
	t.Helper()
	if ours, is := strings.CutPrefix(path, module); is {
		return packages[ours] != nil
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		// A test that was built with -trimpath does not know where Go is.
		return exec.Command("go", "list", "-find", path).Run() == nil
	}
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(strings.Fields(string(text)), func(word string) bool { return below([]string{path}, word) })
}

func TestExists(t *testing.T) {
	packages := map[string]*imports{"ipset": {}}
	for path, want := range map[string]bool{
		module + "ipset": true, module + "ipset/netlink": false, "net/http": true, "net/htp": false, "golang.org/x/sys": true,
		"github.com/prometheus": true, "github.com/prometheu": false,
	} {
		if exists(t, packages, path) != want {
			t.Errorf("%s: %v, want %v", path, !want, want)
		}
	}
}

// TestObserversDoNotWrite: what package observe calls of the kernel's adapter reads two things, the table of
// connections and the counters of virtual servers, and no observer has a [dataplane.Kernel].
func TestObserversDoNotWrite(t *testing.T) {
	reads := []string{
		"ReadConnectionTable", "ConnectionTable", "ConnectionMax", "ConnectionTabBits", "Traffic", "ServiceTraffic",
		"ReadServiceTraffic",
	}
	for _, dir := range []string{"internal/observe", "internal/events"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				if s, is := n.(*ast.SelectorExpr); is {
					of, _ := s.X.(*ast.Ident)
					switch {
					case of == nil:
					case of.Name == "kernel" && !slices.Contains(reads, s.Sel.Name), of.Name == "dataplane" && s.Sel.Name == "Kernel":
						t.Errorf("%s uses %s.%s", file, of.Name, s.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

func readTree(t *testing.T, packages map[string]*imports, root string) {
	t.Helper()
	// Packages whose names end in test are for tests.
	err := filepath.WalkDir(filepath.Join("..", root), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() != "testdata" && !strings.HasSuffix(path, "test") {
			err = readImports(packages, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// imports are what a package's files name, but for its tests.
type imports struct {
	// all are paths, ours those of this module, without its name.
	all, ours []string
	// reaches is what the package itself reaches of the world; empty where it decides only.
	reaches string
}

func readImports(packages map[string]*imports, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	name := filepath.ToSlash(strings.TrimPrefix(dir, ".."+string(filepath.Separator)))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		// Files of other build tags count as well: what is pure is so everywhere.
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			return err
		}
		if packages[name] == nil {
			packages[name] = &imports{}
		}
		if err := packages[name].add(parsed); err != nil {
			return err
		}
	}
	return nil
}

func (i *imports) add(file *ast.File) error {
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		i.all = append(i.all, path)
		if ours, is := strings.CutPrefix(path, module); is {
			i.ours = append(i.ours, ours)
		} else if !slices.Contains(calculating, path) && below(doing, path) {
			i.reaches = path
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if call, is := n.(*ast.SelectorExpr); is {
			if of, is := call.X.(*ast.Ident); is && of.Name == "time" && slices.Contains(clock, call.Sel.Name) {
				i.reaches = "time." + call.Sel.Name
			}
		}
		return true
	})
	return nil
}

func below(paths []string, path string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

// doing returns the way by which a package reaches the world; empty where it does not.
func (i *imports) doing(packages map[string]*imports) string {
	if i.reaches != "" {
		return i.reaches
	}
	for _, name := range i.ours {
		if other := packages[name]; other != nil {
			if way := other.doing(packages); way != "" {
				return name + ", which reaches " + way
			}
		}
	}
	return ""
}

// reachable returns all that a package imports, by itself or by another one of this module, each with the way there,
// such as "A, which imports ". What stands behind doors is left out.
func (i *imports) reachable(packages map[string]*imports, doors []string) map[string]string {
	paths := map[string]string{}
	var walk func(i *imports, way string)
	walk = func(i *imports, way string) {
		for _, path := range i.all {
			if _, known := paths[path]; known {
				continue
			}
			paths[path] = way
			name, ours := strings.CutPrefix(path, module)
			if ours && packages[name] != nil && !slices.Contains(doors, name) {
				walk(packages[name], way+name+", which imports ")
			}
		}
	}
	walk(i, "")
	return paths
}
