package churn

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/spec"
)

func TestEventsAreDoneInTheirTurnAndNoted(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	window := time.Now().Add(20 * time.Millisecond)
	finish := Start(t.Context(), window, []spec.Event{
		{At: spec.Duration(60 * time.Millisecond), Name: "second", Command: "until test -e " + dir + "/first; do sleep 0.01; done; echo found"},
		{At: 0, Name: "first", Kind: "added", Endpoint: "web-1", Command: "touch " + dir + "/first"},
		{At: spec.Duration(30 * time.Millisecond), Name: "noted"},
		{At: spec.Duration(10 * time.Millisecond), Name: "broken", Command: "echo one; echo the reason >&2; exit 3"},
	}, &log)
	got := finish()
	if len(got) != 4 {
		t.Fatalf("%d of 4 events: %+v", len(got), got)
	}
	for _, h := range got {
		if h.Began.Before(window) || h.Ended.Before(h.Began) {
			t.Errorf("%s began %v after the window's beginning and ended at %v",
				h.Name, h.Began.Sub(window), h.Ended.Sub(window))
		}
		switch h.Name {
		case "first":
			if h.Kind != "added" || h.Endpoint != "web-1" || h.Failure != "" {
				t.Errorf("%+v", h)
			}
		case "second", "noted":
			if h.Kind != "other" || h.Failure != "" {
				t.Errorf("%+v", h)
			}
		case "broken":
			if h.Failure != "exit status 3: the reason" {
				t.Errorf("the failure is %q", h.Failure)
			}
		}
	}
	if !strings.Contains(log.String(), "found\n") || !strings.Contains(log.String(), "one\nthe reason\n") {
		t.Errorf("log %q", log.String())
	}
}

func TestWhatHasNotBegunIsDropped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	finish := Start(ctx, time.Now(), []spec.Event{{At: spec.Duration(time.Hour), Name: "late", Command: "false"}},
		io.Discard)
	cancel()
	if got := finish(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// A command and what it started end with the run; what it left behind on purpose does not hold the run up.
func TestCommandsEndWithTheRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	started := filepath.Join(t.TempDir(), "started")
	ended := make(chan error)
	go func() { ended <- Run(ctx, "touch "+started+"; sleep 3600 & wait", io.Discard) }()
	for {
		if _, err := os.Stat(started); err == nil {
			break
		}
		time.Sleep(time.Millisecond) // polling for the sign that the command runs
	}
	cancel()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("error %v", err)
	}
	if err := Run(t.Context(), "sleep 3600 >/dev/null 2>&1 & echo $! >"+started, io.Discard); err != nil {
		t.Error(err)
	}
	pid, err := os.ReadFile(started)
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), "kill "+string(pid), io.Discard); err != nil {
		t.Errorf("what was left behind is gone: %v", err)
	}
}
