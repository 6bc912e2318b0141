package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// defaultConnections bounds what a run opens unless told otherwise. It is a third of the ports that the kernel gives out
// (net.ipv4.ip_local_port_range holds 28,232), so that a target which does not answer does not cost the machine all of
// them.
const defaultConnections = 10_000

// defaultDuration is that of a run for which neither a duration nor a count is given.
const defaultDuration = 10 * time.Second

// runFlags are the flags of run as they were written.
type runFlags struct {
	mode, arrivals, udpPort, close string
	rate                           float64
	duration, warmup, timeout      time.Duration
	count                          int64
	connections, workers           int
	seed                           uint64
	sources                        []string
	json, quiet                    bool
	maxErrorRatio                  float64
}

func runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run --mode crr|udp-rr --rate N [--duration D | --count N] TARGET...",
		Short: "Send requests at a rate and report latencies, endpoints and errors",
		Long: `run sends requests at a rate that does not depend on the answers (open loop). Each request has an intended start;
its latency runs from there to its completion, so waiting behind a slow request counts. Targets are servers started
by "ipvs-load serve", directly or behind a Service, and take turns.

Exit status: 0 fine; 1 more errors than --max-error-ratio allows; 2 wrong use; 3 nothing was answered.
A run that is interrupted (INT, TERM) prints what it has and is judged by that.`,
		Example: `  ipvs-load run --mode crr --rate 1000 --duration 30s tcp://10.96.0.10:80
  ipvs-load run --mode crr --rate 500 --count 10000 --warmup 2s --json tcp://[fd00:96::10]:80 > run.json
  ipvs-load run --mode udp-rr --rate 2000 --arrivals poisson udp://10.96.0.10:53
  ipvs-load run --mode udp-rr --udp-port fixed --rate 200 udp://10.96.0.10:53
  ipvs-load run --mode crr --rate 20000 --source 10.0.0.2,10.0.0.3 tcp://10.96.0.10:80 tcp://10.96.0.11:80`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("no target is given; write at least one, as tcp://ADDRESS:PORT or udp://ADDRESS:PORT")}
			}
			return nil
		},
	}
	f.define(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		config, err := f.config(args)
		if err == nil {
			err = config.Validate()
		}
		if err != nil {
			return usageError{err}
		}
		return load(c, config, &f)
	}
	return c
}

func (f *runFlags) define(c *cobra.Command) {
	l := c.Flags()
	l.StringVar(&f.mode, "mode", "", "what a request does: crr (TCP connect, request, reply, close) or udp-rr (one datagram out, one back)")
	l.Float64Var(&f.rate, "rate", 0, "requests per second, over all targets")
	l.DurationVar(&f.duration, "duration", 0, "length of the measured part (default 10s, unless --count is given)")
	l.Int64Var(&f.count, "count", 0, "number of measured requests, instead of a duration")
	l.DurationVar(&f.warmup, "warmup", 0, "send for this long before measuring")
	l.DurationVar(&f.timeout, "timeout", 5*time.Second, "of one request, from its actual start; a timeout counts with this time")
	l.IntVar(&f.connections, "connections-max", 0, "requests that may be open at once (default 10000, or what the limit of open files allows)")
	l.StringVar(&f.arrivals, "arrivals", "constant", "how intended starts are spaced: constant or poisson")
	l.Uint64Var(&f.seed, "seed", 1, "of poisson arrivals: the same seed gives the same starts")
	l.StringSliceVar(&f.sources, "source", nil, "source `ADDRESS`, may be repeated; taken in turn (default: the kernel's choice)")
	l.StringVar(&f.udpPort, "udp-port", "rotate", "source port of udp-rr: rotate (a new socket for each request) or fixed (one for each target and source)")
	l.StringVar(&f.close, "close", "fin", "how crr closes: fin (ordinary, leaves TIME_WAIT) or reset (RST)")
	l.IntVar(&f.workers, "workers", 0, "event loops (default: one for each 5000 requests per second, at most one per processor)")
	l.Float64Var(&f.maxErrorRatio, "max-error-ratio", 0, "share of errors, 0 to 1, up to which the exit status is 0")
	l.BoolVar(&f.json, "json", false, "print one JSON object instead of text")
	l.BoolVar(&f.quiet, "quiet", false, "no progress line, even on a terminal")
}

// config puts the flags and the targets together, with every default that depends on another value.
func (f *runFlags) config(args []string) (engine.Config, error) {
	c := engine.Config{
		Mode: engine.Mode(f.mode), Timeout: f.timeout, UDPPort: engine.UDPPort(f.udpPort), Close: engine.Close(f.close),
		ConnectionsMax: f.connections,
		Plan:           schedule.Plan{Rate: f.rate, Warmup: f.warmup, Duration: f.duration, Count: f.count, Workers: f.workers, Seed: f.seed},
	}
	if f.mode == "" {
		return c, errors.New("no mode is given; --mode crr is for TCP, --mode udp-rr for UDP")
	}
	var err error
	if c.Plan.Arrivals, err = schedule.ParseArrivals(f.arrivals); err != nil {
		return c, err
	}
	if f.maxErrorRatio < 0 || f.maxErrorRatio > 1 || math.IsNaN(f.maxErrorRatio) {
		return c, fmt.Errorf("max-error-ratio %v is out of range; allowed is 0 to 1", f.maxErrorRatio)
	}
	if f.duration == 0 && f.count == 0 {
		c.Plan.Duration = defaultDuration
	}
	if f.workers == 0 {
		c.Plan.Workers = engine.DefaultWorkers(f.rate, c.UDPPort)
	}
	if f.connections == 0 {
		limit, err := engine.FileLimit()
		if err != nil {
			return c, err
		}
		c.ConnectionsMax = min(defaultConnections, limit)
	}
	for _, s := range args {
		t, err := target.Parse(s)
		if err != nil {
			return c, err
		}
		c.Targets = append(c.Targets, t)
	}
	for _, s := range f.sources {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return c, fmt.Errorf("source %q is not an IPv4 or IPv6 address", s)
		}
		c.Sources = append(c.Sources, a.Unmap())
	}
	return c, nil
}

// load runs and reports. The first signal ends the run with what it has, and takes the handler away, so that a second one
// ends the program.
func load(c *cobra.Command, config engine.Config, f *runFlags) error {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	endProgress := func() {}
	if !f.quiet {
		config.Live, endProgress = progress(c.ErrOrStderr(), config.Plan)
	}
	result, err := engine.Run(ctx, config)
	endProgress()
	stop()
	if err != nil {
		return err
	}
	p := report.New(version, settings(config, f), result)
	write := p.WriteText
	if f.json {
		write = p.WriteJSON
	}
	if err := write(c.OutOrStdout()); err != nil {
		return err
	}
	if status := p.ExitStatus(); status != report.ExitFine {
		return exitError(status)
	}
	return nil
}

func settings(c engine.Config, f *runFlags) report.Settings {
	s := report.Settings{
		Mode: string(c.Mode), Arrivals: c.Plan.Arrivals.String(), Rate: c.Plan.Rate, Duration: c.Plan.Window().Seconds(),
		Count: c.Plan.Count, Warmup: c.Plan.Warmup.Seconds(), Timeout: c.Timeout.Seconds(),
		ConnectionsMax: c.ConnectionsMax, Workers: c.Plan.Workers, Seed: c.Plan.Seed,
		Sources: []string{}, MaxErrorRatio: f.maxErrorRatio,
	}
	if c.Mode == engine.UDPRR {
		s.UDPPort = string(c.UDPPort)
	} else {
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
