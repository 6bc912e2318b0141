//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/benchmark"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// count counts system calls, by strace, of ours, and of every proxy at 100 Services. Nothing is timed meanwhile: strace
// stops a process at every call that it watches.
func (b *bench) count(services int) {
	b.t.Helper()
	for _, s := range b.subjects() {
		if services > s.largest || s.name != benchmark.Ours && services > min(100, b.peerLimit) {
			continue
		}
		calls := b.calls(s, services)
		b.add(benchmark.Run{Proxy: s.name, Arguments: s.arguments, Source: "API", Services: services, Calls: calls})
	}
}

func (b *bench) calls(s subject, services int) *benchmark.Calls {
	b.t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		return &benchmark.Calls{NotCounted: "there is no strace"}
	}
	file := filepath.Join(b.t.TempDir(), "calls")
	// The tracer is a grandchild, so that the process that is measured, and ended, is the proxy itself.
	run := b.run(s, services, options{under: []string{
		strace, "-D", "-f", "-qq", "-y", "-s", "0", "-e", "trace=%network,execve,exit_group", "-e", "signal=none", "-o", file,
	}})
	if run.Failure != "" {
		return &benchmark.Calls{NotCounted: "under strace: " + firstLine(run.Failure)}
	}
	var text []byte
	err = harness.Await(time.Minute, func() error {
		var err error
		if text, err = os.ReadFile(file); err == nil && !strings.Contains(string(text), "exit_group(") {
			err = errors.New("strace has not ended")
		}
		return err
	})
	if err != nil {
		return &benchmark.Calls{NotCounted: fmt.Sprintf("under strace: %v, %d bytes", err, len(text))}
	}
	calls := benchmark.CountCalls(string(text))
	return &calls
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
