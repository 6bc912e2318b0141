package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// The lines that the guest's init prints before and after the command's output.
const (
	announcement = "lab: ready"
	farewell     = "lab: over"
)

// lastLines is how much of a dead guest's console is shown: a kernel's report of its end has some thirty lines.
const lastLines = 60

// console passes on, line by line, what the command prints: the lines between the two by which the guest's init
// announces and ends it. The last lines, whoever printed them, are kept and shown when the guest dies.
type console struct {
	out     io.Writer
	ready   chan struct{} // closed when the command starts
	last    []string
	partial []byte
	state   int // 0 booting, 1 the command runs, 2 over
}

func newConsole(out io.Writer) *console { return &console{out: out, ready: make(chan struct{})} }

func (c *console) Write(p []byte) (int, error) {
	c.partial = append(c.partial, p...)
	for {
		line, rest, found := bytes.Cut(c.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		c.line(strings.TrimRight(string(line), "\r"))
		c.partial = rest
	}
}

// flush ends an unfinished line: the guest is gone.
func (c *console) flush() {
	if len(c.partial) > 0 {
		c.line(string(c.partial))
		c.partial = nil
	}
}

// announced says whether the command started.
func (c *console) announced() bool { return c.state > 0 }

// writeLast writes the last lines of the console, and of the output of the program that is the machine.
func (c *console) writeLast(to io.Writer, noise string) {
	for _, part := range []struct {
		whose string
		lines []string
	}{
		{"the guest's console", c.last},
		{"the program that is the guest", strings.Split(strings.TrimRight(noise, "\n"), "\n")},
	} {
		if strings.Join(part.lines, "") == "" {
			fmt.Fprintf(to, "lab: %s said nothing\n", part.whose)
			continue
		}
		lines := part.lines[max(0, len(part.lines)-lastLines):]
		fmt.Fprintf(to, "lab: the last lines of %s:\n  %s\n", part.whose, strings.Join(lines, "\n  "))
	}
}

func (c *console) line(text string) {
	c.last = append(c.last, text)
	if len(c.last) > 2*lastLines {
		c.last = append(c.last[:0], c.last[lastLines:]...)
	}
	switch {
	case c.state == 0 && text == announcement:
		c.state = 1
		close(c.ready)
	case c.state == 1 && strings.HasSuffix(text, farewell):
		c.state = 2
		if unfinished := strings.TrimSuffix(text, farewell); unfinished != "" {
			fmt.Fprintln(c.out, unfinished)
		}
	case c.state == 1:
		fmt.Fprintln(c.out, text)
	}
}
