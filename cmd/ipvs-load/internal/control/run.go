package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/churn"
)

// Part is what a part of the measurement cost. Nil traffic was not measured.
type Part struct {
	Took    time.Duration
	Usage   Usage // differences, but for memory
	Traffic *Traffic
	// Counters are by how much those of the proxy's own have grown meanwhile.
	Counters map[string]float64
}

// Result is what was found out.
type Result struct {
	Loaded time.Duration // the objects were written
	Busy   bool          // the machine did not become quiet before the proxy was started

	First    Part           // its time is that of the last real server, its costs are those until all was complete
	Complete *time.Duration // until everything that belongs to a complete dataplane was there; nil: nothing was named
	Ready    *time.Duration // until the proxy was seen to say that it was ready; polled after Complete

	Changes    []time.Duration // from the write of the object to the kernel
	Change     Part            // all changes together
	Histograms []Histogram     // what the proxy's own metrics say about them

	Idle    Part
	Restart Part // its time is until the proxy said that it was ready

	Resolution time.Duration // of the times: how far two looks at the kernel lay apart at most
	NoNetlink  string        // why netlink was not counted
	NoMetrics  string        // why the proxy's metrics were not read
}

// Histogram is one of the proxy's own, over the changes.
type Histogram struct {
	Name, Labels string
	Count        float64
	P50, P99     float64 // in its unit, interpolated in its buckets
}

// Run measures one proxy. When the context ends, or something fails, the result is what there is by then.
func Run(ctx context.Context, c Config) (result *Result, err error) {
	m := &measurement{config: &c, result: &Result{}, generation: make([]int, c.Services)}
	for i := range c.Services {
		m.want = append(m.want, c.virtualServer(i, 0))
	}
	if m.dir, err = os.MkdirTemp("", "ipvs-load-control-"); err != nil {
		return m.result, err
	}
	defer os.RemoveAll(m.dir)
	began := time.Now()
	if err := m.writeAll(ctx); err != nil {
		return m.result, err
	}
	m.result.Loaded = time.Since(began)
	closeKernel, err := m.openKernel()
	if err != nil {
		return m.result, err
	}
	defer closeKernel()
	stopRecording, err := m.openMonitor()
	if err != nil {
		return m.result, err
	}
	defer stopRecording()
	if err := m.start(ctx); err != nil {
		return m.result, err
	}
	defer m.stop()
	for _, step := range []func(context.Context) error{m.first, m.changes, m.idle, m.restart} {
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
	api        *apiServer
	want       []virtualServer
	generation []int
	poll       poller
	vips       *vips
	sets       *ipsets
	monitor    *monitor
	process    *process
	recording  *os.File
}

func (m *measurement) openKernel() (close func(), err error) {
	closeIPVS := func() {}
	if m.config.Iptables {
		m.poll = poller{read: func() (table, error) { return readIptables(m.config.IPv6) }}
	} else {
		ipvs, err := openIPVS(m.config.Endpoints, m.config.IPv6)
		if err != nil {
			return nil, err
		}
		closeIPVS = ipvs.close
		m.poll = poller{read: readTable, count: ipvs.count, real: ipvs.real}
	}
	if _, err := m.poll.read(); err != nil {
		closeIPVS()
		return nil, err
	}
	var failed1, failed2 error
	m.vips, failed1 = openVIPs()
	m.sets, failed2 = openIPSets()
	return func() {
		closeIPVS()
		m.vips.socket.Close()
		m.sets.socket.Close()
	}, errors.Join(failed1, failed2)
}

// openMonitor begins to count netlink. Where that cannot be done it is said, and nothing else suffers, unless it was to
// be recorded.
func (m *measurement) openMonitor() (stop func(), err error) {
	var record io.Writer
	if m.config.Record != "" {
		if m.recording, err = os.Create(m.config.Record); err != nil {
			return nil, err
		}
		record = m.recording
	}
	if m.monitor, err = newMonitor(record); err != nil {
		if m.recording != nil {
			return nil, fmt.Errorf("record: %w", err)
		}
		m.result.NoNetlink = err.Error()
		return func() {}, nil
	}
	return m.monitor.close, nil
}

// write brings the manifest of a Service to its file. It is renamed into its place, so that nobody reads half of it.
func (m *measurement) write(service int) (string, error) {
	path := filepath.Join(m.dir, fmt.Sprintf("load-%05d.yaml", service))
	if err := os.WriteFile(path+".new", []byte(m.config.manifest(service, m.generation[service])), 0o644); err != nil {
		return "", err
	}
	return path, os.Rename(path+".new", path)
}

func (m *measurement) writeAll(ctx context.Context) (err error) {
	switch {
	case m.config.Kubeconfig != "":
		if m.api, err = dialAPI(m.config.Kubeconfig); err != nil {
			return err
		}
		if err := m.api.ensure(ctx, &m.config.Cluster); err != nil {
			return fmt.Errorf("write the objects: %w", err)
		}
		return nil
	case m.config.Apply == "":
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

// start begins a process of the proxy when the machine is quiet.
func (m *measurement) start(ctx context.Context) error {
	quiet, err := awaitQuiet(ctx)
	if err != nil {
		return err
	}
	m.result.Busy = m.result.Busy || !quiet
	var words []string
	for _, w := range m.config.Command {
		words = append(words, strings.ReplaceAll(w, ManifestsWord, m.dir))
	}
	before := m.count()
	m.process, err = startProcess(words)
	if err == nil {
		m.process.before = before
	}
	return err
}

func (m *measurement) stop() {
	if m.process != nil {
		m.process.end()
		m.process = nil
	}
}

// snapshot is every counter at one moment.
type snapshot struct {
	usage   Usage
	traffic Traffic
}

func (m *measurement) count() snapshot {
	var s snapshot
	if m.process == nil {
		s.usage.Forks, s.usage.Tasks, _ = readTasks() // before its start a process has used nothing
	} else {
		s.usage, _ = readUsage(m.process.pid())
	}
	if m.monitor != nil {
		var err error
		if s.traffic, err = m.monitor.read(); err != nil {
			m.result.NoNetlink = err.Error()
		}
	}
	return s
}

func (m *measurement) since(before snapshot, took time.Duration) Part {
	now := m.count()
	p := Part{Took: took, Usage: now.usage.minus(before.usage)}
	if m.monitor != nil && m.result.NoNetlink == "" {
		p.Traffic = &Traffic{
			now.traffic.Buffers - before.traffic.Buffers, now.traffic.Bytes - before.traffic.Bytes,
			now.traffic.Requests.minus(before.traffic.Requests),
		}
	}
	return p
}

// patience gives up on a wait: the context, the proxy's end, the time.
func (m *measurement) patience(ctx context.Context) func() error {
	deadline := time.Now().Add(m.config.Timeout)
	proxy := m.process
	return func() error {
		switch {
		case proxy.over():
			return fmt.Errorf("the proxy has ended (%v); its last words:\n%s", proxy.failed, proxy.output.String())
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("%w (%v); the proxy's last words:\n%s", ErrNotConverged, m.config.Timeout, proxy.output.String())
		}
		return nil
	}
}

func (m *measurement) first(ctx context.Context) error {
	give := m.patience(ctx)
	at, err := m.poll.all(m.want, give)
	m.result.First.Took = at.Sub(m.process.began)
	m.result.Resolution = m.poll.longest
	if err == nil {
		err = m.complete(ctx, at, give)
	}
	m.result.First = m.since(m.process.before, m.result.First.Took)
	if err == nil && m.config.Ready != nil {
		var ready time.Time
		if ready, err = m.ready(ctx); err == nil {
			took := ready.Sub(m.process.began)
			m.result.Ready = &took
		}
	}
	if m.recording != nil {
		err = errors.Join(err, m.monitor.endRecord(), m.recording.Close())
	}
	return err
}

// complete waits for what belongs to a complete dataplane beside real servers, which are there since at.
func (m *measurement) complete(ctx context.Context, at time.Time, give func() error) error {
	var lacks string
	for _, part := range []struct {
		named bool
		look  func() (bool, error)
	}{
		{len(m.config.VIPs) > 0, func() (there bool, err error) {
			for _, w := range m.config.VIPs {
				n, err := m.vips.count(w.Name, m.config.IPv6)
				if lacks = fmt.Sprintf("link %s has %d addresses of %d", w.Name, max(n, 0), w.Entries); err != nil ||
					n < w.Entries {
					return false, err
				}
			}
			return true, nil
		}},
		{len(m.config.Sets) > 0, func() (there bool, err error) {
			lacks, err = m.sets.missing(m.config.Sets)
			return lacks == "", err
		}},
		{m.config.Settled != "", func() (bool, error) {
			lacks = "not settled: " + m.config.Settled
			return churn.Run(ctx, m.config.Settled, io.Discard) == nil, nil
		}},
	} {
		if !part.named {
			continue
		}
		when, err := m.poll.patiently(part.look, restDear, give)
		if err != nil {
			return fmt.Errorf("%w (%s)", err, lacks)
		}
		if when.After(at) {
			at = when
		}
		took := at.Sub(m.process.began)
		m.result.Complete = &took
	}
	return nil
}

// ready waits until the proxy says that it has done its work.
func (m *measurement) ready(ctx context.Context) (time.Time, error) {
	at, err := m.poll.patiently(func() (bool, error) { return m.config.Ready.isReady(ctx), nil }, restDear,
		m.patience(ctx))
	if err != nil {
		return at, fmt.Errorf("%w (it does not say that it is ready at %s)", err, m.config.Ready.URL)
	}
	return at, nil
}

func (m *measurement) changes(ctx context.Context) (err error) {
	if m.config.Changes == 0 {
		return nil
	}
	pageBefore := m.page(ctx)
	before, began := m.count(), time.Now()
	m.poll.longest = 0
	defer func() {
		m.result.Change = m.since(before, time.Since(began))
		m.result.Resolution = max(m.result.Resolution, m.poll.longest)
		pageAfter := m.page(ctx)
		m.result.Histograms = m.histograms(pageBefore, pageAfter)
		m.result.Change.Counters = m.counters(pageBefore, pageAfter)
	}()
	for i := range m.config.Changes {
		if err := sleep(ctx, m.config.Pause); err != nil {
			return err
		}
		service := i * 7919 % m.config.Services // a prime: changes are spread over all
		m.generation[service]++
		took, err := m.change(ctx, service)
		if err != nil {
			return fmt.Errorf("change %d: %w", i+1, err)
		}
		m.result.Changes = append(m.result.Changes, took)
	}
	return nil
}

// change exchanges an endpoint and returns the time from the beginning of the write to the kernel. It looks at the
// kernel while the write is on its way: the change may be there before the writer has its answer.
func (m *measurement) change(ctx context.Context, service int) (time.Duration, error) {
	want := m.config.virtualServer(service, m.generation[service])
	write := func() error {
		path, err := m.write(service)
		if err != nil {
			return err
		}
		return m.apply(ctx, path)
	}
	if m.api != nil {
		_, slice, err := m.config.objects(service, m.generation[service])
		if err != nil {
			return 0, err
		}
		write = func() error {
			return m.api.do(ctx, http.MethodPut, slicesPath+"/"+sliceName(service), slice, nil)
		}
	}
	began := time.Now()
	wrote := make(chan error, 1)
	go func() { wrote <- write() }()
	give := m.patience(ctx)
	at, err := m.poll.one(want, func() error {
		select {
		case err := <-wrote:
			wrote <- nil
			if err != nil {
				return err
			}
		default:
		}
		return give()
	})
	if err != nil {
		return 0, err
	}
	m.want[service] = want
	return at.Sub(began), <-wrote
}

func (m *measurement) idle(ctx context.Context) error {
	if m.config.Idle == 0 {
		return nil
	}
	// What the last change leaves to be done is not idle.
	if err := sleep(ctx, idleAfter); err != nil {
		return err
	}
	pageBefore, before := m.page(ctx), m.count()
	if err := sleep(ctx, m.config.Idle); err != nil {
		return err
	}
	if err := m.patience(ctx)(); err != nil {
		return err
	}
	m.result.Idle = m.since(before, m.config.Idle)
	m.result.Idle.Counters = m.counters(pageBefore, m.page(ctx))
	// What was there stays there.
	_, err := m.poll.all(m.want, m.patience(ctx))
	return err
}

const idleAfter = 2 * time.Second

// restart ends the proxy and starts it again.
func (m *measurement) restart(ctx context.Context) error {
	if !m.config.Restart {
		return nil
	}
	m.stop()
	if err := m.start(ctx); err != nil {
		return err
	}
	at, err := m.ready(ctx)
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	m.result.Restart = m.since(m.process.before, at.Sub(m.process.began))
	if _, err = m.poll.all(m.want, m.patience(ctx)); err != nil {
		return fmt.Errorf("after the restart: %w", err)
	}
	return nil
}

func (m *measurement) page(ctx context.Context) series {
	if m.config.Metrics == "" {
		return nil
	}
	text, err := fetch(ctx, m.config.Metrics)
	var page series
	if err == nil {
		page, err = parseSeries(text)
	}
	if err != nil {
		m.result.NoMetrics = err.Error()
	}
	return page
}

// counters returns by how much each counter has grown that is on both pages.
func (m *measurement) counters(before, after series) map[string]float64 {
	grown := map[string]float64{}
	for _, name := range m.config.Counters {
		from, was := before.value(name)
		to, is := after.value(name)
		if was && is {
			grown[name] = to - from
		}
	}
	return grown
}

func (m *measurement) histograms(before, after series) (all []Histogram) {
	for _, name := range m.config.Histograms {
		old := before.histogram(name)
		now := after.histogram(name)
		for _, labels := range sortedKeys(now) {
			buckets := since(old[labels], now[labels])
			p50, some := quantile(buckets, 0.5)
			p99, _ := quantile(buckets, 0.99)
			if some {
				all = append(all, Histogram{name, labels, buckets[len(buckets)-1].count, p50, p99})
			}
		}
	}
	return all
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
