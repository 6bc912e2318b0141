package control

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/stats"
)

// Schema names the JSON form.
const Schema = "ipvs-load.control/v1"

// Report is the JSON form of a Result. A null was not measured.
type Report struct {
	Schema       string      `json:"schema"`
	Version      string      `json:"version"`
	Command      []string    `json:"command"`
	Services     int         `json:"services"`
	Endpoints    int         `json:"endpoints_each"`
	IPv6         bool        `json:"ipv6"`
	Converged    bool        `json:"converged"`
	Interrupted  bool        `json:"interrupted"`
	Failure      string      `json:"failure,omitempty"`
	First        *PartReport `json:"first_programming"`
	Change       *Changes    `json:"changes"`
	Idle         *PartReport `json:"idle"`
	Resolution   float64     `json:"resolution_ms"`
	PeakRSS      *int64      `json:"peak_rss_bytes"`
	NotMeasured  []string    `json:"not_measured"`
	SinceMachine string      `json:"processes_started_are"` // of the whole machine
}

// PartReport is one part of a measurement.
type PartReport struct {
	Took         float64 `json:"took_s"`
	Own          float64 `json:"own_cpu_s"`
	Children     float64 `json:"children_cpu_s"`
	Switches     int64   `json:"context_switches"`
	Processes    int64   `json:"processes_started"`
	NetlinkSends *int64  `json:"netlink_buffers"`
	NetlinkBytes *int64  `json:"netlink_bytes"`
}

// Changes is the exchanges of one endpoint.
type Changes struct {
	PartReport
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// NewReport makes the report of a run, whatever ended it.
func NewReport(version string, c Config, r *Result, err error, interrupted bool) *Report {
	p := &Report{
		Schema: Schema, Version: version, Command: c.Command, Services: c.Services, Endpoints: c.Endpoints, IPv6: c.IPv6, Interrupted: interrupted,
		Resolution: float64(r.Resolution) / float64(time.Millisecond), NotMeasured: []string{}, SinceMachine: "of the whole machine, threads included",
	}
	if err != nil {
		p.Failure = err.Error()
	}
	p.Converged = r.First.Took > 0 && (err == nil || len(r.Changes) > 0 || r.Idle.Took > 0)
	if r.First.Took > 0 {
		p.First, p.PeakRSS = part(r.First), &r.First.Usage.PeakRSS
	}
	if len(r.Changes) > 0 {
		var ms []float64
		for _, d := range r.Changes {
			ms = append(ms, float64(d)/float64(time.Millisecond))
		}
		p.Change = &Changes{
			PartReport: *part(r.Change), Count: len(ms), P50: stats.Percentile(ms, 50), P99: stats.Percentile(ms, 99), Max: stats.Percentile(ms, 100),
		}
		p.PeakRSS = &r.Change.Usage.PeakRSS
	}
	if r.Idle.Took > 0 {
		p.Idle, p.PeakRSS = part(r.Idle), &r.Idle.Usage.PeakRSS
	}
	if r.NoNetlink != "" {
		p.NotMeasured = append(p.NotMeasured, "netlink: "+r.NoNetlink)
	}
	return p
}

func part(x Part) *PartReport {
	return &PartReport{
		Took: x.Took.Seconds(), Own: x.Usage.Own.Seconds(), Children: x.Usage.Children.Seconds(), Switches: x.Usage.Switches, Processes: x.Usage.Forks,
		NetlinkSends: x.Packets, NetlinkBytes: x.Bytes,
	}
}

// WriteJSON writes the report as one indented JSON object and a newline.
func (p *Report) WriteJSON(w io.Writer) error {
	return report.WriteObject(w, p)
}

// WriteText writes the report for a person.
func (p *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%d Services with %d endpoints each\n", strings.Join(p.Command, " "), p.Services, p.Endpoints)
	if p.Interrupted {
		b.WriteString("INTERRUPTED: what follows is what there was\n")
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\ttook\town CPU\tchildren's CPU\tprocesses\tcontext switches\tnetlink buffers\tnetlink bytes\t")
	row := func(name string, x *PartReport) {
		if x != nil {
			fmt.Fprintf(t, "%s\t%.3f s\t%.2f s\t%.2f s\t%d\t%d\t%s\t%s\t\n", name, x.Took, x.Own, x.Children, x.Processes, x.Switches, number(x.NetlinkSends), number(x.NetlinkBytes))
		}
	}
	row("first programming", p.First)
	if p.Change != nil {
		row(fmt.Sprintf("%d changes", p.Change.Count), &p.Change.PartReport)
	}
	row("nothing to do", p.Idle)
	t.Flush()
	if c := p.Change; c != nil {
		fmt.Fprintf(&b, "one endpoint exchanged, until the kernel had it: p50 %.1f ms, p99 %.1f ms, at most %.1f ms\n", c.P50, c.P99, c.Max)
	}
	if p.PeakRSS != nil {
		fmt.Fprintf(&b, "peak RSS %.1f MiB\n", float64(*p.PeakRSS)/(1<<20))
	}
	fmt.Fprintf(&b, "times are as exact as %.1f ms, in which the kernel was looked at; processes are those of the whole machine\n", p.Resolution)
	for _, s := range p.NotMeasured {
		fmt.Fprintf(&b, "not measured: %s\n", s)
	}
	if p.Failure != "" {
		fmt.Fprintf(&b, "FAILED: %s\n", p.Failure)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func number(v *int64) string {
	if v == nil {
		return "not measured"
	}
	return fmt.Sprint(*v)
}
