package command

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"
)

// TestRunEnds: neither a program that hangs nor a child that keeps its output open is waited for.
func TestRunEnds(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		limit  time.Duration
		want   error
	}{
		"a program that hangs":                            {"exec sleep 120", 50 * time.Millisecond, context.DeadlineExceeded},
		"a program whose child hangs with its output":     {"sleep 120; true", 50 * time.Millisecond, context.DeadlineExceeded},
		"a program that ends, with a child that does not": {"sleep 120 & echo gone", time.Hour, exec.ErrWaitDelay},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			go func() {
				_, err := run(t.Context(), c.limit, nil, "sh", "-c", c.script)
				ended <- err
			}()
			select {
			case err := <-ended:
				if failure := (*Error)(nil); !errors.Is(err, c.want) || !errors.As(err, &failure) || failure.Program != "sh" {
					t.Errorf("want %v, got %v", c.want, err)
				}
			case <-time.After(time.Minute): // far below what the program takes
				t.Fatal("is still waited for")
			}
		})
	}
}

// TestRunEndsWithTheContext: whoever gives up waits no longer.
func TestRunEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, nil, "sleep", "120"); !errors.Is(err, context.Canceled) {
		t.Errorf("want %v, got %v", context.Canceled, err)
	}
}

// TestRun: what a program reads, writes and complains of.
func TestRun(t *testing.T) {
	out, err := Run(t.Context(), []byte("a line"), "sh", "-c", "cat; echo aside >&2")
	if string(out) != "a line" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	_, err = Run(t.Context(), nil, "/bin/sh", "-c", "echo why >&2; exit 3")
	if err == nil || err.Error() != "sh: exit status 3: why" {
		t.Errorf("got %v", err)
	}
	if _, err = Run(t.Context(), nil, "no-such-program"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v, want %v", err, exec.ErrNotFound)
	}
}
