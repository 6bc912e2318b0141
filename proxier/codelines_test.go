package proxier

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestLinesOfCodeAreShort: a line of code keeps to 120 characters. A message stays whole, so that a search for it finds
// it; a row of a table stays one line. Tests are free: they hold tables for the most part.
func TestLinesOfCodeAreShort(t *testing.T) {
	files := 0
	eachGoFile(t, func(name string, text []byte) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		files++
		long, err := longCode(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range long {
			t.Errorf("%s:%d is code of more than 120 characters", name, line)
		}
	}, ".")
	if files < 300 {
		t.Errorf("%d files read", files)
	}
}

var quoted = regexp.MustCompile("`[^`]*`|\"(?:[^\"\\\\]|\\\\.)*\"")

// longCode returns the lines of a Go file that are code and have more than 120 characters. Free are comments, which
// have a test of their own, strings of several lines, rows of tables, and a message with at most 40 characters beside
// it.
func longCode(text []byte) (long []int, err error) {
	if bytes.HasPrefix(text, []byte("// Code generated")) {
		return nil, nil
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", text, 0)
	if err != nil {
		return nil, err
	}
	line := func(p token.Pos) int { return set.Position(p).Line }
	free := map[int]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			for i := line(n.Pos()); line(n.Pos()) < line(n.End()) && i <= line(n.End()); i++ {
				free[i] = true
			}
		case *ast.CompositeLit:
			if rows := tableRows(n, line); len(rows) >= 3 {
				for _, row := range rows {
					free[row] = true
				}
			}
		}
		return true
	})
	for i, l := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(l)
		if utf8.RuneCountInString(l) <= 120 || free[i+1] || strings.HasPrefix(trimmed, "//") {
			continue
		}
		message := 0
		for _, q := range quoted.FindAllString(l, -1) {
			message = max(message, utf8.RuneCountInString(q))
		}
		if message <= 60 || utf8.RuneCountInString(trimmed)-message > 40 {
			long = append(long, i+1)
		}
	}
	return long, nil
}

// tableRows are the lines of the elements of a literal that are literals themselves and stand on a line of their own.
func tableRows(c *ast.CompositeLit, line func(token.Pos) int) (rows []int) {
	for _, e := range c.Elts {
		value := e
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			value = pair.Value
		}
		_, literal := value.(*ast.CompositeLit)
		if first := line(e.Pos()); literal && first == line(e.End()) && first != line(c.Lbrace) {
			rows = append(rows, first)
		}
	}
	return rows
}

func TestLongCode(t *testing.T) {
	x, args := strings.Repeat("x", 130), strings.Repeat("argument, ", 12)
	text := "package a\nfunc b() {\n\tc(" + args + "d)\n\tc(\"" + x + "\", d)\n\tc(\"" + x + "\", " + args + "d)\n}\n// " + x + "\n" +
		"var e = `\n" + x + "\n`\nvar f = []g{\n\t{" + args + "},\n\t{" + args + "},\n\t{" + args + "},\n}\nvar h = []g{\n\t{" + args + "},\n}\n"
	if got, err := longCode([]byte(text)); err != nil || !slices.Equal(got, []int{3, 5, 17}) {
		t.Errorf("lines %v, %v; want 3, 5 and 17", got, err)
	}
}
