package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// plain is the screen that a pipe is.
func plain(w io.Writer) screen { return screen{Writer: w, width: plainWidth} }

// TestOnlyTerminalsHaveColours: a pipe and a file have none, and 80 columns.
func TestOnlyTerminalsHaveColours(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range []io.Writer{file, new(bytes.Buffer)} {
		if s := screenOf(w); s.colours || s.width != plainWidth {
			t.Errorf("%T is taken for a screen of %d columns, colours %v", w, s.width, s.colours)
		}
	}
	if got := (screen{}).paint(red, "x"); got != "x" {
		t.Errorf("painted where there are no colours: %q", got)
	}
	if got := (screen{colours: true}).paint(red, "x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("%q is not red", got)
	}
}

// TestWrapKeepsEveryWord: lines are as long as they may be, and hold all words in their order.
func TestWrapKeepsEveryWord(t *testing.T) {
	text := "  a sentence with aVeryLongWordThatHasNoPlaceAnywhere and an ümläut at the end of it"
	for width := 1; width < 100; width++ {
		lines := wrap(text, width, "    ")
		if got, want := strings.Join(strings.Fields(strings.Join(lines, " ")), " "), strings.TrimSpace(text); got != want {
			t.Fatalf("at %d the words are %q", width, got)
		}
		for i, line := range lines {
			if utf8.RuneCountInString(line) > width && len(strings.Fields(line)) > 1 {
				t.Errorf("at %d the line %q is too long", width, line)
			}
			if i > 0 && !strings.HasPrefix(line, "    ") || i == 0 && !strings.HasPrefix(line, "  a") {
				t.Errorf("at %d the line %q has not its indent", width, line)
			}
		}
	}
}

// TestGridKeepsToTheWidth: no line is wider than the screen, whatever stands in it, unless one cell alone is; all cells
// are there.
func TestGridKeepsToTheWidth(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, rows := range map[string][]row{
		"short":         {{cells: []string{"a", "1", "2"}, state: "ok"}},
		"a long first":  {{cells: []string{long(70), "12345678", "2"}, state: "DIFFERS", detail: "weight 3, want 1"}},
		"a long detail": {{cells: []string{"a", "1", "2"}, state: "DIFFERS", detail: strings.Repeat("word ", 40) + "end"}},
		"notes":         {{cells: []string{"a", "1", "2"}, state: "ok", notes: []string{strings.Repeat("note ", 40) + "end"}}},
		"a span":        {{cells: []string{long(60), "", ""}, span: true, state: "NOT PROGRAMMED"}, {cells: []string{"b", "1", "2"}, state: "ok"}},
		"a long span":   {{cells: []string{long(75), "", ""}, span: true, state: "MISSING"}, {cells: []string{"b", "1", "2"}, state: "ok"}},
		"long everything": {{cells: []string{long(45), long(30), "3"}, state: "ok"},
			{cells: []string{long(20), "", "4"}, state: "MISSING", detail: "want weight 1"},
			{cells: []string{long(50), "", ""}, span: true, state: "ok"}},
	} {
		g := &grid{}
		want := ""
		for _, r := range rows {
			for _, cell := range append(append([]string{}, r.cells...), r.state, r.detail, strings.Join(r.notes, " ")) {
				want += cell
			}
			g.add(r)
		}
		var out bytes.Buffer
		g.write(plain(&out))
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > plainWidth {
				t.Errorf("%s: a line of %d:\n%s", name, n, line)
			}
		}
		letters := func(text string) (n [128]int) {
			for _, r := range text {
				if r > ' ' && r != ':' {
					n[r]++
				}
			}
			return n
		}
		got, wanted := letters(out.String()), letters(want)
		for r := range got {
			if got[r] < wanted[r] {
				t.Errorf("%s: %d of %q, want %d:\n%s", name, got[r], rune(r), wanted[r], out.String())
			}
		}
	}
}

// TestGridPaintsStates: the state alone has its colour, and what stands behind it.
func TestGridPaintsStates(t *testing.T) {
	g := &grid{}
	g.add(row{cells: []string{"a"}, state: "MISSING", colour: red, detail: "want weight 1"})
	var out bytes.Buffer
	g.write(screen{Writer: &out, width: plainWidth, colours: true})
	if got, want := out.String(), fmt.Sprintf("a  \x1b[%dmMISSING: want weight 1\x1b[0m\n", red); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
