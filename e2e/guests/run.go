package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

func boardDir(out string) string { return filepath.Join(out, "board") }

// mostIdle is how many guests may die without having begun a test. A lab that starts none would otherwise be tried for
// ever.
const mostIdle = 2

// play is a run of all tests: one goroutine owns it, and the guests send to it.
type play struct {
	config
	to      io.Writer
	board   board
	tasks   []task
	events  chan event
	guests  map[int]*guest // that live
	started int
	idle    int
	deaths  map[string]int
	results map[string]result
	before  int // how many tests had passed already
	broken  bool
	until   time.Time
}

// runAll runs all tests and says whether each of them passed.
func runAll(ctx context.Context, c config, to io.Writer) (bool, error) {
	tasks, err := listTasks(c)
	if err != nil {
		return false, err
	}
	p := &play{config: c, to: to, board: board{boardDir(c.out)}, events: make(chan event), guests: map[int]*guest{},
		deaths:  map[string]int{},
		results: map[string]result{}, until: time.Now().Add(c.timeout)}
	passed, err := passedBefore(c.results)
	if err != nil {
		return false, err
	}
	for _, t := range tasks {
		if passed[t.Name] {
			p.before++
			continue
		}
		p.tasks = append(p.tasks, t)
	}
	if len(p.tasks) == 0 {
		fmt.Fprintf(to, "all %d %s had passed already\n", len(tasks), c.what)
		return true, nil
	}
	posted, err := p.board.post(p.tasks)
	if err != nil {
		return false, err
	}
	defer posted.Close()
	defer os.RemoveAll(p.board.dir)
	for range min(c.guests, len(p.tasks)) {
		p.start(ctx)
	}
	for len(p.guests) > 0 {
		if err := p.hear(ctx, <-p.events); err != nil {
			return false, err
		}
	}
	return p.sumUp(), nil
}

func (p *play) start(ctx context.Context) {
	p.started++
	p.guests[p.started] = &guest{}
	startGuest(ctx, p.config, p.started, time.Until(p.until), p.events)
}

func (p *play) hear(ctx context.Context, e event) error {
	g := p.guests[e.guest]
	switch {
	case e.ended:
		return p.over(ctx, e, g)
	case g.current != "":
		before, v, seconds, found := ending(e.line)
		if before != "" || !found {
			g.output = append(g.output, before)
		}
		if found {
			return p.ended(e.guest, result{Test: g.current, Verdict: v, Seconds: seconds, On: g.on})
		}
		return nil
	}
	if on, found := cutPrefix(e.line, saysWhat); found {
		g.on = on
		fmt.Fprintf(p.to, "guest %d: %s\n", e.guest, on)
	} else if name, found := cutPrefix(e.line, saysBegin); found {
		g.current, g.output = name, nil
		g.took++
	} else {
		fmt.Fprintln(p.to, e.line)
	}
	return nil
}

// ended keeps the result of a test and says what the test said.
func (p *play) ended(number int, r result) error {
	g := p.guests[number]
	fmt.Fprintf(p.to, "== guest %d: %s\n", number, r.Test)
	for _, line := range g.output {
		if !startsOnly.MatchString(line) {
			fmt.Fprintln(p.to, line)
		}
	}
	if r.Verdict != pass {
		r.explain(g.output)
	}
	g.current, g.output = "", nil
	return p.keep(r)
}

func (p *play) keep(r result) error {
	r.Date = time.Now().UTC().Truncate(time.Second)
	p.results[r.Test] = r
	return appendResult(p.config.results, r)
}

// over records a guest's end. When it died, the tests that it had taken are free again, and another guest takes its
// place; a test that died twice fails. Any other end that is not a good one would only come again.
func (p *play) over(ctx context.Context, e event, g *guest) error {
	delete(p.guests, e.guest)
	if e.status == 0 {
		return nil
	}
	if dead := e.status == statusDied || e.status == -1; !dead || ctx.Err() != nil || e.err != nil {
		p.broken = true
		fmt.Fprintf(p.to, "guest %d ended with status %d%s\n", e.guest, e.status, because(e.err))
		return nil
	}
	fmt.Fprintf(p.to, "guest %d died (%s); what its console said last stands above\n", e.guest, orUnknown(g.on))
	if err := p.release(e.guest, g); err != nil {
		return err
	}
	if g.took == 0 {
		p.idle++
	}
	if p.idle > mostIdle {
		p.broken = true
		fmt.Fprintf(p.to, "%d guests died before they began a test: none is started any more\n", p.idle)
		return nil
	}
	// Guests that live may have passed by a test that is free again.
	if p.anyFree() {
		p.start(ctx)
	}
	return nil
}

// release gives back what a dead guest had taken and not ended.
func (p *play) release(number int, g *guest) error {
	for _, t := range p.tasks {
		if _, known := p.results[t.Name]; known || p.board.owner(t) != number {
			continue
		}
		if p.deaths[t.Name]++; p.deaths[t.Name] == 1 {
			fmt.Fprintf(p.to, "%s goes to another guest\n", t.Name)
			if err := p.board.giveBack(t); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(p.to, "%s: a second guest died of it, or in it\n", t.Name)
		r := result{Test: t.Name, Verdict: died, On: g.on}
		if t.Name == g.current {
			r.explain(g.output)
		}
		if err := p.keep(r); err != nil {
			return err
		}
	}
	return nil
}

func (p *play) anyFree() bool {
	for _, t := range p.tasks {
		if p.board.owner(t) == 0 {
			return true
		}
	}
	return false
}

// sumUp lists at the end of the log what failed, in short, and reports whether everything passed.
func (p *play) sumUp() bool {
	good := !p.broken
	for _, t := range p.tasks {
		r, known := p.results[t.Name]
		switch {
		case known && r.Verdict == pass:
			continue
		case !known:
			fmt.Fprintf(p.to, "FAILED: %s: no guest ended it\n", t.Name)
		case r.Verdict == died:
			fmt.Fprintf(p.to, "FAILED: %s: two guests died while they ran it\n", t.Name)
		default:
			fmt.Fprintf(p.to, "FAILED: %s\n", t.Name)
		}
		good = false
		for _, line := range r.Said {
			fmt.Fprintln(p.to, line)
		}
	}
	if good {
		fmt.Fprintf(p.to, "all %d %s passed in %d guests%s\n", len(p.tasks), p.what, p.started, p.besides())
	}
	return good
}

func (p *play) besides() string {
	text := ""
	if len(p.deaths) > 0 {
		text += fmt.Sprintf(", %d of them in a second one, because the first died", len(p.deaths))
	}
	if p.before > 0 {
		text += fmt.Sprintf("; %d had passed before", p.before)
	}
	return text
}
