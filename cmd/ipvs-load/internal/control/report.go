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
const Schema = "ipvs-load.control/v2"

// Report is the JSON form of a Result. A null was not measured.
type Report struct {
	Schema      string            `json:"schema"`
	Version     string            `json:"version"`
	Command     []string          `json:"command"`
	Services    int               `json:"services"`
	Endpoints   int               `json:"endpoints_each"`
	IPv6        bool              `json:"ipv6"`
	Converged   bool              `json:"converged"`
	Interrupted bool              `json:"interrupted"`
	Failure     string            `json:"failure,omitempty"`
	Loaded      float64           `json:"objects_written_s"`
	Busy        bool              `json:"machine_was_busy"`
	First       *PartReport       `json:"first_programming"`
	Complete    *float64          `json:"complete_s"`
	Ready       *float64          `json:"ready_s"`
	Change      *Changes          `json:"changes"`
	Histograms  []HistogramReport `json:"histograms"`
	Idle        *PartReport       `json:"idle"`
	Restart     *PartReport       `json:"restart"`
	Resolution  float64           `json:"resolution_ms"`
	PeakRSS     *int64            `json:"peak_rss_bytes"`
	NotMeasured []string          `json:"not_measured"`
}

// PartReport is one part of a measurement.
type PartReport struct {
	Took            float64          `json:"took_s"`
	Own             float64          `json:"own_cpu_s"`
	Children        float64          `json:"children_cpu_s"`
	PeakRSS         int64            `json:"peak_rss_bytes"` // of that process of the proxy, up to the end of the part
	RSS             int64            `json:"rss_bytes"`      // the same at the end of the part
	Switches        int64            `json:"context_switches"`
	Processes       int64            `json:"processes_started"` // on the machine, and ended meanwhile
	NetlinkBuffers  *int64           `json:"netlink_buffers"`
	NetlinkBytes    *int64           `json:"netlink_bytes"`
	NetlinkMessages *int64           `json:"netlink_requests"`
	NetlinkWrites   *int64           `json:"netlink_writes"` // requests that change something
	WritesByKind    map[string]int64 `json:"netlink_writes_by_kind,omitempty"`
	// Counters are by how much those of the proxy's own have grown, by their names with labels.
	Counters map[string]float64 `json:"counters,omitempty"`
}

// Changes is the exchanges of one endpoint.
type Changes struct {
	PartReport
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// HistogramReport is one of the proxy's own.
type HistogramReport struct {
	Name   string  `json:"name"`
	Labels string  `json:"labels"`
	Count  float64 `json:"count"`
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
}

// NewReport makes the report of a run, whatever ended it.
func NewReport(version string, c Config, r *Result, err error, interrupted bool) *Report {
	p := &Report{
		Schema: Schema, Version: version, Command: c.Command, Services: c.Services, Endpoints: c.Endpoints, IPv6: c.IPv6,
		Interrupted: interrupted,
		Loaded:      r.Loaded.Seconds(), Busy: r.Busy, Complete: seconds(r.Complete), Ready: seconds(r.Ready),
		Resolution: float64(r.Resolution) / float64(time.Millisecond), NotMeasured: []string{},
		Histograms: []HistogramReport{},
	}
	if err != nil {
		p.Failure = err.Error()
	}
	p.Converged = r.First.Took > 0 && (err == nil || len(r.Changes) > 0 || r.Idle.Took > 0)
	peak := func(x *PartReport) {
		p.PeakRSS = &x.PeakRSS
	}
	if r.First.Took > 0 {
		p.First = part(r.First)
		peak(p.First)
	}
	if len(r.Changes) > 0 {
		var ms []float64
		for _, d := range r.Changes {
			ms = append(ms, float64(d)/float64(time.Millisecond))
		}
		p.Change = &Changes{
			PartReport: *part(r.Change), Count: len(ms), P50: stats.Percentile(ms, 50), P99: stats.Percentile(ms, 99),
			Max: stats.Percentile(ms, 100),
		}
		peak(&p.Change.PartReport)
	}
	for _, h := range r.Histograms {
		p.Histograms = append(p.Histograms, HistogramReport(h))
	}
	if r.Idle.Took > 0 {
		p.Idle = part(r.Idle)
		peak(p.Idle)
	}
	if r.Restart.Took > 0 {
		p.Restart = part(r.Restart) // another process, with a peak of its own
	}
	if r.NoNetlink != "" {
		p.NotMeasured = append(p.NotMeasured, "netlink: "+r.NoNetlink)
	}
	if r.NoMetrics != "" {
		p.NotMeasured = append(p.NotMeasured, "metrics: "+r.NoMetrics)
	}
	return p
}

func seconds(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	s := d.Seconds()
	return &s
}

func part(x Part) *PartReport {
	p := &PartReport{
		Took: x.Took.Seconds(), Own: x.Usage.Own.Seconds(), Children: x.Usage.Children.Seconds(),
		PeakRSS: x.Usage.PeakRSS, RSS: x.Usage.RSS,
		Switches:  x.Usage.Switches,
		Processes: x.Usage.Ended(), Counters: x.Counters,
	}
	if t := x.Traffic; t != nil {
		writes := t.Requests.Sum()
		p.NetlinkBuffers, p.NetlinkBytes, p.NetlinkMessages = &t.Buffers, &t.Bytes, &t.Requests.Messages
		p.NetlinkWrites, p.WritesByKind = &writes, t.Requests.Writes
	}
	return p
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
	fmt.Fprintln(t, "\ttook\town CPU\tchildren's CPU\tprocesses\tcontext switches\tnetlink requests\tthat write\tnetlink bytes\t")
	row := func(name string, x *PartReport) {
		if x != nil {
			fmt.Fprintf(t, "%s\t%.3f s\t%.2f s\t%.2f s\t%d\t%d\t%s\t%s\t%s\t\n",
				name, x.Took, x.Own, x.Children, x.Processes, x.Switches,
				number(x.NetlinkMessages), number(x.NetlinkWrites), number(x.NetlinkBytes))
		}
	}
	row("first programming", p.First)
	if p.Change != nil {
		row(fmt.Sprintf("%d changes", p.Change.Count), &p.Change.PartReport)
	}
	row("nothing to do", p.Idle)
	row("started again", p.Restart)
	t.Flush()
	for _, x := range []struct {
		about string
		took  *float64
	}{{"all that belongs to it was there", p.Complete}, {"the proxy said that it was ready, at the latest", p.Ready}} {
		if x.took != nil {
			fmt.Fprintf(&b, "%s after %.3f s\n", x.about, *x.took)
		}
	}
	if c := p.Change; c != nil {
		fmt.Fprintf(&b, "one endpoint exchanged, from the write to the kernel: p50 %.1f ms, p99 %.1f ms, at most %.1f ms\n", c.P50, c.P99, c.Max)
	}
	for _, h := range p.Histograms {
		fmt.Fprintf(&b, "%s{%s}: %.0f observations, p50 %.4g, p99 %.4g (interpolated)\n",
			h.Name, h.Labels, h.Count, h.P50, h.P99)
	}
	if p.Change != nil {
		p.Change.writeCounters(&b, "over the changes")
	}
	if p.Idle != nil {
		p.Idle.writeCounters(&b, "while there was nothing to do")
	}
	if p.PeakRSS != nil {
		fmt.Fprintf(&b, "peak RSS %.1f MiB\n", float64(*p.PeakRSS)/(1<<20))
	}
	if p.Idle != nil {
		fmt.Fprintf(&b, "RSS %.1f MiB after there was nothing to do\n", float64(p.Idle.RSS)/(1<<20))
	}
	fmt.Fprintf(&b, "times are as exact as %.1f ms, in which the kernel was looked at; processes are those of the whole machine that have ended\n", p.Resolution)
	if p.Busy {
		b.WriteString("the machine was not quiet before the proxy was started\n")
	}
	for _, s := range p.NotMeasured {
		fmt.Fprintf(&b, "not measured: %s\n", s)
	}
	if p.Failure != "" {
		fmt.Fprintf(&b, "FAILED: %s\n", p.Failure)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *PartReport) writeCounters(w io.Writer, when string) {
	for _, name := range sortedKeys(p.Counters) {
		fmt.Fprintf(w, "%s: %.4g more %s\n", name, p.Counters[name], when)
	}
}

func number(v *int64) string {
	if v == nil {
		return "not measured"
	}
	return fmt.Sprint(*v)
}
