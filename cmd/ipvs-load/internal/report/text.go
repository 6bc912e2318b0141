package report

import (
	"fmt"
	"io"
	"slices"
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
	p.phases(&b)
	p.errors(&b)
	p.endpoints(&b)
	p.fairness(&b)
	p.events(&b)
	p.sparklines(&b)
	p.self(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *Report) head(b *strings.Builder) {
	s := p.Settings
	fmt.Fprintf(b, "%s to %s, ", s.Mode, strings.Join(s.Targets, " "))
	switch {
	case s.Loop == closedLoop && s.Connections > 0:
		fmt.Fprintf(b, "%d connections", s.Connections)
	case s.Loop == closedLoop:
		fmt.Fprintf(b, "%d at a time", s.ConnectionsMax)
	case len(s.Phases) > 0:
		fmt.Fprintf(b, "%s arrivals, %d phases", s.Arrivals, len(s.Phases))
	default:
		fmt.Fprintf(b, "%s arrivals, %s/s", s.Arrivals, number(s.Rate))
	}
	if s.Count > 0 {
		fmt.Fprintf(b, ", %d requests", s.Count)
	} else {
		fmt.Fprintf(b, " for %s s", number(s.Duration))
	}
	fmt.Fprintf(b, ", timeout %s s (%s loop)\n", number(s.Timeout), s.Loop)
	if s.Loop == closedLoop {
		b.WriteString("CLOSED LOOP: a slow answer delays the next request, which is not counted: latencies look better than users find them\n")
	}
	if p.Interrupted {
		fmt.Fprintf(b, "INTERRUPTED after %.1f s of the measured window; %d requests have no outcome\n",
			p.Rate.Window, p.Requests.Unfinished)
	}
	if p.Warmup.Requests > 0 {
		fmt.Fprintf(b, "warm-up    %d requests, %d errors, not counted below\n", p.Warmup.Requests, p.Warmup.Errors)
	}
	fmt.Fprintf(b, "requests   %d answered, %d errors (%s) of %d\n",
		p.Requests.Answered, p.Requests.Errors, percent(p.Requests.ErrorRatio), p.Requests.Planned)
	fmt.Fprintf(b, "rate       offered %.1f/s, achieved %.1f/s, backlog at most %d, %d at the end\n",
		p.Rate.Offered, p.Rate.Achieved, p.Backlog.Peak, p.Backlog.AtEnd)
	if x := p.Throughput; x != nil {
		fmt.Fprintf(b, "throughput %s %s, %d bytes; a connection %s to %s (Jain's index %.4f)\n",
			x.Direction, BitRate(x.BitsPerSecond), x.Bytes, BitRate(x.Least), BitRate(x.Most), x.Jain)
	}
	if c := p.Connections; c != nil {
		fmt.Fprintf(b, "held       %d connections: opened %d times, %d attempts failed, %d lost\n",
			c.Held, c.Opened, c.Failed, c.Lost)
	}
}

func (p *Report) phases(b *strings.Builder) {
	if len(p.Phases) == 0 {
		return
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "phase from\trate\tachieved\terrors\tp50\tp99")
	for _, x := range p.Phases {
		rate := number(x.From) + "/s"
		if x.From != x.To {
			rate = number(x.From) + " to " + number(x.To) + "/s"
		}
		fmt.Fprintf(t, "%s s\t%s\t%.1f/s\t%d\t%s\t%s\n", number(x.At), rate, x.Achieved, x.Errors, Duration(x.P50),
			Duration(x.P99))
	}
	t.Flush()
}

// fairness compares the endpoints of each target with what was expected of them.
func (p *Report) fairness(b *strings.Builder) {
	for _, x := range p.Targets {
		f := x.Fairness
		if f == nil || len(x.Endpoints) < 2 {
			continue
		}
		expected := "equal shares"
		if f.Expected == "weights" {
			expected = "the weights that were given"
		}
		fmt.Fprintf(b, "\nfairness of %s against %s: Jain's index %.4f, max/mean %.3f, ",
			x.Target, expected, f.Jain, f.MaxOverMean)
		if f.Unexpected > 0 {
			fmt.Fprintf(b, "%d answers of endpoints that should give none\n", f.Unexpected)
			continue
		}
		fmt.Fprintf(b, "chi-square %.4g (%d degrees of freedom, p %.3g)\n", f.ChiSquare, f.Degrees, f.P)
	}
	several := func(x Target) bool { return len(x.Endpoints) > 1 }
	if s := p.Stickiness; s.Clients > 1 && slices.ContainsFunc(p.Targets, several) {
		fmt.Fprintf(b, "\nstickiness: %d of %d clients had one endpoint (%s)\n", s.Sticky, s.Clients, percent(s.Share))
	}
}

func (p *Report) events(b *strings.Builder) {
	if len(p.Events) == 0 {
		return
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "event at\ttook\twhat\tanswered until the next\terrors\tp50\tp99\tits endpoint")
	for _, e := range p.Events {
		errors := "none"
		if len(e.Errors) > 0 {
			var parts []string
			for _, k := range account.Errors() {
				if n := e.Errors[k.String()]; n > 0 {
					parts = append(parts, fmt.Sprintf("%d %s", n, k))
				}
			}
			errors = strings.Join(parts, ", ")
		}
		fmt.Fprintf(t, "%.3f s\t%.3f s\t%s\t%d\t%s\t%s\t%s\t%s\n",
			e.At, e.Ended-e.At, e.Name, e.Answered, errors, Duration(e.P50), Duration(e.P99), e.endpoint())
	}
	t.Flush()
	for _, e := range p.Events {
		if e.Failure != "" {
			fmt.Fprintf(b, "WARNING: event %s: %s\n", e.Name, e.Failure)
		}
	}
}

// endpoint says when the event's endpoint answered, in time since the event.
func (e *Event) endpoint() string {
	since := func(at float64) string { return Duration((at - e.At) * 1e6) }
	switch {
	case e.Endpoint == "":
		return ""
	case e.FirstAnswer == nil:
		return e.Endpoint + " answered no request started after it"
	case e.Kind == "removed", e.Kind == "drained", e.Kind == "not-ready":
		return e.Endpoint + ": last request after " + since(*e.LastRequest)
	}
	return e.Endpoint + ": first answer after " + since(*e.FirstAnswer)
}

// sparklineWidth is the most columns of a sparkline.
const sparklineWidth = 60

// sparklines draws the course of the run for a terminal.
func (p *Report) sparklines(b *strings.Builder) {
	n := len(p.Series.Answered)
	if n < 10 {
		return
	}
	each := (n + sparklineWidth - 1) / sparklineWidth
	var rate, p99, errors []float64
	for i := 0; i < n; i += each {
		end := min(i+each, n)
		length := float64(end-i) * p.Series.Width
		failed := int64(0)
		for _, counts := range p.Series.Errors {
			failed += sum(counts[i:end])
		}
		if p.Series.Bytes != nil {
			rate = append(rate, 8*float64(sum(p.Series.Bytes[i:end]))/length)
		} else {
			rate = append(rate, float64(sum(p.Series.Answered[i:end]))/length)
		}
		p99 = append(p99, slices.Max(p.Series.P99[i:end]))
		errors = append(errors, float64(failed)/length)
	}
	if p.Series.Bytes != nil {
		fmt.Fprintf(b, "\nbit/s       %s  up to %s\n", sparkline(rate), BitRate(slices.Max(rate)))
	} else {
		fmt.Fprintf(b, "\nanswered/s  %s  up to %.0f\n", sparkline(rate), slices.Max(rate))
		fmt.Fprintf(b, "p99         %s  up to %s\n", sparkline(p99), Duration(slices.Max(p99)))
	}
	if slices.Max(errors) > 0 {
		fmt.Fprintf(b, "errors/s    %s  up to %.0f\n", sparkline(errors), slices.Max(errors))
	}
	fmt.Fprintf(b, "            one column is %.4g s\n", float64(each)*p.Series.Width)
}

func sum(values []int64) int64 {
	var n int64
	for _, v := range values {
		n += v
	}
	return n
}

// sparkline draws values from 0 to the largest one; a value that is not 0 is always seen.
func sparkline(values []float64) string {
	blocks := []rune(" ▁▂▃▄▅▆▇█")
	most := max(slices.Max(values), 1e-9)
	var b strings.Builder
	for _, v := range values {
		level := 0
		if v > 0 {
			level = max(1, int(v/most*float64(len(blocks)-1)+0.5))
		}
		b.WriteRune(blocks[level])
	}
	return b.String()
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
			Duration(d.P50), Duration(d.P90), Duration(d.P99), Duration(d.P999), Duration(d.Max), Duration(d.Mean), d.Count)
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
		fmt.Fprintf(b, "\nlost SYNs: %d connections bumped by 1 s (one retransmission), %d by 3 s or more, %d never stood\n",
			s.OneSecond, s.ThreeSeconds, s.Never)
	}
	if p.StrayDatagrams > 0 {
		fmt.Fprintf(b, "\n%d stray datagrams: answers that came late, twice or unasked\n", p.StrayDatagrams)
	}
}

func (p *Report) endpoints(b *strings.Builder) {
	if len(p.Endpoints) == 0 {
		if p.Requests.Answered == 0 {
			b.WriteString("\nno endpoint answered\n")
		}
		return // a connect that is answered names no endpoint
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
		Duration(s.Jitter), s.WakeLate.Count, Duration(s.Loop.P99), percent(s.BusyRatio), p.Settings.Workers)
	if len(s.BelowJitter) > 0 {
		fmt.Fprintf(b, "below the jitter, so not to be trusted: %s\n", strings.Join(s.BelowJitter, " "))
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(b, "WARNING: %s\n", w)
	}
	fmt.Fprintf(b, "VERDICT: %s\n", p.Verdict.Text)
}

// Duration shows three significant digits of microseconds in the unit that fits.
func Duration(us float64) string {
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

// BitRate shows three significant digits in the unit that fits.
func BitRate(v float64) string {
	for _, unit := range []string{"bit/s", "kbit/s", "Mbit/s"} {
		if v < 999.5 {
			return fmt.Sprintf("%.3g %s", v, unit)
		}
		v /= 1000
	}
	return fmt.Sprintf("%.3g Gbit/s", v)
}

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

func number(v float64) string { return fmt.Sprintf("%.10g", v) }
