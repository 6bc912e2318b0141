package proxier

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// ownCommands start programs by themselves, each for a reason.
var ownCommands = []string{
	"cmd/ipvs-load/internal/churn/churn.go",     // the user's own command, which ends with the load; it has a WaitDelay
	"cmd/ipvs-load/internal/control/process.go", // the proxy under measure, which lives as long as the measurement
	"internal/command/command.go",               // is what all others use
}

// TestEveryCommandHasATimeout: programs are started by internal/command, which gives up on them. Tests are free.
func TestEveryCommandHasATimeout(t *testing.T) {
	seen, by := 0, map[string]bool{}
	eachGoFile(t, func(name string, text []byte) {
		if strings.HasSuffix(name, "_test.go") ||
			strings.HasPrefix(name, "internal/debian/") { // fetches packages for the lab, and is in no program
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		ast.Inspect(file, func(n ast.Node) bool {
			if selected, is := n.(*ast.SelectorExpr); is && startsPrograms(selected) {
				by[name] = true
			}
			return true
		})
	}, "proxier", "ipset", "cmd", "scheduler", "internal")
	if seen < 200 || !by["internal/command/command.go"] {
		t.Fatalf("%d files read, of which %v start programs", seen, by)
	}
	for name := range by {
		if !slices.Contains(ownCommands, name) {
			t.Errorf("%s starts a program by itself: use command.Run, which gives up on one that hangs", name)
		}
	}
	for _, name := range ownCommands {
		if !by[name] {
			t.Errorf("%s is an exception, and starts no program", name)
		}
	}
}

// startsPrograms reports whether it is one of the ways to start a program.
func startsPrograms(s *ast.SelectorExpr) bool {
	of, is := s.X.(*ast.Ident)
	return is &&
		(of.Name == "exec" && (s.Sel.Name == "Command" || s.Sel.Name == "CommandContext" || s.Sel.Name == "Cmd") ||
			of.Name == "os" && s.Sel.Name == "StartProcess" || of.Name == "syscall" && s.Sel.Name == "ForkExec")
}
