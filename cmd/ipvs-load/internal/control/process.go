package control

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a run of the proxy, from its start to its end.
type process struct {
	command *exec.Cmd
	output  tail
	began   time.Time
	before  snapshot // of the counters, just before
	ended   chan struct{}
	failed  error // valid when ended is closed
}

func startProcess(words []string) (*process, error) {
	l := &process{command: exec.Command(words[0], words[1:]...), ended: make(chan struct{})}
	l.command.Stdout, l.command.Stderr = &l.output, &l.output
	// A group of its own, so that an interrupt of this program does not end the proxy before it has been measured.
	l.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	l.began = time.Now()
	if err := l.command.Start(); err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	go func() {
		l.failed = l.command.Wait()
		close(l.ended)
	}()
	return l, nil
}

func (l *process) pid() int { return l.command.Process.Pid }

func (l *process) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// stopGrace is how long the proxy may take to end after SIGTERM.
const stopGrace = 30 * time.Second

func (l *process) end() {
	_ = l.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-l.ended:
	case <-time.After(stopGrace):
		_ = l.command.Process.Kill()
		<-l.ended
	}
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailLength = 2000

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if len(t.text) > 2*tailLength {
		t.text = append([]byte(nil), t.text[len(t.text)-tailLength:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text[max(0, len(t.text)-tailLength):]))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
