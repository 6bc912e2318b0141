// Command lab runs a command, as root, on a kernel that has IPVS: the machine's own kernel, or one that it boots.
//
//	lab run [flags] -- COMMAND [ARG...]   run the command
//	lab which                             say which kernel would be taken, and why not the others
//	lab install PROGRAM[:PACKAGE]...      install the Debian packages of these programs that are not there
//	lab check                             inside: does the kernel have all that the tests need?
//
// The command's output is passed on, and its exit status is lab's. What the command writes is gone afterwards, except
// below the directories named by --write: the machine stays as it was, but for vm.max_map_count, which is raised where
// it is low.
//
// The same program is the guest's first process: the kernel that lab boots starts it as init.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/internal/debian"
)

// Exit statuses of lab itself; all others are the command's.
const (
	exitPackages = 2  // packages or rights are missing; the command to type was printed
	exitUsage    = 64 // wrong use
	exitNoLab    = 69 // no kernel with IPVS can be had here
	exitBroken   = 70 // the guest died without an exit status
	exitTimeout  = 75 // the command took longer than --timeout
	exitSignal   = 128
)

func main() { os.Exit(run()) }

func run() int {
	if os.Getpid() == 1 && filepath.Base(os.Args[0]) == "init" {
		return guestInit()
	}
	// The guest dies with lab because of a parent-death signal, and that is bound to the thread which starts the guest.
	runtime.LockOSThread()
	if len(os.Args) < 2 {
		return usage()
	}
	switch os.Args[1] {
	case "which":
		return which()
	case "run":
		ctx, stop := untilSignal(context.Background())
		defer stop()
		return runCommand(ctx, os.Args[2:])
	case "install":
		ctx, stop := untilSignal(context.Background())
		defer stop()
		return installPrograms(ctx, os.Args[2:])
	case "check":
		return check()
	case guardArg:
		return guard(os.Args[2:])
	case ownInitArg:
		return ownInit(os.Args[2:])
	case checkInsideArg:
		return checkInside()
	case checkPeerArg:
		return checkPeer()
	}
	return usage()
}

func usage() int {
	fmt.Fprintln(os.Stderr, `usage: lab run [--kernel auto|own|uml|qemu] [--mem 3G] [--timeout 20m] [--write DIR]... -- COMMAND [ARG...]
       lab which
       lab install PROGRAM[:PACKAGE]...
       lab check

A booted kernel is described by these variables of the environment, too:
  LAB_KERNEL   auto, own, uml or qemu, as --kernel
  LAB_MEM      its memory, as --mem
  LAB_SUITE    qemu: the suite of Debian's archive that the kernel comes from: `+strings.Join(suites, ", ")+`
               (nothing: this machine's own); each is downloaded once
  LAB_IPTABLES uml, qemu: nft or legacy, or either with /SUITE, whose release of iptables is then taken, as in nft/sid
  LAB_CPUS     qemu: the number of processors (2)
  LAB_THREADS  qemu: single, processors take turns (the default), or multi, they truly run at once
  LAB_CLOCK    qemu: real (the default), or what each instruction takes, 1ns, 2ns, 4ns or 8ns: the guest's clock counts what it
               executes, whatever else this machine does
  LAB_PATIENCE the factor by which tests wait longer (qemu: `+patience+`, else 1)`)
	return exitUsage
}

// errSignal is why the context ended when lab got a signal.
type errSignal struct{ syscall.Signal }

func (e errSignal) Error() string { return "ended by the signal " + e.String() }

// untilSignal returns a context that SIGINT, SIGTERM and SIGHUP end, with the signal as its cause.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		if sig, ok := (<-signals).(syscall.Signal); ok {
			cancel(errSignal{sig})
		}
	}()
	return ctx, func() { cancel(nil) }
}

type stringList []string

func (l *stringList) String() string     { return strings.Join(*l, ",") }
func (l *stringList) Set(s string) error { *l = append(*l, s); return nil }

func runCommand(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("lab run", flag.ContinueOnError)
	kernel := flags.String("kernel", envOr("LAB_KERNEL", "auto"),
		"auto, own, uml or qemu; also by the environment variable LAB_KERNEL")
	mem := flags.String("mem", envOr("LAB_MEM", "3G"),
		"memory of a booted kernel; also by the environment variable LAB_MEM")
	timeout := flags.Duration("timeout", 20*time.Minute, "kill the guest after this time")
	var write stringList
	flags.Var(&write, "write", "a directory that the command may write for good; may be repeated")
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
		return usage()
	}
	j, err := newJob(flags.Args(), write)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return exitUsage
	}
	j.Mem = *mem
	choice, err := prepare(ctx, *kernel)
	var sig errSignal
	switch {
	case errors.As(context.Cause(ctx), &sig):
		fmt.Fprintln(os.Stderr, "lab:", sig)
		return exitSignal + int(sig.Signal)
	case err != nil:
		return refused(err)
	}
	if j.Iptables, err = chosenIptables(choice.kind); err == nil {
		j.Iptables, err = fetchIptables(ctx, j.Iptables)
	}
	if err != nil {
		return refused(err)
	}
	j.show(j.Iptables.Root)
	fmt.Fprintf(os.Stderr, "lab: %s (%s)\n", choice.name(), choice.why)
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	status, err := runners[choice.kind](ctx, j)
	switch {
	case err == nil:
		return status
	case errors.As(context.Cause(ctx), &sig):
		fmt.Fprintln(os.Stderr, "lab:", sig)
		return exitSignal + int(sig.Signal)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		fmt.Fprintf(os.Stderr, "lab: not finished after %s, killed\n", *timeout)
		return exitTimeout
	}
	fmt.Fprintln(os.Stderr, "lab:", err)
	return exitBroken
}

// runners runs a job on each kind of kernel.
var runners = map[kind]func(context.Context, job) (int, error){own: runOwn, uml: runUML, qemu: runQEMU}

// prepare chooses a kernel and installs what it needs. The machine's own kernel is tried out before it is trusted: only
// loading the modules shows whether it has them.
func prepare(ctx context.Context, wanted string) (choice, error) {
	wanted, err := settle(wanted)
	if err != nil {
		return choice{}, err
	}
	f := gather()
	if f.mayInstall() && f.listsEmpty && somethingMissing(f) {
		if err := debian.UpdateLists(ctx); err != nil {
			return choice{}, err
		}
		f = gather()
	}
	for {
		c, err := choose(wanted, f)
		if err != nil {
			return choice{}, err
		}
		if err := install(ctx, c.packages); err != nil {
			return choice{}, err
		}
		if c.kind != own {
			return c, nil
		}
		if f.ownLacks = tryOwn(ctx); f.ownLacks == "" || ctx.Err() != nil {
			return c, nil
		}
	}
}

// settle checks the choice before anything is installed or downloaded. A suite's kernel can only be emulated.
func settle(wanted string) (string, error) {
	from, err := chosenSuite("")
	if err != nil {
		return "", err
	}
	if _, err := chosenProcessors(); err != nil {
		return "", err
	}
	switch {
	case from.Name == "" || wanted == string(qemu):
		return wanted, nil
	case wanted == "auto":
		return string(qemu), nil
	}
	return "", fmt.Errorf("LAB_SUITE=%s names a kernel for an emulated machine; --kernel must be qemu or auto, not %q",
		from.Name, wanted)
}

func which() int {
	wanted, err := settle(envOr("LAB_KERNEL", "auto"))
	if err != nil {
		return refused(err)
	}
	f := gather()
	c, err := choose(wanted, f)
	if err == nil {
		fmt.Printf("%s (%s)\n", c.name(), c.why)
	}
	for _, w := range ways(f) {
		fmt.Println(w.line(c.kind))
	}
	if err != nil {
		return refused(err)
	}
	return 0
}

// refused says why there is no kernel to run on, and returns the exit status for it.
func refused(err error) int {
	fmt.Fprintln(os.Stderr, "lab:", err)
	var todo errTodo
	if errors.As(err, &todo) {
		return exitPackages
	}
	return exitNoLab
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
