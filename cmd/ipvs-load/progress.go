package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
)

// progress shows a line once a second when w is a terminal, and returns the channel that feeds it and a function that
// takes the line away. Elsewhere the channel is nil and there is no line.
func progress(w io.Writer, plan schedule.Plan) (chan<- engine.Interval, func()) {
	if f, ok := w.(*os.File); !ok || !isTerminal(f) {
		return nil, func() {}
	}
	in := make(chan engine.Interval, plan.Workers)
	total := plan.Warmup + plan.Window()
	var done sync.WaitGroup
	done.Go(func() {
		var line progressLine
		for i := range in {
			if text := line.add(i, plan.Workers, total); text != "" {
				fmt.Fprintf(w, "\r\x1b[K%s", text)
			}
		}
		fmt.Fprint(w, "\r\x1b[K")
	})
	return in, func() { close(in); done.Wait() }
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// progressLine gathers one interval of each worker.
type progressLine struct {
	parts []engine.Interval
}

// add returns the line when every worker has reported, or when one has reported twice: another may be too busy.
func (l *progressLine) add(i engine.Interval, workers int, total time.Duration) string {
	complete := ""
	for _, p := range l.parts {
		if p.Worker == i.Worker {
			complete = l.take(total)
			break
		}
	}
	l.parts = append(l.parts, i)
	if len(l.parts) == workers {
		complete = l.take(total)
	}
	return complete
}

func (l *progressLine) take(total time.Duration) string {
	var answered, errors, backlog int64
	var inFlight int
	var at time.Duration
	latency := account.NewDistribution()
	for _, p := range l.parts {
		answered += p.Answered
		errors += p.Errors
		backlog += p.Backlog
		inFlight += p.InFlight
		at = max(at, p.At)
		latency.Merge(p.Latency)
	}
	l.parts = nil
	text := fmt.Sprintf("%d answered/s  p50 %v  p99 %v  %d errors/s  %d open  backlog %d  ", answered,
		round(latency.Percentile(50)), round(latency.Percentile(99)), errors, inFlight, backlog)
	if left := total - at; left > 0 {
		return text + left.Round(time.Second).String() + " left"
	}
	return text + "waiting for the last answers"
}

// round keeps about three digits.
func round(d time.Duration) time.Duration {
	grain := time.Nanosecond
	for d/grain >= 1000 {
		grain *= 10
	}
	return d.Round(grain)
}
