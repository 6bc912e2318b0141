package proxier

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReasonsAreOnThePage: each Reason is declared once, and docs/operating.md says whose it is.
func TestReasonsAreOnThePage(t *testing.T) {
	page, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `([A-Z][A-Za-z]+)` \\| (this node|all nodes) \\|")
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		listed[m[1]] = m[2]
	}
	if diff := cmp.Diff(declaredReasons(t), listed); diff != "" {
		t.Errorf("Reasons in docs/operating.md (-declared +listed):\n%s", diff)
	}
}

// declaredReasons returns the names of all Reasons, with of what they are: "this node" or "all nodes".
func declaredReasons(t *testing.T) map[string]string {
	t.Helper()
	declared := map[string]string{}
	files, err := filepath.Glob("internal/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	own, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, own...) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if name, of := declaredReason(n); name != "" {
				if _, twice := declared[name]; twice {
					t.Errorf("%s declares %s, which another place declares, too", file, name)
				}
				declared[name] = of
			}
			return true
		})
	}
	return declared
}

// declaredReason returns the name of the Reason that the expression makes, "" for another one, and of what it is.
func declaredReason(n ast.Node) (name, of string) {
	literal, is := n.(*ast.CompositeLit)
	if !is {
		return "", ""
	}
	switch typ := literal.Type.(type) {
	case *ast.Ident:
		is = typ.Name == "Reason"
	case *ast.SelectorExpr:
		is = typ.Sel.Name == "Reason"
	default:
		is = false
	}
	if !is {
		return "", ""
	}
	of = "all nodes"
	for _, element := range literal.Elts {
		field := element.(*ast.KeyValueExpr)
		switch field.Key.(*ast.Ident).Name {
		case "Name":
			name, _ = strconv.Unquote(field.Value.(*ast.BasicLit).Value)
		case "OfNode":
			of = "this node"
		}
	}
	return name, of
}
