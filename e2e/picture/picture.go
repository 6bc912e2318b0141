// Package picture draws the results of measurements as SVG, in colours that can be read on a light page and on a dark
// one.
package picture

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

const (
	width  = 760
	left   = 190 // of the names
	right  = 130 // of the values
	row    = 26
	head   = 52
	height = 260 // of the field of a chart of lines
)

// colours differ also for people who do not distinguish red and green.
var colours = []string{"#4477aa", "#ee8833", "#228855", "#aa3377"}

// Bar is one line of a chart: parts of it have the colours of the legend in turn.
type Bar struct {
	Name  string
	Parts []float64
	Value string // what is written behind it
}

// Bars draws horizontal bars on one scale that ends at full.
func Bars(title string, legend []string, full float64, bars []Bar) string {
	p := begin(title, head+row*len(bars)+14)
	p.legend(legend)
	for i, b := range bars {
		y := head + row*i
		p.text(left-8, y+17, "end", b.Name)
		x := float64(left)
		for j, part := range b.Parts {
			w := part / full * (width - left - right)
			fmt.Fprintf(&p.b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", x, y+4, max(w, 0), row-8,
				colours[j%len(colours)])
			x += w
		}
		p.text(width-right+8, y+17, "start", b.Value)
	}
	return p.end()
}

// Line is a course: a value at each step.
type Line struct {
	Name   string
	Values []float64
}

// Lines draws courses over the same steps, on a scale from 0 to full; unit is written behind the numbers of the scale,
// and below the steps.
func Lines(title, unit, steps string, full float64, lines []Line) string {
	p := begin(title, head+height+50)
	var names []string
	n := 0
	for _, l := range lines {
		names = append(names, l.Name)
		n = max(n, len(l.Values))
	}
	p.legend(names)
	const from, to = 60, width - 20
	at := func(step int) float64 { return from + float64(step)*(to-from)/math.Max(float64(n-1), 1) }
	for i := range 6 {
		y := head + height - height*i/5
		fmt.Fprintf(&p.b, `<path d="M%d %d H%d" stroke="#888" stroke-opacity=".3"/>`+"\n", from, y, to)
		p.text(from-6, y+4, "end", fmt.Sprintf("%.0f%s", full*float64(i)/5, unit))
	}
	for i := range n {
		if n <= 20 || i%5 == 0 {
			p.text(int(at(i)), head+height+18, "middle", fmt.Sprint(i+1))
		}
	}
	p.text((from+to)/2, head+height+40, "middle", steps)
	for i, l := range lines {
		var d strings.Builder
		for j, v := range l.Values {
			fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(j, 1)], at(j), head+height-height*math.Min(v/full, 1))
		}
		fmt.Fprintf(&p.b, `<path d="%s" fill="none" stroke="%s" stroke-width="2.5"/>`+"\n", d.String(),
			colours[i%len(colours)])
	}
	return p.end()
}

type drawing struct{ b strings.Builder }

func begin(title string, height int) *drawing {
	p := &drawing{}
	fmt.Fprintf(&p.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" role="img">`+"\n", width, height)
	fmt.Fprintf(&p.b, "<title>%s</title>\n", escape(title))
	fmt.Fprintf(&p.b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	p.text(14, 18, "start", title)
	return p
}

func (p *drawing) legend(names []string) {
	x := 14
	for i, name := range names {
		fmt.Fprintf(&p.b, `<rect x="%d" y="28" width="12" height="12" fill="%s"/>`+"\n", x, colours[i%len(colours)])
		p.text(x+17, 39, "start", name)
		x += 40 + 8*len([]rune(name))
	}
}

func (p *drawing) text(x, y int, anchor, text string) {
	fmt.Fprintf(&p.b, `<text x="%d" y="%d" text-anchor="%s" fill="#222">%s</text>`+"\n", x, y, anchor, escape(text))
}

func (p *drawing) end() string { return p.b.String() + "</svg>\n" }

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
