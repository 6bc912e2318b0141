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

// console passes on, line by line, what the command prints: the lines between the two by which the guest's init announces
// and ends it. What the guest prints before and after is held back and shown when things go wrong.
type console struct {
	out     io.Writer
	ready   chan struct{} // closed when the command starts
	held    bytes.Buffer
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

// flush ends an unfinished line: the guest is gone. It returns what was held back.
func (c *console) flush() []byte {
	if len(c.partial) > 0 {
		c.line(string(c.partial))
		c.partial = nil
	}
	return c.held.Bytes()
}

func (c *console) line(text string) {
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
	default:
		fmt.Fprintln(&c.held, text)
	}
}
