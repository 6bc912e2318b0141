package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// screen is what a text is written for.
type screen struct {
	io.Writer
	// width is how many letters fit in a line.
	width int
	// colours says whether it shows them.
	colours bool
}

// plainWidth is the width where nobody says how wide a screen is: that of a pipe, and of `kubectl exec` without -t.
const plainWidth = 80

// screenOf returns what is known of w. A terminal says how wide it is; one narrower than 80 is taken for that wide. It
// has colours, unless the environment has NO_COLOR (https://no-color.org) or says that it is a dumb one.
func screenOf(w io.Writer) screen {
	s := screen{Writer: w, width: plainWidth}
	file, is := w.(*os.File)
	if !is {
		return s
	}
	if _, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS); err != nil {
		return s
	}
	s.colours = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil {
		s.width = max(s.width, int(size.Col))
	}
	return s
}

// colour is the foreground of a text (ECMA-48, SGR); the zero colour is none.
type colour int

const (
	red    colour = 31
	green  colour = 32
	yellow colour = 33
)

// paint returns the text in the colour, as far as the screen has any.
func (s screen) paint(c colour, text string) string {
	if !s.colours || c == 0 || text == "" {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, text)
}

// say writes a paragraph, broken between words where it is too long. The lines after the first begin with indent.
func (s screen) say(c colour, indent, text string) {
	for _, line := range wrap(proxier.Printable(text), s.width, indent) {
		fmt.Fprintln(s, s.paint(c, line))
	}
}

// wrap breaks a text between words into lines of at most width letters. The lines after the first begin with indent. A
// word that is longer has a line of its own.
func wrap(text string, width int, indent string) (lines []string) {
	line := ""
	start := text[:len(text)-len(strings.TrimLeft(text, " "))]
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line = start + word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines = append(lines, line)
			line = indent + word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// grid is a table whose lines keep to the width of a screen.
type grid struct {
	rows []row
}

// row is one line, with what else is to be said of it in lines below.
type row struct {
	cells []string
	// span says that the first cell may reach over the cells behind it, up to the last one, as far as they are empty.
	span bool
	// state is the last cell, in its colour; detail is what it means, behind it where that fits, else below.
	state  string
	colour colour
	detail string
	notes  []string
}

func (g *grid) add(r row) {
	for i := range r.cells {
		r.cells[i] = proxier.Printable(r.cells[i])
	}
	r.state, r.detail = proxier.Printable(r.state), proxier.Printable(r.detail)
	g.rows = append(g.rows, r)
}

const (
	gap       = 2
	noteStart = "      "
)

// write writes the rows. Where they are too wide for the screen, the first cell of each has a line of its own.
func (g *grid) write(s screen) {
	widths, _ := g.widths()
	broken := !g.fits(s) && len(widths) > 1
	for _, r := range g.rows {
		g.writeRow(s, r, widths, broken)
	}
}

// fits reports whether the columns fit beside one another.
func (g *grid) fits(s screen) bool {
	widths, total := g.widths()
	for _, w := range widths {
		total += w + gap
	}
	return total <= s.width
}

// widths returns those of the columns, and of the states.
func (g *grid) widths() (widths []int, state int) {
	for _, r := range g.rows {
		state = max(state, utf8.RuneCountInString(r.state))
		for i, cell := range r.cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if !r.span {
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
	}
	// A first cell that spans columns may be the widest: it uses the space of the cells that its row does not have.
	for _, r := range g.rows {
		if !r.span {
			continue
		}
		room := 0
		for _, w := range widths {
			room += w + gap
		}
		if lack := utf8.RuneCountInString(r.cells[0]) + gap - room; lack > 0 && room+lack+state <= plainWidth {
			widths[0] += lack
		}
	}
	return widths, state
}

func (g *grid) writeRow(s screen, r row, widths []int, broken bool) {
	line := strings.Builder{}
	at := 0
	pad := func(to int) {
		if at < to {
			line.WriteString(strings.Repeat(" ", to-at))
			at = to
		}
	}
	put := func(text string) {
		line.WriteString(text)
		at += utf8.RuneCountInString(text)
	}
	column := 0
	for i, cell := range r.cells {
		if i > 0 {
			if cell != "" && at > 0 && at > column-gap {
				line.WriteByte('\n')
				at = 0
			}
			if cell != "" {
				pad(column)
			}
		}
		put(cell)
		if broken && i == 0 && !r.span {
			line.WriteByte('\n')
			at, column = 0, len(noteStart)
			continue
		}
		if i < len(widths) {
			column += widths[i] + gap
		}
	}
	if r.span && broken {
		column = at + gap
	}
	detail := r.detail
	if r.state != "" {
		if at > 0 && at > column-gap {
			line.WriteByte('\n')
			at = 0
		}
		pad(column)
		text := r.state
		if detail != "" && column+utf8.RuneCountInString(text+": "+detail) <= s.width {
			text, detail = text+": "+detail, ""
		}
		line.WriteString(s.paint(r.colour, text))
	}
	fmt.Fprintln(s, strings.TrimRight(line.String(), " "))
	if detail != "" {
		s.say(r.colour, noteStart+"  ", noteStart+r.state+": "+detail)
	}
	for _, note := range r.notes {
		s.say(0, noteStart+"  ", noteStart+note)
	}
}

// sayLines says a text of several lines, each as a paragraph.
func (s screen) sayLines(c colour, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		s.say(c, "  ", line)
	}
}
