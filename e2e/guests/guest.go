package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// event is something that a guest says, or its end.
type event struct {
	guest  int
	line   string
	ended  bool
	status int // of the lab, when it ended
	err    error
}

// startGuest starts a guest that takes tests, and sends what it says until it has ended.
func startGuest(ctx context.Context, c config, guest int, timeout time.Duration, events chan<- event) {
	args := append(c.lab[1:len(c.lab):len(c.lab)], "--timeout", timeout.Round(time.Second).String(), "--write", c.out,
		"--",
		c.self, "-inside", strconv.Itoa(guest), "-out", c.out)
	cmd := exec.CommandContext(ctx, c.lab[0], args...)
	cmd.Stderr = os.Stderr
	// The lab ends its guest when it gets a signal.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	go func() {
		stdout, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			events <- event{guest: guest, ended: true, status: -1, err: err}
			return
		}
		lines := bufio.NewReader(stdout)
		for {
			line, err := lines.ReadString('\n')
			if line != "" {
				events <- event{guest: guest, line: strings.TrimSuffix(line, "\n")}
			}
			if err != nil {
				break
			}
		}
		err = cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = nil
		}
		events <- event{guest: guest, ended: true, status: cmd.ProcessState.ExitCode(), err: err}
	}()
}

// statusDied is the lab's exit status when a guest died; a lab that was killed has -1.
const statusDied = 70

// guest is what is known of one.
type guest struct {
	on      string // its kernel and its iptables
	current string // the test that it runs
	output  []string
	took    int // how many tests it has begun
}

// ending reads the line that ends a test; what stands before it belongs to the test, which did not end its last line.
func ending(line string) (before string, v verdict, seconds float64, found bool) {
	before, rest, found := strings.Cut(line, saysEnd)
	if !found {
		return line, "", 0, false
	}
	var name string
	if n, err := fmt.Sscanf(rest, "%s %g %s", &v, &seconds, &name); n != 3 || err != nil {
		return line, "", 0, false
	}
	return before, v, seconds, true
}

// cutPrefix finds a guest's word at the end of a line that a test began and did not end.
func cutPrefix(line, prefix string) (string, bool) {
	_, rest, found := strings.Cut(line, prefix)
	return rest, found
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

func orUnknown(on string) string {
	if on == "" {
		return "its kernel had not said its version"
	}
	return on
}
