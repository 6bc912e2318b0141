// Package churn does what a list of events says while load runs, and notes when.
package churn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/spec"
)

// CommandTimeout bounds the command of an event.
const CommandTimeout = 10 * time.Minute

// grace is how long what a command left behind may still hold its output.
const grace = time.Second

// Start does each event at its time after the beginning of the window. The function that it returns waits for those
// that have begun, and drops the rest when the context has ended. It returns what happened. What the commands print
// goes to log.
func Start(ctx context.Context, window time.Time, events []spec.Event, log io.Writer) func() []report.Happening {
	var mu sync.Mutex
	var done []report.Happening
	var running sync.WaitGroup
	log = &locked{w: log}
	for _, e := range events {
		running.Go(func() {
			Wait(ctx, time.Until(window.Add(time.Duration(e.At))))
			if ctx.Err() != nil {
				return
			}
			h := report.Happening{Name: e.Name, Kind: e.Kind, Endpoint: e.Endpoint, Command: e.Command, Began: time.Now()}
			if h.Kind == "" {
				h.Kind = "other"
			}
			if e.Command != "" {
				if err := Run(ctx, e.Command, log); err != nil {
					h.Failure = err.Error()
				}
			}
			h.Ended = time.Now()
			mu.Lock()
			done = append(done, h)
			mu.Unlock()
		})
	}
	return func() []report.Happening {
		running.Wait()
		return done
	}
}

// Run runs a command by sh, in a process group of its own. The group is killed when the context ends or the command
// takes too long. What it starts in the background with its output elsewhere lives on. The error ends with the last
// line that it printed.
func Run(ctx context.Context, command string, log io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, CommandTimeout, fmt.Errorf("it took longer than %v", CommandTimeout))
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", command)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = grace
	var output bytes.Buffer
	c.Stdout = io.MultiWriter(log, &output)
	c.Stderr = c.Stdout
	err := c.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case context.Cause(ctx) != nil:
		err = context.Cause(ctx)
	}
	if last := lastLine(output.String()); last != "" {
		return fmt.Errorf("%w: %s", err, last)
	}
	return err
}

// Wait returns after d, or when the context ends.
func Wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// locked lets several commands print to one writer.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
