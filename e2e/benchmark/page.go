package benchmark

import (
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/figures"
	"github.com/ipvs-proxier/ipvs-proxier/internal/marks"
)

// Page is everything that was measured in one guest.
type Page struct {
	Kernel     string `json:"kernel"`
	Guest      string `json:"guest"`
	Processors int    `json:"processors"`
	Endpoints  int    `json:"endpoints_each"`
	Command    string `json:"command"`
	Runs       []Run  `json:"runs"`
}

// Join adds what another command has measured in a guest of the same kind. Its rounds follow those that there are of
// the same proxy and cluster.
func (p *Page) Join(next Page) error {
	if p.Kernel != next.Kernel || p.Guest != next.Guest || p.Processors != next.Processors ||
		p.Endpoints != next.Endpoints {
		return fmt.Errorf("measured in another guest: %s, %d processors, %d endpoints each; the one before: %s, %d processors, %d endpoints each",
			next.Kernel, next.Processors, next.Endpoints, p.Kernel, p.Processors, p.Endpoints)
	}
	rounds := map[string]int{}
	key := func(r *Run) string { return fmt.Sprint(r.Name(), r.Services, r.Calls == nil) }
	for i := range p.Runs {
		rounds[key(&p.Runs[i])]++
	}
	for _, r := range next.Runs {
		r.Round += rounds[key(&r)]
		p.Runs = append(p.Runs, r)
	}
	if p.Command != next.Command {
		p.Command += "`, `" + next.Command
	}
	return nil
}

// Kind is the kind of guest, in one word: uml, qemu, or own, for a machine's own kernel.
func (p *Page) Kind() string {
	switch {
	case strings.HasPrefix(p.Guest, "User-Mode Linux"):
		return "uml"
	case strings.HasPrefix(p.Guest, "QEMU"):
		return "qemu"
	}
	return "own"
}

func (p *Page) machine() string {
	kind := map[string]string{
		"uml": "User-Mode Linux", "qemu": "QEMU without KVM", "own": "the machine's own kernel",
	}[p.Kind()]
	processors := "one processor"
	if p.Processors != 1 {
		processors = fmt.Sprint(p.Processors, " processors")
	}
	return fmt.Sprintf("%s (%s, %s)", p.Kernel, kind, processors)
}

// Markdown is the page's text; plots says where its plots lie, or is empty when there are none.
func (p *Page) Markdown(plots string) string {
	var b strings.Builder
	all := rows(p.Runs)
	measured := fmt.Sprintf("Measured on %s by `%s`. Services have %d endpoints each", p.machine(), p.Command, p.Endpoints)
	if n := p.rounds(); n > 1 {
		measured += fmt.Sprintf("; up to %d rounds, in which the proxies take turns: the median, and the least and the most "+
			"in brackets", n)
	} else {
		measured += "; single runs"
	}
	b.WriteString(marks.Wrap(measured+".", "") + "\n\n### First programming\n\n")
	table(&b, all, firstColumns)
	p.picture(&b, plots, "first")
	b.WriteString("### One endpoint is exchanged\n\n")
	table(&b, all, changeColumns)
	p.picture(&b, plots, "change")
	b.WriteString("### Nothing to do\n\n")
	table(&b, all, restColumns)
	b.WriteString("### The floor\n\n")
	table(&b, all, floorColumns)
	p.picture(&b, plots, "floor")
	if tellsCalls(all) {
		b.WriteString("### System calls\n\n")
		table(&b, all, callColumns)
	}
	b.WriteString("### What is reached\n\n")
	reached(&b, all, p)
	p.worse(&b, all)
	p.failures(&b)
	return b.String()
}

func (p *Page) rounds() (n int) {
	for _, r := range p.Runs {
		n = max(n, r.Round+1)
	}
	return n
}

func tellsCalls(all []*row) bool {
	for _, r := range all {
		for _, x := range r.runs {
			if x.Calls != nil {
				return true
			}
		}
	}
	return false
}

// worse lists in which figures a peer does better than ours on the same cluster.
func (p *Page) worse(b *strings.Builder, all []*row) {
	var lines []string
	for _, ours := range all {
		if ours.name != Ours {
			continue
		}
		for _, theirs := range all {
			if theirs.services != ours.services || theirs.proxy == Ours {
				continue
			}
			for _, f := range []struct {
				name  string
				of    figure
				write func(float64) string
			}{
				{"last real server", lastServer, duration}, {"everything in place", complete, duration}, {"own CPU of the first programming", part(first, own), duration},
				{"children's CPU of the first programming", part(first, children), duration}, {"processes started", part(first, processes), figures.Thousands},
				{"netlink requests of the first programming", part(first, requests), figures.Thousands},
				{"peak memory", peakRSS, func(v float64) string { return fmt.Sprintf("%.0f MiB", v) }},
				{"p50 of a change", changeP50, milliseconds}, {"p99 of a change", changeP99, milliseconds}, {"own CPU of a change", changeCPU, milliseconds},
				{"writes of a change", changeWrites, func(v float64) string { return fmt.Sprintf("%.1f", v) }},
				{"own CPU a minute while nothing changes", perMinute(own), duration}, {"start again", part(restart, took), duration}, {"writes of a start again", part(restart, writes), figures.Thousands},
			} {
				a, told1 := ours.median(f.of)
				c, told2 := theirs.median(f.of)
				if told1 && told2 && a > c && f.write(a) != f.write(c) {
					lines = append(lines, fmt.Sprintf("- %s Services, %s: %s %s, ipvs-proxier %s",
						figures.Thousands(float64(ours.services)), f.name, theirs.name, f.write(c), f.write(a)))
				}
			}
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "### Where a peer does better\n\n%s\n\n", strings.Join(lines, "\n"))
	}
}

func (p *Page) failures(b *strings.Builder) {
	var lines []string
	for _, r := range p.Runs {
		if r.Failure != "" {
			lines = append(lines, fmt.Sprintf("- %s, %s Services: %s",
				r.Name(), figures.Thousands(float64(r.Services)), shortened(r.Failure)))
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "### Not measured\n\n%s\n\n", strings.Join(lines, "\n"))
	}
}

func (p *Page) picture(b *strings.Builder, dir, name string) {
	if _, drawn := p.Plots()[name]; drawn && dir != "" {
		fmt.Fprintf(b, "![](%s/%s-%s.svg)\n\n", dir, p.Kind(), name)
	}
}

// shortened keeps the beginning of a failure, which says what failed, and the end, which says why.
func shortened(text string) string {
	const each = 250
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > 2*each {
		return string(runes[:each]) + " … " + string(runes[len(runes)-each:])
	}
	return text
}
