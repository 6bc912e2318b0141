package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// The lines by which a guest reports to this program, on the host, what it does. What stands between begin and end is
// the test's output.
const (
	saysWhat  = "== guests: this is "
	saysBegin = "== guests: begin "
	saysEnd   = "== guests: end "
)

// testTimeout is how long one test may take on a machine that is not emulated.
const testTimeout = 12 * time.Minute

// insideGuest takes tests and runs them until none is left.
func insideGuest(guest int, out string) int {
	b := board{boardDir(out)}
	tasks, err := b.read()
	if err != nil {
		fmt.Fprintln(os.Stderr, "guests:", err)
		return 1
	}
	fmt.Println(saysWhat + kernelAndIptables())
	for _, t := range tasks {
		mine, err := b.take(t, guest)
		if err != nil {
			fmt.Fprintln(os.Stderr, "guests:", err)
			return 1
		}
		if !mine {
			continue
		}
		fmt.Println(saysBegin + t.Name)
		began := time.Now()
		verdict := pass
		args := append([]string{
			"-test.v", "-test.timeout", harness.Patiently(testTimeout).String(), "-test.run", "^" + t.Test + "$",
		}, t.Flags...)
		cmd := exec.Command(t.Program, args...)
		// Files, not pipes: a program that outlives its test must not keep this one waiting.
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, "guests:", err) // no fault of the test's
			return 1
		}
		if err := cmd.Wait(); err != nil {
			verdict = fail
			fmt.Println(err)
		}
		fmt.Println(saysEnd + string(verdict) + " " + strconv.FormatFloat(time.Since(began).Seconds(), 'f', 1, 64) + " " +
			t.Name)
	}
	return 0
}

// kernelAndIptables says what the tests ran on.
func kernelAndIptables() string {
	kernel := "an unknown kernel"
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = "Linux " + strings.TrimSpace(string(text))
	}
	version, err := exec.Command("iptables", "--version").Output()
	if err != nil {
		return kernel + " without iptables"
	}
	return kernel + " with " + strings.TrimSpace(string(version))
}
