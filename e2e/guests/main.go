// Command guests runs the tests of test programs in several kernels side by side, and prints what they say.
//
//	guests [flags] PROGRAM.test...
//
// Most of a test is waiting or work on one processor, because a User-Mode Linux kernel has no more: two kernels halve
// the time. Every test is a process of its own, and each guest takes the next test that none has taken. A guest that
// dies is replaced, and the test that it had taken is run again; a test that takes a second guest with it fails. The
// exit status is 0 when every test passed, 1 when one did not.
//
// The same program is what runs in a guest (guests -inside N), started there by the lab.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	flags := flag.NewFlagSet("guests", flag.ContinueOnError)
	var c config
	lab := flags.String("lab", "bin/lab run", "the command line by which the lab runs a command")
	flags.IntVar(&c.guests, "guests", 1, "how many kernels share the tests")
	flags.StringVar(&c.pattern, "run", "", "only tests whose names match; all when empty")
	flags.StringVar(&c.out, "out", "bin/out",
		"a directory that the tests may write to, and that guests and this program share")
	flags.StringVar(&c.what, "what", "tests", "what the tests are called when all of them passed")
	flags.StringVar(&c.results, "results", "",
		"a file to which the result of each test is appended as a line of JSON; tests that it says passed are left out")
	flags.DurationVar(&c.timeout, "timeout", 27*time.Minute, "how long all may take")
	testFlags := flags.String("flags", "", "more flags for the test programs")
	inside := flags.Int("inside", 0, "in a guest: which one it is")
	if err := flags.Parse(args); err != nil {
		return 64
	}
	if *inside > 0 {
		return insideGuest(*inside, c.out)
	}
	c.lab, c.flags, c.programs = strings.Fields(*lab), strings.Fields(*testFlags), flags.Args()
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "guests:", err)
		return 1
	}
	c.self = self
	if c.out, err = filepath.Abs(c.out); err != nil {
		fmt.Fprintln(os.Stderr, "guests:", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	passed, err := runAll(ctx, c, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "guests:", err)
	}
	if err != nil || !passed {
		return 1
	}
	return 0
}

// config is what the command line chooses.
type config struct {
	lab      []string
	guests   int
	pattern  string
	out      string
	what     string
	results  string
	timeout  time.Duration
	flags    []string
	programs []string
	self     string // this program
}
