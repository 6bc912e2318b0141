package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

// clientsShown bounds the client addresses in a line of text; JSON has them all.
const clientsShown = 4

// WriteText writes the report for a person.
func (p *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	p.head(&b)
	p.latencies(&b)
	p.errors(&b)
	p.endpoints(&b)
	p.self(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *Report) head(b *strings.Builder) {
	s := p.Settings
	fmt.Fprintf(b, "%s to %s, %s arrivals, %s/s", s.Mode, strings.Join(s.Targets, " "), s.Arrivals, number(s.Rate))
	if s.Count > 0 {
		fmt.Fprintf(b, ", %d requests", s.Count)
	} else {
		fmt.Fprintf(b, " for %s s", number(s.Duration))
	}
	fmt.Fprintf(b, ", timeout %s s (open loop)\n", number(s.Timeout))
	if p.Interrupted {
		fmt.Fprintf(b, "INTERRUPTED after %.1f s of the measured window; %d requests have no outcome\n", p.Rate.Window, p.Requests.Unfinished)
	}
	if p.Warmup.Requests > 0 {
		fmt.Fprintf(b, "warm-up    %d requests, %d errors, not counted below\n", p.Warmup.Requests, p.Warmup.Errors)
	}
	fmt.Fprintf(b, "requests   %d answered, %d errors (%s) of %d\n", p.Requests.Answered, p.Requests.Errors, percent(p.Requests.ErrorRatio), p.Requests.Planned)
	fmt.Fprintf(b, "rate       offered %.1f/s, achieved %.1f/s, backlog at most %d, %d at the end\n", p.Rate.Offered, p.Rate.Achieved, p.Backlog.Peak, p.Backlog.AtEnd)
}

func (p *Report) latencies(b *strings.Builder) {
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tp50\tp90\tp99\tp99.9\tmax\tmean\tcount\t")
	row := func(name string, d Percentiles) {
		if d.Count == 0 {
			return
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t\n", name,
			duration(d.P50), duration(d.P90), duration(d.P99), duration(d.P999), duration(d.Max), duration(d.Mean), d.Count)
	}
	row("latency, from intended start", p.Latency)
	if p.Requests.Errors > 0 {
		row("the same, answered only", p.AnsweredLatency)
	}
	row("service time, from actual start", p.Service)
	if p.Connect != nil {
		row("connect, SYN to SYN-ACK", *p.Connect)
	}
	row("start lag, actual - intended", p.StartLag)
	t.Flush()
}

func (p *Report) errors(b *strings.Builder) {
	if p.Requests.Errors > 0 {
		b.WriteString("\nerrors by kind\n")
		for _, k := range account.Errors() {
			n := p.Errors[k.String()]
			if n == 0 {
				continue
			}
			fmt.Fprintf(b, "  %-18s %d", k, n)
			if k == account.Timeout && p.TimeoutsConnecting > 0 {
				fmt.Fprintf(b, " (%d of them while connecting)", p.TimeoutsConnecting)
			}
			b.WriteString("\n")
			if k == account.Other {
				for _, o := range p.OtherErrors {
					fmt.Fprintf(b, "    %d x %s\n", o.Count, o.Text)
				}
			}
		}
	}
	if s := p.SynRetransmissions; s != (SynRetransmits{}) {
		fmt.Fprintf(b, "\nlost SYNs: %d connections bumped by 1 s (one retransmission), %d by 3 s or more, %d never stood\n", s.OneSecond, s.ThreeSeconds, s.Never)
	}
	if p.StrayDatagrams > 0 {
		fmt.Fprintf(b, "\n%d stray datagrams: answers that came late, twice or unasked\n", p.StrayDatagrams)
	}
}

func (p *Report) endpoints(b *strings.Builder) {
	if len(p.Endpoints) == 0 {
		b.WriteString("\nno endpoint answered\n")
		return
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "endpoint\tanswered\tshare\tclients seen")
	for _, e := range p.Endpoints {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", e.ID, e.Answered, percent(e.Share), clients(e))
	}
	t.Flush()
	if len(p.Targets) < 2 {
		return
	}
	b.WriteString("\n")
	fmt.Fprintln(t, "target\tanswered\terrors\tendpoints")
	for _, x := range p.Targets {
		var parts []string
		for _, e := range x.Endpoints {
			parts = append(parts, fmt.Sprintf("%s %s", e.ID, percent(e.Share)))
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\n", x.Target, x.Answered, x.Errors, strings.Join(parts, ", "))
	}
	t.Flush()
}

func clients(e Endpoint) string {
	var shown []string
	for i, c := range e.Clients {
		if i == clientsShown {
			more := fmt.Sprintf("and %d more", len(e.Clients)-clientsShown)
			if e.ClientsBeyond > 0 {
				more = "and many more"
			}
			shown = append(shown, more)
			break
		}
		shown = append(shown, c.Address)
	}
	return strings.Join(shown, " ")
}

func (p *Report) self(b *strings.Builder) {
	s := p.SelfCheck
	fmt.Fprintf(b, "\nself-check: jitter %s (p99 of %d wake-ups), loop p99 %s, awake %s of the time, %d workers\n",
		duration(s.Jitter), s.WakeLate.Count, duration(s.Loop.P99), percent(s.BusyRatio), p.Settings.Workers)
	if len(s.BelowJitter) > 0 {
		fmt.Fprintf(b, "below the jitter, so not to be trusted: %s\n", strings.Join(s.BelowJitter, " "))
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(b, "WARNING: %s\n", w)
	}
}

// duration shows three significant digits of microseconds in the unit that fits.
func duration(us float64) string {
	switch {
	case us < 999.5:
		return fmt.Sprintf("%.3g us", us)
	case us < 999_500:
		return fmt.Sprintf("%.3g ms", us/1e3)
	case us < 99_950_000:
		return fmt.Sprintf("%.3g s", us/1e6)
	}
	return fmt.Sprintf("%.0f s", us/1e6)
}

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

func number(v float64) string { return fmt.Sprintf("%.10g", v) }
