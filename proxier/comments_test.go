package proxier

import (
	"bytes"
	"go/scanner"
	"go/token"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestLinesOfCommentsAreShort: a line with a comment keeps to 120 characters, as the pages do.
func TestLinesOfCommentsAreShort(t *testing.T) {
	files := eachGoFile(t, func(name string, text []byte) {
		for _, line := range longLines(text) {
			t.Errorf("%s:%d has more than 120 characters", name, line)
		}
	}, ".")
	if files < 300 {
		t.Errorf("%d files read", files)
	}
}

// longLines returns the lines of a Go file that are comments and have more than 120 characters. A link may be as long
// as it is, and so may an example.
func longLines(text []byte) (long []int) {
	file := token.NewFileSet().AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, func(token.Position, string) {}, scanner.ScanComments)
	lines := bytes.Split(text, []byte("\n"))
	for {
		at, kind, literal := s.Scan()
		if kind == token.EOF {
			return long
		}
		if kind != token.COMMENT {
			continue
		}
		first := file.Line(at)
		for i := range strings.Count(literal, "\n") + 1 {
			line := bytes.TrimSpace(lines[first-1+i])
			free := bytes.Contains(line, []byte("://")) || bytes.HasPrefix(line, []byte("//go:")) ||
				bytes.HasPrefix(line, []byte("//\t"))
			if !free && utf8.RuneCount(lines[first-1+i]) > 120 {
				long = append(long, first+i)
			}
		}
	}
}

func TestLongLines(t *testing.T) {
	x := strings.Repeat("x", 130)
	text := "package a\n// " + x + "\nvar a = 1 // " + x + "\nvar b = `\n// " + x + "\n`\n/* a\n" + x +
		"*/\n//\texample " + x + "\n// https://" + x + "\n//go:generate " + x + "\n"
	if got := longLines([]byte(text)); !slices.Equal(got, []int{2, 3, 8}) {
		t.Errorf("lines %v, want 2, 3 and 8", got)
	}
}
