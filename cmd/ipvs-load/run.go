package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/churn"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/html"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/spec"
)

func runCommand() *cobra.Command {
	var l spec.Load
	var out outputs
	c := &cobra.Command{
		Use:   "run --mode MODE --rate N [--duration D | --count N] TARGET...",
		Short: "Send requests at a rate and report latencies, endpoints and errors",
		Long: `run sends requests at a rate that does not depend on the answers (open loop). Each request has an intended start;
its latency runs from there to its completion, so waiting behind a slow request counts. Targets are servers started
by "ipvs-load serve", directly or behind a Service, and take turns.

Modes: connect (SYN to SYN-ACK), crr (connect, request, reply, close), rr (on connections that stay), idle (many
connections that speak once in a while), stream (as many bytes as go through), udp-rr.

Exit status: 0 fine; 1 more errors than --max-error-ratio allows, or a lost connection; 2 wrong use; 3 nothing was
answered; 4 everything was refused; 5 the client could not keep the rate.
A run that is interrupted (INT, TERM) prints what it has and is judged by that. USR1 ends the sending instead: what is
open is waited for, each request for its timeout at most.`,
		Example: `  ipvs-load run --mode crr --rate 1000 --duration 30s tcp://10.96.0.10:80
  ipvs-load run --mode crr --rate 100:10s,100..5000:1m --json tcp://[fd00:96::10]:80 > run.json
  ipvs-load run --mode idle --connections 5000 --interval 30s --duration 5m tcp://10.96.0.10:80
  ipvs-load run --mode stream --connections 4 --direction upload tcp://10.96.0.10:80
  ipvs-load run --mode crr --closed --concurrency 64 --count 100000 tcp://10.96.0.10:80
  ipvs-load run --mode udp-rr --rate 2000 --arrivals poisson udp://10.96.0.10:53
  ipvs-load run --mode crr --rate 500 --event '10s removed web-3 kubectl delete pod web-3' tcp://10.96.0.10:80
  ipvs-load run --mode crr --rate 20000 --source 10.0.0.2,10.0.0.3 tcp://10.96.0.10:80 tcp://10.96.0.11:80`,
	}
	defineLoad(c, &l)
	out.define(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		l.Targets = args
		config, settings, err := l.Config()
		if err == nil {
			err = out.open()
		}
		if err != nil {
			return usageError{Err: withAddresses(c.Context(), err)}
		}
		ctx, stop := untilSignal(c.Context())
		defer stop()
		// Not a child of ctx: an interruption is no end of the sending.
		enough, deaf := signal.NotifyContext(context.Background(), syscall.SIGUSR1)
		defer deaf()
		config.Enough = enough.Done()
		p, result, err := load(ctx, c.ErrOrStderr(), config, settings, l.Events, !out.quiet)
		if err != nil {
			return err
		}
		return out.write(c.OutOrStdout(), p, result)
	}
	return c
}

// defineLoad makes a flag of each field. Their defaults are those of package spec, because some depend on others.
func defineLoad(c *cobra.Command, l *spec.Load) {
	f := c.Flags()
	duration := func(d *spec.Duration, name, usage string) { f.DurationVar((*time.Duration)(d), name, 0, usage) }
	f.StringVar(&l.Mode, "mode", "", "what a request does: connect, crr, rr, idle, stream (TCP, SCTP) or udp-rr")
	f.Var(&l.Rate, "rate", "requests per second over all targets, or phases of it: 100:10s,100..1000:1m is 10 s at 100 and a minute's rise")
	f.BoolVar(&l.Closed, "closed", false, "closed loop: --concurrency requests at a time and no rate; latencies look better than users find them")
	f.IntVar(&l.Concurrency, "concurrency", 0, "requests that a closed loop has open")
	duration(&l.Duration, "duration", "length of the measured part (default 10s, unless --count or phases say otherwise)")
	f.Int64Var(&l.Count, "count", 0, "number of measured requests, instead of a duration")
	duration(&l.Warmup, "warmup", "send for this long before measuring")
	duration(&l.Timeout, "timeout", "of one request, from its actual start; a timeout counts with this time (default 5s)")
	f.IntVar(&l.Connections, "connections", 0, "connections that rr, idle and stream hold (default 10)")
	duration(&l.Interval, "interval", "of idle: each connection speaks once in it (default 10s)")
	f.StringVar(&l.Direction, "direction", "", "of stream: download or upload (default download)")
	f.IntVar(&l.ConnectionsMax, "connections-max", 0,
		"requests that may be open at once (default 10000, or what the limit of open files allows)")
	f.StringVar(&l.Arrivals, "arrivals", "", "how intended starts are spaced: constant or poisson (default constant)")
	f.Uint64Var(&l.Seed, "seed", 0, "of poisson arrivals: the same seed gives the same starts (default 1)")
	f.StringSliceVar(&l.Sources, "source", nil,
		"source `ADDRESS`, may be repeated; taken in turn (default: the kernel's choice)")
	f.StringVar(&l.UDPPort, "udp-port", "",
		"source port of udp-rr: rotate (a new socket for each request) or fixed (one for each target and source) (default rotate)")
	f.StringVar(&l.Close, "close", "", "how connect and crr close: fin (ordinary, leaves TIME_WAIT) or reset (RST) (default fin)")
	f.IntVar(&l.Workers, "workers", 0, "event loops (default: one for each 5000 requests per second, at most one per processor)")
	f.Float64Var(&l.MaxErrorRatio, "max-error-ratio", 0,
		"share of errors, and of lost connections, 0 to 1, up to which the exit status is 0")
	f.Var((*weights)(&l.Weights), "weights",
		"expected shares of the endpoints (default: equal shares of those that answer)")
	f.Var((*eventFlag)(&l.Events), "event",
		"something to do or to note at that time, may be repeated; a kind is one of added, removed, drained, ready, not-ready, scheduler, proxy, other")
}

// load carries a run out, with its events.
func load(
	ctx context.Context, stderr io.Writer, config engine.Config, settings report.Settings, events []spec.Event, live bool,
) (*report.Report, *account.Result, error) {
	endProgress := func() {}
	if live {
		config.Live, endProgress = progress(stderr, config.Plan)
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	finish := func() []report.Happening { return nil }
	config.Ready = func(window time.Time) { finish = churn.Start(running, window, events, stderr) }
	result, err := engine.Run(ctx, config)
	endProgress()
	if result == nil || result.Interrupted {
		cancel()
	}
	happened := finish()
	if err != nil {
		return nil, nil, err
	}
	return report.New(version, settings, result, happened...), result, nil
}

// untilSignal is a context that ends with INT or TERM. The first takes the handler away, so that a second one ends the
// program.
func untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// outputs are the forms in which a run is printed or saved.
type outputs struct {
	json, quiet bool
	hdrLog      string
	hdr         *os.File
	html        htmlFile
}

func (o *outputs) define(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print one JSON object instead of text")
	f.BoolVar(&o.quiet, "quiet", false, "no progress line, even on a terminal")
	f.StringVar(&o.hdrLog, "hdr-log", "", "write the distributions to this `FILE`, as an HdrHistogram log (V2)")
	f.StringVar((*string)(&o.html), "html", "", "write a page with plots to this `FILE`; one that exists is replaced")
}

// open makes the files before the load starts, which might take an hour.
func (o *outputs) open() (err error) {
	if o.hdrLog != "" {
		if o.hdr, err = os.Create(o.hdrLog); err != nil {
			return fmt.Errorf("hdr-log: %w", err)
		}
	}
	return o.html.try()
}

// write writes the run's result; an error is that of writing, or the run's own exit status.
func (o *outputs) write(stdout io.Writer, p *report.Report, result *account.Result) error {
	write := p.WriteText
	if o.json {
		write = p.WriteJSON
	}
	err := write(stdout)
	if o.hdr != nil {
		err = errors.Join(err, report.WriteHdrLog(o.hdr, result), o.hdr.Close())
	}
	err = errors.Join(err, o.html.save(html.Run{Name: "run", Report: p}))
	if err != nil {
		return err
	}
	if status := p.ExitStatus(); status != report.ExitFine {
		return exitError(status)
	}
	return nil
}
