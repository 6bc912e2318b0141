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

// life is a run of the proxy, from its start to its end.
type life struct {
	process *exec.Cmd
	output  tail
	began   time.Time
	before  snapshot // of the counters, just before
	ended   chan struct{}
	failed  error // valid when ended is closed
}

func begin(words []string) (*life, error) {
	l := &life{process: exec.Command(words[0], words[1:]...), ended: make(chan struct{})}
	l.process.Stdout, l.process.Stderr = &l.output, &l.output
	// A group of its own, so that an interrupt of this program does not end the proxy before it has been measured.
	l.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	l.began = time.Now()
	if err := l.process.Start(); err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	go func() {
		l.failed = l.process.Wait()
		close(l.ended)
	}()
	return l, nil
}

func (l *life) pid() int { return l.process.Process.Pid }

func (l *life) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// stopGrace is how long the proxy may take to end after SIGTERM.
const stopGrace = 30 * time.Second

func (l *life) end() {
	_ = l.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-l.ended:
	case <-time.After(stopGrace):
		_ = l.process.Process.Kill()
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
