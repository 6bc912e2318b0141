package html

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

// setting is a line of the run's settings, or of what the client measured of itself.
type setting struct{ Name, Value string }

// what says what was measured, in one line.
func what(p *report.Report) string {
	targets := p.Settings.Targets
	to := strings.Join(targets[:min(len(targets), 2)], ", ")
	if n := len(targets) - 2; n > 0 {
		to += fmt.Sprintf(" and %d more", n)
	}
	return p.Settings.Mode + " to " + to
}

func summary(p *report.Report) string {
	s := p.Settings
	parts := []string{load(s)}
	if s.Count > 0 {
		parts = append(parts, plural(s.Count, "request"))
	} else {
		parts = append(parts, "for "+seconds(s.Duration))
	}
	parts = append(parts, "timeout "+seconds(s.Timeout))
	if s.Loop != "" {
		parts = append(parts, s.Loop+" loop")
	}
	return strings.Join(parts, ", ") + "; began " + p.Began.UTC().Format("2006-01-02 15:04:05 UTC")
}

// load says how hard the target was pressed.
func load(s report.Settings) string {
	switch {
	case s.Loop == report.Loop(true) && s.Connections > 0:
		return plural(int64(s.Connections), "connection")
	case s.Loop == report.Loop(true):
		return count(int64(s.ConnectionsMax)) + " at a time"
	case len(s.Phases) > 0:
		return fmt.Sprintf("%s arrivals in %s", s.Arrivals, plural(int64(len(s.Phases)), "phase"))
	}
	return fmt.Sprintf("%s arrivals, %s", s.Arrivals, rate(s.Rate))
}

// warnings are what a reader must know before the numbers.
func warnings(p *report.Report) []string {
	var all []string
	if p.Verdict.ExitStatus != report.ExitFine {
		all = append(all, "Verdict: "+p.Verdict.Text+".")
	}
	if p.Interrupted {
		all = append(all, fmt.Sprintf("The run was interrupted after %s of the window; %s have no outcome.",
			seconds(p.Rate.Window), plural(p.Requests.Unfinished, "request")))
	}
	if p.Settings.Loop == report.Loop(true) && p.Throughput == nil {
		all = append(all, "Closed loop: a slow answer delays the next request, which is not counted, so latencies look better than users find them.")
	}
	for _, e := range p.Events {
		if e.Failure != "" {
			all = append(all, fmt.Sprintf("Event %s failed: %s", e.Name, e.Failure))
		}
	}
	if b := p.SelfCheck.BelowJitter; len(b) > 0 {
		all = append(all, "Below the client's jitter, so not to be trusted: "+belowJitter.Replace(strings.Join(b, ", "))+".")
	}
	return append(all, p.SelfCheck.Warnings...)
}

// belowJitter makes words of the names in the report.
var belowJitter = strings.NewReplacer("latency_us.", "latency ", "service_us.", "service time ", "p99_9", "p99.9")

func tiles(p *report.Report) []tile {
	bad := ""
	if p.Requests.Errors > 0 {
		bad = "bad"
	}
	errors := tile{"errors", count(p.Requests.Errors), percent(p.Requests.ErrorRatio), bad}
	if x := p.Throughput; x != nil {
		return []tile{
			{"throughput", report.BitRate(x.BitsPerSecond), x.Direction + ", " + count(x.Bytes) + " bytes", ""},
			{"a connection", report.BitRate(x.Least), "at least; " + report.BitRate(x.Most) + " at most", ""},
			{"evenness", fmt.Sprintf("%.4f", x.Jain), "Jain's index of the connections, 1 is even", ""},
			errors,
		}
	}
	all := []tile{
		{"answered", count(p.Requests.Answered), "of " + count(p.Requests.Planned), ""},
		errors,
		{"achieved", rate(p.Rate.Achieved), "offered " + rate(p.Rate.Offered), ""},
		{"backlog", count(p.Backlog.Peak), "at most; " + count(p.Backlog.AtEnd) + " at the end", ""},
	}
	if p.Settings.Loop == report.Loop(true) {
		all[2].Note, all = "the answers set it", all[:3]
	}
	if c := p.Connections; c != nil {
		lost := ""
		if c.Lost > 0 {
			lost = "bad"
		}
		all = append(all[:3], tile{"connections lost", count(c.Lost), fmt.Sprintf("of %s; opened %s times, %s failed",
			count(int64(c.Held)), count(c.Opened), count(c.Failed)), lost})
	}
	if p.Latency.Count == 0 {
		return all
	}
	return append(all,
		tile{"p50", duration(p.Latency.P50), "latency", ""},
		tile{"p99", duration(p.Latency.P99), "latency", ""},
		tile{"p99.9", duration(p.Latency.P999), "latency", ""},
		tile{"max", duration(p.Latency.Max), "latency", ""})
}

func settings(p *report.Report) []setting {
	s, c := p.Settings, p.SelfCheck
	all := []setting{{"mode", s.Mode}, {"targets", strings.Join(s.Targets, " ")}, {"load", load(s)}}
	add := func(name, value string) { all = append(all, setting{name, value}) }
	if s.Loop != "" {
		add("loop", s.Loop)
	}
	if s.Connections > 0 {
		add("connections", count(int64(s.Connections)))
	}
	if s.Direction != "" {
		add("direction", s.Direction)
	}
	if s.Count > 0 {
		add("count", count(s.Count))
	}
	add("window", seconds(p.Rate.Window))
	add("warm-up", seconds(s.Warmup))
	if p.Warmup.Requests > 0 {
		add("in the warm-up", fmt.Sprintf("%s, %s, counted nowhere else",
			plural(p.Warmup.Requests, "request"), plural(p.Warmup.Errors, "error")))
	}
	add("timeout", seconds(s.Timeout))
	add("connections at most", count(int64(s.ConnectionsMax)))
	add("workers", count(int64(s.Workers)))
	if s.UDPPort != "" {
		add("UDP port", s.UDPPort)
	}
	if s.Close != "" {
		add("close", s.Close)
	}
	add("seed", fmt.Sprint(s.Seed))
	if len(s.Sources) > 0 {
		add("sources", strings.Join(s.Sources, " "))
	}
	if len(s.Weights) > 0 {
		var parts []string
		for _, id := range sortedKeys(s.Weights) {
			parts = append(parts, fmt.Sprintf("%s=%g", id, s.Weights[id]))
		}
		add("weights", strings.Join(parts, " "))
	}
	add("errors allowed", percent(s.MaxErrorRatio))
	add("backlog", fmt.Sprintf("%s at most, %s at the end", count(p.Backlog.Peak), count(p.Backlog.AtEnd)))
	if c.WakeLate.Count > 0 {
		add("client's jitter", fmt.Sprintf("%s (p99 of %s)", duration(c.Jitter), plural(c.WakeLate.Count, "wake-up")))
	}
	if c.Loop.Count > 0 {
		add("client's loop", "p99 "+duration(c.Loop.P99))
	}
	add("client awake", percent(c.BusyRatio))
	add("version", p.Version)
	return all
}

// versions are those of the program that measured, each once.
func versions(runs []Run) string {
	all := map[string]bool{}
	for _, r := range runs {
		all[r.Report.Version] = true
	}
	return strings.Join(sortedKeys(all), ", ")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
