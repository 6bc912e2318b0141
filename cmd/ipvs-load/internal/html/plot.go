package html

import (
	"strconv"
	"strings"
)

// plot is a drawing in its own pixels. There are two of each, because text that shrinks with the screen cannot be read:
// a style sheet shows the one that fits.
type plot struct {
	Class         string // wide or narrow
	Label         string // what it shows, for screen readers
	Width, Height px
	Shapes        []shape
}

// Widths of the two plots, in pixels of style sheets.
const (
	wide   = 860
	narrow = 358
)

// newPlot's height is set when it is known.
func newPlot(width px, label string) *plot {
	p := &plot{Class: "wide", Label: label, Width: width}
	if width == narrow {
		p.Class = "narrow"
	}
	return p
}

// both draws the same plot for each width.
func both(draw func(width px) *plot) []*plot { return []*plot{draw(wide), draw(narrow)} }

// px is a length. It is written with one digit after the point, which is all that a screen shows.
type px float64

func (p px) String() string {
	return strings.TrimSuffix(strconv.FormatFloat(float64(p), 'f', 1, 64), ".0")
}

// shape is one element of a plot: a path, a rect, a circle or a text, by Kind.
type shape struct {
	Kind, Class         string
	X, Y, Width, Height px // of a circle, Width is the radius
	Path                string
	Text                string
	Title               string // shown while the pointer rests on it
}

func (p *plot) add(s shape) { p.Shapes = append(p.Shapes, s) }

func (p *plot) line(class string, x1, y1, x2, y2 px) {
	var l line
	l.move(x1, y1)
	l.to(x2, y2)
	p.path(class, &l)
}

func (p *plot) path(class string, l *line) {
	if l.b.Len() > 0 {
		p.add(shape{Kind: "path", Class: class, Path: l.b.String()})
	}
}

func (p *plot) rect(class string, x, y, width, height px, title string) {
	p.add(shape{Kind: "rect", Class: class, X: x, Y: y, Width: width, Height: max(height, 0), Title: title})
}

func (p *plot) dot(class string, x, y px, title string) {
	p.add(shape{Kind: "circle", Class: class, X: x, Y: y, Width: 3.5, Title: title})
}

// text's class says how it is aligned: end, middle, or nothing for the start.
func (p *plot) text(class string, x, y px, text string) {
	p.add(shape{Kind: "text", Class: class, X: x, Y: y, Text: text})
}

// named is a text that stands for a longer one.
func (p *plot) named(class string, x, y px, text, title string) {
	p.add(shape{Kind: "text", Class: class, X: x, Y: y, Text: text, Title: title})
}

// line builds a path.
type line struct{ b strings.Builder }

func (l *line) move(x, y px) { l.point('M', x, y) }
func (l *line) to(x, y px)   { l.point('L', x, y) }

func (l *line) point(command byte, x, y px) {
	l.b.WriteByte(command)
	l.b.WriteString(x.String())
	l.b.WriteByte(' ')
	l.b.WriteString(y.String())
}

// area is the part of a plot between the axes.
type area struct{ left, top, right, bottom px }

// grid draws the lines of the horizontal axis.
func (p *plot) grid(a area, s scale, ticks []tick) {
	for _, t := range ticks {
		x := px(s.at(t.value))
		p.line("grid", x, a.top, x, a.bottom)
	}
}

// labelsBelow writes the labels of the horizontal axis. Those that would touch the one before are left out, and none
// reaches over the edge of the plot.
func (p *plot) labelsBelow(a area, s scale, ticks []tick) {
	end := px(-1000)
	for _, t := range ticks {
		x := px(s.at(t.value))
		half := textWidth(t.label) / 2
		middle := min(x, p.Width-half)
		if middle-half < end+6 {
			continue
		}
		end = middle + half
		p.text("tick middle", middle, a.bottom+16, t.label)
	}
}

func (p *plot) axisBelow(a area, s scale, ticks []tick) {
	p.grid(a, s, ticks)
	p.labelsBelow(a, s, ticks)
}

func (p *plot) axisLeft(a area, s scale, ticks []tick) {
	for _, t := range ticks {
		y := px(s.at(t.value))
		p.line("grid", a.left, y, a.right, y)
		p.text("tick end", a.left-7, y+4, t.label)
	}
}

// letter is how wide a letter of 12 pixels is at most, on average, in the fonts that machines have.
const letter px = 7.2

func textWidth(s string) px { return px(len([]rune(s))) * letter }
