package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/churn"
)

// ManifestsWord stands for the directory of manifests in the command line of the proxy, FileWord for a file in Apply.
const (
	ManifestsWord = "{manifests}"
	FileWord      = "{file}"
)

// Config is one measurement.
type Config struct {
	Cluster
	Changes int           // exchanges of one endpoint, one after the other
	Idle    time.Duration // watched after the first programming
	Timeout time.Duration // for the first programming, and for each change
	Apply   string        // brings a file of manifests to an API server; empty: the proxy reads the directory
	Command []string
	Log     io.Writer // what the commands print
}

// ErrNotConverged says that the kernel did not get what it should in time.
var ErrNotConverged = errors.New("the kernel did not get everything in time")

// MaxTimeout bounds every wait of a measurement.
const MaxTimeout = 24 * time.Hour

// Validate says in one sentence what makes the measurement impossible, or returns nil.
func (c *Config) Validate() error {
	if err := c.Cluster.Validate(); err != nil {
		return err
	}
	switch {
	case len(c.Command) == 0:
		return errors.New("no proxy is given; write its command line after --")
	case c.Changes < 0 || c.Changes > 100_000:
		return fmt.Errorf("changes %d are out of range; allowed is 0 to 100000", c.Changes)
	case c.Idle < 0 || c.Idle > MaxTimeout:
		return fmt.Errorf("idle %v is out of range; allowed is 0 to %v", c.Idle, MaxTimeout)
	case c.Timeout <= 0 || c.Timeout > MaxTimeout:
		return fmt.Errorf("timeout %v is out of range; allowed is more than 0 and at most %v", c.Timeout, MaxTimeout)
	case c.Apply != "" && !strings.Contains(c.Apply, FileWord):
		return fmt.Errorf("apply %q has no %s in it, where the file's name goes", c.Apply, FileWord)
	case c.Apply == "" && !slices.ContainsFunc(c.Command, func(word string) bool { return strings.Contains(word, ManifestsWord) }):
		return fmt.Errorf("the command line has no %s in it, where the directory's name goes; a proxy that reads from an API server needs --apply", ManifestsWord)
	}
	return nil
}

// Part is what a part of the measurement cost. A nil count was not measured.
type Part struct {
	Took    time.Duration
	Usage   Usage // differences, but for PeakRSS
	Packets *int64
	Bytes   *int64
}

// Result is what was found out.
type Result struct {
	First      Part
	Changes    []time.Duration // from the write of the manifest to the kernel
	Change     Part            // all changes together
	Idle       Part
	Resolution time.Duration // of the times: how far two looks at the kernel lay apart at most
	NoNetlink  string        // why netlink was not counted
}

// Run measures one proxy. When the context ends, or something fails, the result is what there is by then.
func Run(ctx context.Context, c Config) (result *Result, err error) {
	m := &measurement{config: &c, result: &Result{}, view: view{read: readTable}, generation: make([]int, c.Services)}
	if m.dir, err = os.MkdirTemp("", "ipvs-load-control-"); err != nil {
		return m.result, err
	}
	defer os.RemoveAll(m.dir)
	for i := range c.Services {
		m.want = append(m.want, c.virtualServer(i, 0))
	}
	if err := m.writeAll(ctx); err != nil {
		return m.result, err
	}
	if _, err := readTable(); err != nil {
		return m.result, err
	}
	if m.monitor, err = newMonitor(); err != nil {
		m.result.NoNetlink = err.Error()
	} else {
		defer m.monitor.close()
	}
	if err := m.start(); err != nil {
		return m.result, err
	}
	defer m.stop()
	for _, step := range []func(context.Context) error{m.first, m.changes, m.idle} {
		if err := step(ctx); err != nil {
			return m.result, err
		}
	}
	return m.result, nil
}

type measurement struct {
	config     *Config
	result     *Result
	dir        string
	want       []virtualServer
	generation []int
	view       view
	monitor    *monitor

	process *exec.Cmd
	output  tail
	began   time.Time
	before  snapshot
	ended   chan struct{}
	failed  error
}

// file of a Service. It is renamed into its place, so that nobody reads half of it.
func (m *measurement) write(service int) (string, error) {
	path := filepath.Join(m.dir, fmt.Sprintf("load-%05d.yaml", service))
	if err := os.WriteFile(path+".new", []byte(m.config.manifest(service, m.generation[service])), 0o644); err != nil {
		return "", err
	}
	return path, os.Rename(path+".new", path)
}

func (m *measurement) writeAll(ctx context.Context) error {
	if m.config.Apply == "" {
		for i := range m.config.Services {
			if _, err := m.write(i); err != nil {
				return err
			}
		}
		return nil
	}
	var all bytes.Buffer
	for i := range m.config.Services {
		fmt.Fprintf(&all, "---\n%s", m.config.manifest(i, 0))
	}
	path := filepath.Join(m.dir, "all.yaml")
	if err := os.WriteFile(path, all.Bytes(), 0o644); err != nil {
		return err
	}
	return m.apply(ctx, path)
}

func (m *measurement) apply(ctx context.Context, path string) error {
	if m.config.Apply == "" {
		return nil
	}
	if err := churn.Run(ctx, strings.ReplaceAll(m.config.Apply, FileWord, path), m.config.Log); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	return nil
}

func (m *measurement) start() error {
	var words []string
	for _, w := range m.config.Command {
		words = append(words, strings.ReplaceAll(w, ManifestsWord, m.dir))
	}
	m.process = exec.Command(words[0], words[1:]...)
	m.process.Stdout, m.process.Stderr = &m.output, &m.output
	// A group of its own, so that an interrupt of this program does not end the proxy before it has been measured.
	m.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	m.before = m.count()
	m.began = time.Now()
	if err := m.process.Start(); err != nil {
		return fmt.Errorf("start the proxy: %w", err)
	}
	m.ended = make(chan struct{})
	go func() {
		m.failed = m.process.Wait()
		close(m.ended)
	}()
	return nil
}

// stopGrace is how long the proxy may take to end after SIGTERM.
const stopGrace = 30 * time.Second

func (m *measurement) stop() {
	_ = m.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.ended:
	case <-time.After(stopGrace):
		_ = m.process.Process.Kill()
		<-m.ended
	}
}

// snapshot is every counter at one moment.
type snapshot struct {
	usage          Usage
	packets, bytes int64
}

func (m *measurement) count() snapshot {
	var s snapshot
	if m.process.Process == nil {
		s.usage.Forks, _ = readForks() // before its start a process has used nothing
	} else {
		s.usage, _ = readUsage(m.process.Process.Pid)
	}
	if m.monitor != nil {
		var err error
		if s.packets, s.bytes, err = m.monitor.read(); err != nil {
			m.result.NoNetlink = err.Error()
		}
	}
	return s
}

func (m *measurement) since(before snapshot, took time.Duration) Part {
	now := m.count()
	p := Part{Took: took, Usage: Usage{
		Own: now.usage.Own - before.usage.Own, Children: now.usage.Children - before.usage.Children, PeakRSS: now.usage.PeakRSS,
		Switches: now.usage.Switches - before.usage.Switches, Forks: now.usage.Forks - before.usage.Forks,
	}}
	if m.result.NoNetlink == "" {
		packets, bytes := now.packets-before.packets, now.bytes-before.bytes
		p.Packets, p.Bytes = &packets, &bytes
	}
	return p
}

// giving up on a wait: the context, the proxy's end, the time.
func (m *measurement) patience(ctx context.Context) func() error {
	deadline := time.Now().Add(m.config.Timeout)
	return func() error {
		select {
		case <-m.ended:
			return fmt.Errorf("the proxy has ended (%v); its last words:\n%s", m.failed, m.output.String())
		default:
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("%w (%v); the proxy's last words:\n%s", ErrNotConverged, m.config.Timeout, m.output.String())
		}
		return nil
	}
}

func (m *measurement) first(ctx context.Context) error {
	at, err := m.view.await(m.want, m.patience(ctx))
	m.result.First = m.since(m.before, at.Sub(m.began))
	m.result.Resolution = m.view.longest
	return err
}

func (m *measurement) changes(ctx context.Context) error {
	before, began := m.count(), time.Now()
	defer func() { m.result.Change = m.since(before, time.Since(began)) }()
	for i := range m.config.Changes {
		service := i * 7919 % m.config.Services // a prime: changes are spread over all
		m.generation[service]++
		want := m.config.virtualServer(service, m.generation[service])
		path, err := m.write(service)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := m.apply(ctx, path); err != nil {
			return err
		}
		at, err := m.view.await([]virtualServer{want}, m.patience(ctx))
		if err != nil {
			return fmt.Errorf("change %d: %w", i+1, err)
		}
		m.result.Changes = append(m.result.Changes, max(at.Sub(began), 0))
		m.want[service] = want
	}
	return nil
}

func (m *measurement) idle(ctx context.Context) error {
	before := m.count()
	timer := time.NewTimer(m.config.Idle)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-m.ended:
		return m.patience(ctx)()
	case <-timer.C:
	}
	m.result.Idle = m.since(before, m.config.Idle)
	// What was there stays there.
	_, err := m.view.await(m.want, m.patience(ctx))
	return err
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
