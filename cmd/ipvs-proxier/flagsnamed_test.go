package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// flagNamed is a flag as a text names it.
var flagNamed = regexp.MustCompile(`(?:^|[^-\w])--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)`)

// ofOthers are flags of other programs that texts name: of iptables, kubectl, the API server and kube-router. In the
// folders othersWords all are such: words of iptables and of kube-router, and of apt.
var (
	ofOthers = []string{
		"as", "comment", "dport", "noflush", "run-router", "service-node-port-range", "set", "set-xmark", "vdir", "vmethod",
	}
	othersWords = []string{"../../proxier/internal/iptables", "internal/convert", "../../internal/debian"}
)

// TestFlagsNamedAreThere: each flag that a message or a help text names is one of the table or of a command. No message
// may name a flag that is gone.
func TestFlagsNamedAreThere(t *testing.T) {
	known := map[string]bool{"help": true, "version": true}
	for _, o := range proxier.Options() {
		for _, name := range o.Flags {
			known[name] = true
		}
	}
	var note func(c *cobra.Command)
	note = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		for _, sub := range c.Commands() {
			note(sub)
		}
	}
	note(rootCommand())
	named := 0
	for _, root := range []string{"../../proxier", "../../ipset", "../../scheduler", "../../internal", "."} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			others := strings.HasSuffix(path, "_test.go") || slices.Contains(othersWords, filepath.Dir(path))
			if err != nil || !strings.HasSuffix(path, ".go") || others {
				return err
			}
			files := token.NewFileSet()
			parsed, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				literal, is := n.(*ast.BasicLit)
				if !is || literal.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Errorf("%s: %v", files.Position(literal.Pos()), err)
				}
				for _, found := range flagNamed.FindAllStringSubmatch(text, -1) {
					if named++; !known[found[1]] && !slices.Contains(ofOthers, found[1]) {
						t.Errorf("%s names --%s, which no command has", files.Position(literal.Pos()), found[1])
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if named < 50 {
		t.Errorf("%d flags are named in texts: they were not looked at", named)
	}
}
