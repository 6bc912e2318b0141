package report

import (
	"fmt"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

// fullProcessor is the share of time awake above which the client itself is suspected of limiting the rate.
const fullProcessor = 0.9

// selfCheck names the percentiles that the instrument's own jitter covers, and what else makes its numbers doubtful.
func selfCheck(p *Report, r *account.Result) SelfCheck {
	s := SelfCheck{
		Jitter:      us(r.Self.Jitter()),
		WakeLate:    percentiles(r.Self.Wake),
		Loop:        percentiles(r.Self.Loop),
		BelowJitter: []string{},
		Warnings:    []string{},
	}
	if r.Self.Ran > 0 {
		s.BusyRatio = r.Self.Busy.Seconds() / r.Self.Ran.Seconds()
	}
	for _, d := range []struct {
		name string
		p    Percentiles
	}{{"latency_us", p.Latency}, {"service_us", p.Service}} {
		for _, v := range []struct {
			name  string
			value float64
		}{{"p50", d.p.P50}, {"p90", d.p.P90}, {"p99", d.p.P99}, {"p99_9", d.p.P999}, {"max", d.p.Max}} {
			if d.p.Count > 0 && v.value < s.Jitter {
				s.BelowJitter = append(s.BelowJitter, d.name+"."+v.name)
			}
		}
	}
	warn := func(format string, args ...any) { s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...)) }
	if s.BusyRatio > fullProcessor {
		warn("the client was awake %.0f %% of the time: it may be what limits the rate; try a lower --rate or more --workers", 100*s.BusyRatio)
	}
	if s.WakeLate.Count == 0 && p.Latency.Count > 0 && p.Settings.Loop != closedLoop {
		warn("the client never slept before a start, so its jitter is unknown; the latency contains its own delays")
	}
	if n := p.Errors[account.NoLocalPort.String()]; n > 0 {
		warn("%d requests found no free local port: add --source addresses, or --close reset, or lower the rate", n)
	}
	if n := p.Errors[account.Unsent.String()]; n > 0 {
		warn("%d requests were never sent: the client was out of connections (--connections-max %d) or of processor time", n, p.Settings.ConnectionsMax)
	} else if p.Backlog.AtEnd > 0 {
		warn("%d requests were due but not started when the window ended: the offered rate was not reached; the client lacked connections, processor time, or free ports to choose from quickly (--source adds some)", p.Backlog.AtEnd)
	}
	return s
}
