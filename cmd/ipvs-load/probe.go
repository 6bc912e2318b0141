package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/churn"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/probe"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/spec"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/stats"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// probeFlags are the flags of probe as they were written.
type probeFlags struct {
	change, undo, expect   string
	rate                   float64
	settle, limit, timeout time.Duration
	repetitions            int
	json                   bool
	expectation            probe.Expectation
}

// probeLead is how long probes run before the change.
const probeLead = 200 * time.Millisecond

// longestCommand is what the run allows for the command itself, beside --limit.
const longestCommand = time.Minute

func probeCommand() *cobra.Command {
	var f probeFlags
	c := &cobra.Command{
		Use:   "probe --change COMMAND [--expect WHAT] TARGET",
		Short: "Measure from outside how long a change takes to reach the traffic",
		Long: `probe carries a command out by sh while it asks the target a thousand times a second, and reports when the change was first
seen, and from when on it held: network programming latency as a client meets it, of any proxy. Times count from the
beginning of the command and from its end, and are those of the probes' intended starts.

  --expect answered          any answer
  --expect refused           a refusal: what a Service without endpoints gives
  --expect endpoint=ID       an answer of that endpoint; those of others are neither for nor against
  --expect not-endpoint=ID   answers, and none of that endpoint

Exit status: 0 the expectation came true and held; 1 it did not, or the command failed; 2 wrong use.`,
		Example: `  ipvs-load probe --expect endpoint=web-4 --change 'cp four.yaml manifests/web.yaml' tcp://10.96.0.10:80
  ipvs-load probe --expect refused --change 'kubectl scale deploy web --replicas 0' --undo 'kubectl scale deploy web --replicas 3' --repetitions 20 tcp://10.96.0.10:80`,
	}
	l := c.Flags()
	l.StringVar(&f.change, "change", "", "the command, by sh, that changes something")
	l.StringVar(&f.undo, "undo", "", "the command that takes it back, between repetitions and at the end")
	l.StringVar(&f.expect, "expect", "answered",
		"what shall be so afterwards: answered, refused, endpoint=ID or not-endpoint=ID")
	l.Float64Var(&f.rate, "rate", 1000, "probes per second")
	l.DurationVar(&f.settle, "settle", 2*time.Second, "for this long nothing may contradict it")
	l.DurationVar(&f.limit, "limit", 30*time.Second, "give up this long after the change")
	l.DurationVar(&f.timeout, "timeout", time.Second, "of one probe; shorter than --settle")
	l.IntVar(&f.repetitions, "repetitions", 1, "how often to change and measure; more than one needs --undo")
	l.BoolVar(&f.json, "json", false, "print one JSON object instead of text")
	c.RunE = func(c *cobra.Command, args []string) error {
		config, err := f.config(args)
		if err != nil {
			return usageError{Err: err}
		}
		return f.run(c, config)
	}
	return c
}

func (f *probeFlags) config(args []string) (probe.Config, error) {
	var none probe.Config
	switch {
	case len(args) != 1:
		return none, errors.New("give one target, as tcp://ADDRESS:PORT, udp://ADDRESS:PORT or sctp://ADDRESS:PORT")
	case f.change == "":
		return none, errors.New("no change is given; --change is the command whose effect is waited for")
	case f.repetitions < 1:
		return none, fmt.Errorf("repetitions %d are out of range; allowed is 1 and more", f.repetitions)
	case f.repetitions > 1 && f.undo == "":
		return none, fmt.Errorf("%d repetitions need --undo: a change that is there already cannot be seen to come", f.repetitions)
	case f.settle <= f.timeout:
		return none, fmt.Errorf("settle %v is out of range; allowed is more than the timeout of a probe, which is %v",
			f.settle, f.timeout)
	case f.limit <= 0:
		return none, fmt.Errorf("limit %v is out of range; allowed is more than 0", f.limit)
	}
	var err error
	if f.expectation, err = probe.ParseExpectation(f.expect); err != nil {
		return none, err
	}
	to, err := target.Parse(args[0])
	if err != nil {
		return none, err
	}
	load := spec.Load{
		Mode: string(engine.CRR), Targets: args, Rate: spec.Rate{PerSecond: f.rate}, Timeout: spec.Duration(f.timeout),
		Workers:  1,
		Duration: spec.Duration(probeLead + longestCommand + f.limit + f.settle),
		Close:    string(engine.Reset), // a thousand connections a second would run out of ports
	}
	if to.Protocol == target.UDP {
		load.Mode = string(engine.UDPRR)
	}
	config, _, err := load.Config()
	return probe.Config{
		Load: config, Change: f.change, Expect: f.expectation, Settle: f.settle, Limit: f.limit, Lead: probeLead,
	}, err
}

// probeSchema names the JSON form.
const probeSchema = "ipvs-load.probe/v1"

// probeReport is the JSON form. Times are in milliseconds, since the change began or, where the name says so, since its
// command ended; null where there is no such time.
type probeReport struct {
	Schema       string        `json:"schema"`
	Version      string        `json:"version"`
	Target       string        `json:"target"`
	Change       string        `json:"change"`
	Expect       string        `json:"expect"`
	Rate         float64       `json:"probes_per_s"`
	Interrupted  bool          `json:"interrupted"`
	Measurements []probeResult `json:"measurements"`
	First        *probeSummary `json:"first_ms"`
	Stable       *probeSummary `json:"stable_ms"`
}

type probeResult struct {
	Command       float64  `json:"command_ms"`
	First         *float64 `json:"first_ms"`
	FirstFromEnd  *float64 `json:"first_from_end_ms"`
	Stable        *float64 `json:"stable_ms"`
	StableFromEnd *float64 `json:"stable_from_end_ms"`
	Flaps         int      `json:"flaps"`
	MetBefore     bool     `json:"met_before"`
	Probes        int      `json:"probes"`
	Resolution    float64  `json:"resolution_ms"`
	Jitter        float64  `json:"jitter_ms"`
}

type probeSummary struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func (f *probeFlags) run(c *cobra.Command, config probe.Config) error {
	ctx, stop := untilSignal(c.Context())
	defer stop()
	config.Command = c.ErrOrStderr()
	p := &probeReport{
		Schema: probeSchema, Version: version, Target: config.Load.Targets[0].String(), Change: f.change,
		Expect: f.expectation.String(), Rate: f.rate,
		Measurements: []probeResult{},
	}
	fine := true
	for range f.repetitions {
		m, err := probe.Run(ctx, config)
		if ctx.Err() != nil {
			p.Interrupted = true
			break
		}
		if err == nil && f.undo != "" {
			if err = churn.Run(ctx, f.undo, config.Command); err != nil {
				err = fmt.Errorf("undo: %w", err)
			}
		}
		if err != nil {
			return err
		}
		p.Measurements = append(p.Measurements, newProbeResult(m))
		fine = fine && m.Held
	}
	p.summarize()
	write := p.writeText
	if f.json {
		write = p.writeJSON
	}
	if err := write(c.OutOrStdout()); err != nil {
		return err
	}
	if !fine || len(p.Measurements) == 0 {
		return exitError(report.ExitErrors)
	}
	return nil
}

func newProbeResult(m *probe.Measurement) probeResult {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	r := probeResult{
		Command: ms(m.Command), Flaps: m.Flaps, MetBefore: m.Before, Probes: m.Probes, Resolution: ms(m.Resolution),
		Jitter: ms(m.Jitter),
	}
	if m.Met {
		from, fromEnd := ms(m.FromBegin(m.First)), ms(m.FromEnd(m.First))
		r.First, r.FirstFromEnd = &from, &fromEnd
	}
	if m.Held {
		from, fromEnd := ms(m.FromBegin(m.Stable)), ms(m.FromEnd(m.Stable))
		r.Stable, r.StableFromEnd = &from, &fromEnd
	}
	return r
}

func (p *probeReport) summarize() {
	summary := func(of func(r *probeResult) *float64) *probeSummary {
		var all []float64
		for i := range p.Measurements {
			if v := of(&p.Measurements[i]); v != nil {
				all = append(all, *v)
			}
		}
		if len(all) == 0 {
			return nil
		}
		return &probeSummary{stats.Percentile(all, 50), stats.Percentile(all, 99), stats.Percentile(all, 100)}
	}
	p.First = summary(func(r *probeResult) *float64 { return r.First })
	p.Stable = summary(func(r *probeResult) *float64 { return r.Stable })
}

func (p *probeReport) writeJSON(w io.Writer) error {
	return report.WriteObject(w, p)
}

func (p *probeReport) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, expecting %s, %.10g probes a second\n", p.Target, p.Expect, p.Rate)
	if p.Interrupted {
		b.WriteString("INTERRUPTED: what follows is what there was\n")
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "change\ttook\tfirst seen\tafter the command\theld from\tafter the command\tflaps\tjitter\t")
	for i, r := range p.Measurements {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t\n",
			i+1, milliseconds(&r.Command), milliseconds(r.First), milliseconds(r.FirstFromEnd),
			milliseconds(r.Stable), milliseconds(r.StableFromEnd), r.Flaps, milliseconds(&r.Jitter))
	}
	t.Flush()
	if len(p.Measurements) > 1 && p.First != nil && p.Stable != nil {
		fmt.Fprintf(&b, "first seen p50 %.1f ms, p99 %.1f ms, at most %.1f ms; held from p50 %.1f ms, p99 %.1f ms, at most %.1f ms\n",
			p.First.P50, p.First.P99, p.First.Max, p.Stable.P50, p.Stable.P99, p.Stable.Max)
	}
	for i, r := range p.Measurements {
		switch {
		case r.MetBefore:
			fmt.Fprintf(&b, "WARNING: change %d: it was so before the change began, so that \"first seen\" says nothing\n", i+1)
		case r.First == nil:
			fmt.Fprintf(&b, "WARNING: change %d: it never came true within %d probes\n", i+1, r.Probes)
		case r.Stable == nil:
			fmt.Fprintf(&b, "WARNING: change %d: it came true and did not hold\n", i+1)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func milliseconds(v *float64) string {
	if v == nil {
		return "never"
	}
	return fmt.Sprintf("%.1f ms", *v)
}
