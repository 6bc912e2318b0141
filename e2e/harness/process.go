package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// Programs is the directory with ipvs-proxier and ipvs-load.
type Programs string

// Path returns a program's path.
func (p Programs) Path(name string) string { return filepath.Join(string(p), name) }

// Process is a running program. Its output is kept.
type Process struct {
	Name string

	cmd    *exec.Cmd
	output lockedBuffer
	ended  chan struct{}
	err    error
}

// Start starts a program on the host.
func Start(h *topology.Host, name string, args ...string) (*Process, error) {
	p := &Process{Name: filepath.Base(name), cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := h.Start(p.cmd); err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", name, h.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// PID is its number, for commands that end it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what the program has printed so far.
func (p *Process) Output() string { return p.output.String() }

// Ended reports whether the program has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Signal sends a signal and waits for the end of the program; the error is its exit status.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !p.Ended() {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	select {
	case <-p.ended:
		return p.err
	case <-time.After(Patiently(20 * time.Second)):
		p.Kill()
		return fmt.Errorf("%s did not end in time after signal %q\n%s", p.Name, s, p.Output())
	}
}

// Kill ends the program without its knowledge.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// Hopeless is an error for which Await does not wait.
type Hopeless struct{ error }

// Unwrap returns the error itself.
func (h Hopeless) Unwrap() error { return h.error }

// GiveUp has Await return the error at once.
func GiveUp(err error) error { return Hopeless{err} }

// Patiently lengthens the time that something may take where everything takes longer: by the factor in LAB_PATIENCE,
// which the lab sets in an emulated machine.
func Patiently(timeout time.Duration) time.Duration {
	return time.Duration(float64(timeout) * patience())
}

// Unhurriedly lowers a rate where everything takes longer, as Patiently lengthens a time: clients that send more than
// an emulated machine can carry measure the machine. It returns atLeast or more.
func Unhurriedly(rate, atLeast int) int {
	return max(atLeast, int(float64(rate)/patience()))
}

// patience is the factor of LAB_PATIENCE, 1 or more.
func patience() float64 {
	factor, err := strconv.ParseFloat(os.Getenv("LAB_PATIENCE"), 64)
	if err != nil {
		return 1
	}
	return max(1, factor)
}

// Await asks ready, about every 20 ms, until it returns nil or Hopeless; after the timeout, lengthened as Patiently
// does, its last error is returned.
func Await(timeout time.Duration, ready func() error) error {
	timeout = Patiently(timeout)
	deadline := time.Now().Add(timeout)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if hopeless := (Hopeless{}); errors.As(err, &hopeless) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %s: %w", timeout, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// awaitOutput waits until the program has printed the text.
func (p *Process) awaitOutput(text string) error {
	return Await(30*time.Second, func() error {
		if bytes.Contains([]byte(p.Output()), []byte(text)) {
			return nil
		}
		if p.Ended() {
			return Hopeless{fmt.Errorf("%s ended: %w\n%s", p.Name, p.err, p.Output())}
		}
		return errors.New(p.Name + " has not printed " + text + "\n" + p.Output())
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
