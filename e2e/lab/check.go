package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// checkInsideArg is the argument with which this program checks the network namespace that it was started in, which is
// to be a fresh one.
const checkInsideArg = "check-inside"

// finding is one thing that the tests need of a kernel, and how it is tried.
type finding struct {
	name string
	try  func() error
}

// findings are tried in order, in a network namespace made for it.
func findings() []finding {
	var all []finding
	for _, scheduler := range []string{"rr", "lc", "sh", "mh"} {
		all = append(all, finding{"ip_vs with the scheduler " + scheduler, func() error { return tryScheduler(scheduler) }})
	}
	all = append(all,
		finding{"ip_vs sysctls of the namespace", tryVSSysctls},
		finding{"dummy link", tryDummy},
		finding{"addresses of both families on a dummy link that is down", tryDownAddresses},
	)
	for _, family := range []string{"inet", "inet6"} {
		for _, s := range setsOf(family) {
			all = append(all, finding{fmt.Sprintf("ipset %s %s", s.setType, family), func() error { return trySet(s, family) }})
		}
	}
	for _, program := range []string{"iptables", "ip6tables"} {
		for _, table := range []string{"nat", "filter"} {
			all = append(all, finding{fmt.Sprintf("%s table %s with a set match",
				program, table), func() error { return tryTable(program, table) }})
		}
	}
	return append(all, finding{"TCP between two namespaces joined by a veth pair", tryVeth})
}

// check tries the kernel that it runs on, in a namespace of its own, and prints a line for each thing.
func check() int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "lab: check: root is needed; type: lab run -- lab check")
		return exitPackages
	}
	text, err := runChecks(context.Background())
	fmt.Print(text)
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab: check: %d failed (%v)\n", len(failures(text)), err)
		return 1
	}
	return 0
}

// runChecks tries all findings in a fresh network namespace. The error is nil when all succeeded.
func runChecks(ctx context.Context) (text string, err error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", checkInsideArg)
	cmd.Env = append(os.Environ(), "PATH="+searchPath(os.Getenv("PATH")))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const (
	good = "ok   "
	bad  = "FAIL "
)

func checkInside() int {
	// Before the first link is up, a namespace has no routing tables, every address counts as a broadcast one there
	// (inet_addr_type), and IPVS takes no real server.
	if err := loopbackUp(); err != nil {
		fmt.Printf("%sloopback: %s\n", bad, err)
		return 1
	}
	status := 0
	for _, f := range findings() {
		if err := f.try(); err != nil {
			fmt.Printf("%s%s: %s\n", bad, f.name, strings.ReplaceAll(err.Error(), "\n", " | "))
			status = 1
			continue
		}
		fmt.Printf("%s%s\n", good, f.name)
	}
	return status
}

// failures returns what failed, of the text of checkInside.
func failures(text string) []string {
	var failed []string
	for line := range strings.Lines(text) {
		if what, found := strings.CutPrefix(strings.TrimSpace(line), bad); found {
			failed = append(failed, what)
		}
	}
	return failed
}

// call runs a program and returns what it printed.
func call(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// calls runs programs, each line one, until one fails.
func calls(lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		if _, err := call(words[0], words[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// shows runs a program and fails unless it prints a text.
func shows(want, line string) error {
	words := strings.Fields(line)
	out, err := call(words[0], words[1:]...)
	if err != nil {
		return err
	}
	if !strings.Contains(out, want) {
		return fmt.Errorf("%s does not show %q but %q", line, want, out)
	}
	return nil
}
