package benchmark

// A figure is one number of a run; known is false when the run has none.
type figure = func(*Run) (v float64, known bool)

// report makes a figure of what ipvs-load control says.
func report(of func(*Control) (float64, bool)) figure {
	return func(r *Run) (float64, bool) {
		if r.Report == nil {
			return 0, false
		}
		return of(r.Report)
	}
}

func part(which func(*Control) *Part, of func(*Part) (float64, bool)) figure {
	return report(func(c *Control) (float64, bool) {
		if p := which(c); p != nil {
			return of(p)
		}
		return 0, false
	})
}

func first(c *Control) *Part   { return c.First }
func idle(c *Control) *Part    { return c.Idle }
func restart(c *Control) *Part { return c.Restart }

func took(p *Part) (float64, bool)      { return p.Took, true }
func own(p *Part) (float64, bool)       { return p.Own, true }
func children(p *Part) (float64, bool)  { return p.Children, true }
func processes(p *Part) (float64, bool) { return float64(p.Processes), true }

func count(n *int64) (float64, bool) {
	if n == nil {
		return 0, false
	}
	return float64(*n), true
}

func requests(p *Part) (float64, bool) { return count(p.Requests) }
func writes(p *Part) (float64, bool)   { return count(p.Writes) }

var (
	lastServer = part(first, took)
	// complete is the time to the last set, rule and real server.
	complete = report(func(c *Control) (float64, bool) {
		if c.Complete == nil || c.Failure != "" && c.Changes == nil {
			return 0, false
		}
		return *c.Complete, true
	})
	peakRSS = report(func(c *Control) (float64, bool) {
		n, known := count(c.PeakRSS)
		return n / (1 << 20), known
	})
	changeP50 = change(func(c *Changes) float64 { return c.P50 })
	changeP99 = change(func(c *Changes) float64 { return c.P99 })
	changeMax = change(func(c *Changes) float64 { return c.Max })
	changes   = change(func(c *Changes) float64 { return float64(c.Count) })
	// changeCPU is milliseconds of the proxy's own for one change, beyond what it takes in the same time while nothing
	// changes. Its audits, which come now and then, are taken out of both.
	changeCPU = report(func(c *Control) (float64, bool) {
		if c.Changes == nil {
			return 0, false
		}
		usual := 0.0
		if c.Idle != nil && c.Idle.Took > 0 {
			usual = (c.Idle.Own - c.Idle.Counters[OwnAudits]) / c.Idle.Took * c.Changes.Took
		}
		return 1000 * max(0, c.Changes.Own-c.Changes.Counters[OwnAudits]-usual) / float64(max(c.Changes.Count, 1)), true
	})
	changeChildren = change(func(c *Changes) float64 { return 1000 * c.Children / float64(max(c.Count, 1)) })
	changeWrites   = change(func(c *Changes) float64 {
		n, _ := count(c.Writes)
		return n / float64(max(c.Count, 1))
	})
	inProcess    = ofTotal(func(h Histogram) float64 { return h.P50 })
	inProcessP99 = ofTotal(func(h Histogram) float64 { return h.P99 })
	netlinkCalls = func(r *Run) (float64, bool) {
		if r.Calls == nil || r.Calls.NotCounted != "" {
			return 0, false
		}
		return float64(r.Calls.Netlink), true
	}
	childrenCalls = func(r *Run) (float64, bool) {
		if r.Calls == nil || r.Calls.NotCounted != "" {
			return 0, false
		}
		return float64(r.Calls.Children), true
	}
	executed = func(r *Run) (float64, bool) {
		if r.Calls == nil || r.Calls.NotCounted != "" {
			return 0, false
		}
		return float64(r.Calls.Processes), true
	}
	apiList = func(r *Run) (float64, bool) {
		if r.List == nil {
			return 0, false
		}
		return *r.List, true
	}
	apiEvents = func(r *Run) (float64, bool) {
		if r.Events == nil {
			return 0, false
		}
		return *r.Events, true
	}
	floor = func(r *Run) (float64, bool) {
		if r.Floor == nil {
			return 0, false
		}
		return r.Floor.Took, true
	}
	floorLook = func(r *Run) (float64, bool) {
		if r.Floor == nil {
			return 0, false
		}
		return r.Floor.Look.Took, true
	}
)

// OwnHistogram is ipvs-proxier's metric of the time that a change takes in it.
const OwnHistogram = "ipvs_proxier_change_duration_seconds"

// OwnAudits is its metric of the processor time of its own that audits took.
const OwnAudits = `ipvs_proxier_audit_cpu_seconds_total{of="thread"}`

// ofTotal is milliseconds of what the histogram says of a change from its arrival to the kernel's answer.
func ofTotal(of func(Histogram) float64) figure {
	return report(func(c *Control) (float64, bool) {
		for _, h := range c.Histograms {
			if h.Name == OwnHistogram && h.Labels == `stage="total"` {
				return 1000 * of(h), true
			}
		}
		return 0, false
	})
}

func change(of func(*Changes) float64) figure {
	return report(func(c *Control) (float64, bool) {
		if c.Changes == nil {
			return 0, false
		}
		return of(c.Changes), true
	})
}
