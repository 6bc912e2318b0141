// Command lab runs a command, as root, on a kernel that has IPVS: the machine's own kernel, or one that it boots.
//
//	lab run [flags] -- COMMAND [ARG...]
//	lab which
//
// The command's output is passed on, and its exit status is lab's. What the command writes is gone afterwards, except
// below the directories named by --write: the machine stays as it was.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// Exit statuses of lab itself; all others are the command's.
const (
	exitUsage   = 64 // wrong use
	exitNoLab   = 69 // no kernel with IPVS can be had here
	exitBroken  = 70 // the guest died without an exit status
	exitTimeout = 75 // the command took longer than --timeout
)

type stringList []string

func (l *stringList) String() string     { return strings.Join(*l, ",") }
func (l *stringList) Set(s string) error { *l = append(*l, s); return nil }

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 {
		return usage()
	}
	switch os.Args[1] {
	case "which":
		return which()
	case "run":
		return runCommand(ctx, os.Args[2:])
	}
	return usage()
}

func usage() int {
	fmt.Fprintln(os.Stderr, "usage: lab run [--kernel auto|own|uml|qemu] [--mem 2G] [--timeout 20m] [--write DIR]... -- COMMAND [ARG...]\n       lab which")
	return exitUsage
}

// job is what is to be run, wherever it runs.
type job struct {
	command []string
	dir     string   // working directory
	write   []string // directories that stay written
	mem     string
	timeout time.Duration
}

func runCommand(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("lab run", flag.ContinueOnError)
	kernel := flags.String("kernel", envOr("LAB_KERNEL", "auto"), "auto, own, uml or qemu; also by the environment variable LAB_KERNEL")
	mem := flags.String("mem", envOr("LAB_MEM", "3G"), "memory of a booted kernel")
	timeout := flags.Duration("timeout", 20*time.Minute, "kill the guest after this time")
	var write stringList
	flags.Var(&write, "write", "a directory that the command may write for good; may be repeated")
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
		return usage()
	}
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return exitBroken
	}
	choice, err := choose(*kernel, gather())
	if err == nil {
		err = install(choice)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return exitNoLab
	}
	fmt.Fprintf(os.Stderr, "lab: %s (%s)\n", choice.name(), choice.why)
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	status, err := choice.run(ctx, job{command: flags.Args(), dir: dir, write: write, mem: *mem, timeout: *timeout})
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		fmt.Fprintf(os.Stderr, "lab: not finished after %s, killed\n", *timeout)
		return exitTimeout
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		return exitBroken
	}
	return status
}

func which() int {
	facts := gather()
	choice, err := choose(envOr("LAB_KERNEL", "auto"), facts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return exitNoLab
	}
	fmt.Printf("%s (%s)\n", choice.name(), choice.why)
	if missing := choice.missing(facts.has); len(missing) > 0 {
		fmt.Println("to be installed:", strings.Join(missing, " "))
	}
	return 0
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
