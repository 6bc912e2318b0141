package spec

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/wire"
)

// Config turns what was asked for into a valid run of the engine and the settings that its report shows, or says in one
// sentence what makes it impossible.
func (l Load) Config() (engine.Config, report.Settings, error) {
	if l.Mode == "" {
		return engine.Config{}, report.Settings{}, errors.New(
			"no mode is given; connect, crr, rr, idle and stream are for TCP and SCTP, udp-rr is for UDP",
		)
	}
	l, err := l.withDefaults()
	if err != nil {
		return engine.Config{}, report.Settings{}, err
	}
	c := engine.Config{
		Mode: engine.Mode(l.Mode), Timeout: time.Duration(l.Timeout), UDPPort: engine.UDPPort(l.UDPPort),
		Close:     engine.Close(l.Close),
		Direction: engine.Direction(l.Direction), ConnectionsMax: l.ConnectionsMax, Connections: l.Connections,
		Plan: schedule.Plan{
			Rate: l.Rate.PerSecond, Phases: l.Rate.Phases, Closed: l.Closed, Warmup: time.Duration(l.Warmup),
			Duration: time.Duration(l.Duration),
			Count:    l.Count, Workers: l.Workers, Seed: l.Seed,
		},
	}
	if c.Plan.Arrivals, err = schedule.ParseArrivals(l.Arrivals); err != nil {
		return c, report.Settings{}, err
	}
	if err := l.addresses(&c); err != nil {
		return c, report.Settings{}, err
	}
	if err := l.validate(&c); err != nil {
		return c, report.Settings{}, err
	}
	return c, l.settings(c), c.Validate()
}

func (l *Load) addresses(c *engine.Config) error {
	for _, s := range l.Targets {
		for part := range strings.SplitSeq(s, ",") {
			t, err := target.Parse(strings.TrimSpace(part))
			if err != nil {
				return err
			}
			c.Targets = append(c.Targets, t)
		}
	}
	for _, s := range l.Sources {
		for part := range strings.SplitSeq(s, ",") {
			a, err := netip.ParseAddr(strings.TrimSpace(part))
			if err != nil {
				return fmt.Errorf("source %q is not an IPv4 or IPv6 address", part)
			}
			c.Sources = append(c.Sources, a.Unmap())
		}
	}
	return nil
}

// validate looks at what the engine does not know of.
func (l *Load) validate(c *engine.Config) error {
	if l.MaxErrorRatio < 0 || l.MaxErrorRatio > 1 || math.IsNaN(l.MaxErrorRatio) {
		return fmt.Errorf("max-error-ratio %v is out of range; allowed is 0 to 1", l.MaxErrorRatio)
	}
	for id, w := range l.Weights {
		if err := wire.CheckID(id); err != nil {
			return fmt.Errorf("weights: %w", err)
		}
		if !(w >= 0) || math.IsInf(w, 1) {
			return fmt.Errorf("weight %v of endpoint %s is out of range; allowed is 0 and more", w, id)
		}
	}
	for _, e := range l.Events {
		if err := e.validate(c.Plan.Window()); err != nil {
			return err
		}
		if e.Endpoint != "" {
			c.Watch = append(c.Watch, e.Endpoint)
		}
	}
	return nil
}

func (e *Event) validate(window time.Duration) error {
	switch {
	case e.Name == "":
		return fmt.Errorf("an event at %v has no name", e.At)
	case e.At < 0 || time.Duration(e.At) > window:
		return fmt.Errorf("event %q at %v is out of range; allowed is 0 to the window's length, which is %v",
			e.Name, e.At, window)
	case e.Kind != "" && !slices.Contains(report.EventKinds, e.Kind):
		return fmt.Errorf("event %q: kind %q is not known; allowed are %s",
			e.Name, e.Kind, strings.Join(report.EventKinds, ", "))
	}
	if e.Endpoint != "" {
		if err := wire.CheckID(e.Endpoint); err != nil {
			return fmt.Errorf("event %q: endpoint: %w", e.Name, err)
		}
	}
	return nil
}

func (l *Load) settings(c engine.Config) report.Settings {
	s := report.Settings{
		Mode: l.Mode, Loop: report.Loop(l.Closed), Arrivals: c.Plan.Arrivals.String(), Rate: c.Plan.Rate, Count: c.Plan.Count,
		Warmup: c.Plan.Warmup.Seconds(), Timeout: c.Timeout.Seconds(),
		ConnectionsMax: c.ConnectionsMax, Connections: c.Connections,
		Workers: c.Plan.Workers, Seed: c.Plan.Seed, Sources: []string{}, Targets: []string{}, MaxErrorRatio: l.MaxErrorRatio,
		Weights:   l.Weights,
		Direction: l.Direction,
	}
	if !c.Plan.Closed || c.Plan.Count == 0 {
		s.Duration = c.Plan.Window().Seconds()
	}
	for _, p := range c.Plan.Phases {
		s.Phases = append(s.Phases, report.Phase{From: p.From, To: p.To, Length: p.Length.Seconds()})
	}
	switch c.Mode {
	case engine.UDPRR:
		s.UDPPort = string(c.UDPPort)
	case engine.CRR, engine.Connect:
		s.Close = string(c.Close)
	}
	for _, t := range c.Targets {
		s.Targets = append(s.Targets, t.String())
	}
	for _, a := range c.Sources {
		s.Sources = append(s.Sources, a.String())
	}
	return s
}
