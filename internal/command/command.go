// Package command starts programs that must end. Whoever waits for iptables or modprobe must not wait for ever: one
// that hangs would stop the loop, or keep a cleanup from its end.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// Timeout is how long a program may take. A node with 100,000 rules of others is read in some seconds.
	Timeout = 2 * time.Minute
	// pipes is how long its output is waited for after its end. A child that it has left behind may keep that open.
	pipes = time.Second
)

// Error is how a program failed.
type Error struct {
	Program string
	// Err is context.DeadlineExceeded where it has not ended in time, exec.ErrWaitDelay where a child has kept its
	// output open.
	Err error
	// Words are what it wrote to its standard error.
	Words string
}

func (e *Error) Error() string {
	switch {
	case errors.Is(e.Err, context.DeadlineExceeded):
		return fmt.Sprintf("%s has not ended in time: %v", e.Program, e.Err)
	case e.Words == "":
		return fmt.Sprintf("%s: %v", e.Program, e.Err)
	}
	return fmt.Sprintf("%s: %v: %s", e.Program, e.Err, e.Words)
}

func (e *Error) Unwrap() error { return e.Err }

// Run starts a program with the input and returns its output. It ends the program after Timeout, or with the context.
// It always returns soon after that, also where the program has left a child behind. An error is an *Error.
func Run(ctx context.Context, input []byte, program string, args ...string) ([]byte, error) {
	return run(ctx, Timeout, input, program, args...)
}

func run(ctx context.Context, limit time.Duration, input []byte, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = pipes
	cmd.Stdin = bytes.NewReader(input)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &Error{filepath.Base(program), err, strings.TrimSpace(words.String())}
	}
	return out.Bytes(), nil
}
