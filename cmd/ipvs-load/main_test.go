package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

const programEnvironment = "IPVS_LOAD_TEST_PROGRAM"

// TestMain turns the test's binary into ipvs-load when a test starts it as such, because signals need a process.
func TestMain(m *testing.M) {
	if os.Getenv(programEnvironment) != "" {
		main()
	}
	os.Exit(m.Run())
}

// serveProcess starts ipvs-load serve on a free port and returns its TCP target and a function that ends it with TERM.
func serveProcess(t *testing.T, args ...string) (address string, end func() int) {
	t.Helper()
	c := program(t, append([]string{"serve", "--listen", "tcp://127.0.0.1:0", "--id", "web-1"}, args...)...)
	log, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	line := make([]byte, 1024)
	n, err := log.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	_, address, found := strings.Cut(strings.TrimSpace(string(line[:n])), "serving as web-1 on ")
	if !found {
		t.Fatalf("the server's first line is %q", line[:n])
	}
	address, _, _ = strings.Cut(address, ",")
	return address, func() int {
		_ = c.Process.Signal(syscall.SIGTERM)
		_, _ = io.ReadAll(log)
		_ = c.Wait()
		return c.ProcessState.ExitCode()
	}
}

func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), programEnvironment+"=1")
	return c
}

func TestServeAndRun(t *testing.T) {
	address, end := serveProcess(t)
	var out, errs bytes.Buffer
	status := run(context.Background(),
		[]string{"run", "--mode", "crr", "--rate", "500", "--count", "100", "--json", address}, &out, &errs)
	if status != 0 || errs.Len() > 0 {
		t.Fatalf("exit status %d, %s", status, &errs)
	}
	var p report.Report
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	if p.Schema != "ipvs-load/v1" || p.Requests.Answered != 100 || len(p.Endpoints) != 1 || p.Endpoints[0].ID != "web-1" ||
		p.Endpoints[0].Share != 1 {
		t.Errorf("%+v %+v", p.Requests, p.Endpoints)
	}
	if p.Settings.Timeout != 5 || p.Settings.ConnectionsMax == 0 || p.Settings.Duration != 0.2 {
		t.Errorf("the defaults are not in the settings: %+v", p.Settings)
	}
	if status := end(); status != 0 {
		t.Errorf("serve ended with exit status %d after TERM", status)
	}

	// The server is gone, so its port is refused: nothing answers.
	out.Reset()
	if status := run(context.Background(), []string{
		"run", "--mode", "crr", "--rate", "500", "--count", "10", address,
	}, &out, &errs); status != report.ExitRefused {
		t.Errorf("exit status %d without any answer, want %d", status, report.ExitRefused)
	}
	if !strings.Contains(out.String(), "refused            10") ||
		!strings.Contains(out.String(), "no endpoint answered") {
		t.Errorf("the summary hides the refusals:\n%s", &out)
	}
}

func TestErrorsDecideTheExitStatus(t *testing.T) {
	good, end := serveProcess(t)
	defer end()
	gone, endGone := serveProcess(t)
	endGone()
	for ratio, want := range map[string]int{"0": report.ExitErrors, "0.49": report.ExitErrors, "0.5": report.ExitFine} {
		args := []string{"run", "--mode", "crr", "--rate", "500", "--count", "20", "--max-error-ratio", ratio, good, gone}
		if status := run(context.Background(), args, io.Discard, io.Discard); status != want {
			t.Errorf("half of the requests fail, %s is allowed: exit status %d, want %d", ratio, status, want)
		}
	}
}

func TestAnInterruptedRunPrintsWhatItHas(t *testing.T) {
	address, end := serveProcess(t)
	defer end()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		c := program(t, "run", "--mode", "crr", "--rate", "200", "--duration", "1h", "--json", address)
		var out bytes.Buffer
		c.Stdout = &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// A connection that the client has closed stays in its table as TIME_WAIT; that is the sign that the run is at
		// work.
		_, port, _ := strings.Cut(strings.TrimPrefix(address, "tcp://"), ":")
		awaitTraffic(t, port)
		_ = c.Process.Signal(signal)
		_ = c.Wait()
		var p report.Report
		if err := json.Unmarshal(out.Bytes(), &p); err != nil {
			t.Fatalf("%v: %v in %q", signal, err, &out)
		}
		r := p.Requests
		if !p.Interrupted || r.Answered == 0 || r.Planned != r.Answered+r.Errors+r.Unfinished ||
			c.ProcessState.ExitCode() != 0 {
			t.Errorf("%v: interrupted %v, %+v, exit status %d", signal, p.Interrupted, r, c.ProcessState.ExitCode())
		}
	}
}

// TestUSR1EndsTheSending: the report has an outcome for each request that was due.
func TestUSR1EndsTheSending(t *testing.T) {
	address, end := serveProcess(t)
	defer end()
	c := program(t, "run", "--mode", "crr", "--rate", "200", "--duration", "1h", "--json", address)
	var out bytes.Buffer
	c.Stdout = &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(address, "tcp://"), ":")
	awaitTraffic(t, port)
	_ = c.Process.Signal(syscall.SIGUSR1)
	_ = c.Wait()
	var p report.Report
	if err := json.Unmarshal(out.Bytes(), &p); err != nil {
		t.Fatalf("%v in %q", err, &out)
	}
	if r := p.Requests; p.Interrupted || r.Answered == 0 || r.Planned != r.Answered || c.ProcessState.ExitCode() != 0 {
		t.Errorf("interrupted %v, %+v, exit status %d", p.Interrupted, r, c.ProcessState.ExitCode())
	}
}

// awaitTraffic waits until ten more connections to the port have been closed than there were.
func awaitTraffic(t *testing.T, port string) {
	t.Helper()
	count := func() int {
		out, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		var n int
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if len(f) > 3 && strings.HasSuffix(f[2], ":"+hexPort(port)) && f[3] == "06" {
				n++
			}
		}
		return n
	}
	before := count()
	for end := time.Now().Add(30 * time.Second); count() < before+10; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the run closes no connections")
		}
	}
}

func hexPort(port string) string {
	const digits = "0123456789ABCDEF"
	n := 0
	for _, c := range port {
		n = n*10 + int(c-'0')
	}
	return string([]byte{digits[n>>12&15], digits[n>>8&15], digits[n>>4&15], digits[n&15]})
}

func TestWrongUse(t *testing.T) {
	for part, args := range map[string][]string{
		`"lod" is not a command`:                       {"lod"},
		"no target is given":                           {"run", "--mode", "crr", "--rate", "1"},
		"no mode is given":                             {"run", "tcp://127.0.0.1:1"},
		`mode "http" is not known`:                     {"run", "--mode", "http", "--rate", "1", "tcp://127.0.0.1:1"},
		"does not fit mode udp-rr":                     {"run", "--mode", "udp-rr", "--rate", "1", "tcp://127.0.0.1:1"},
		"names are not resolved":                       {"run", "--mode", "crr", "--rate", "1", "tcp://web:80"},
		"rate 0 is out of range":                       {"run", "--mode", "crr", "--rate", "0", "tcp://127.0.0.1:1"},
		"rate NaN is out of range":                     {"run", "--mode", "crr", "--rate", "nan", "tcp://127.0.0.1:1"},
		"both given":                                   {"run", "--mode", "crr", "--rate", "1", "--count", "1", "--duration", "1s", "tcp://127.0.0.1:1"},
		`invalid argument "fast"`:                      {"run", "--mode", "crr", "--rate", "fast", "tcp://127.0.0.1:1"},
		`arrivals "random" are not known`:              {"run", "--mode", "crr", "--rate", "1", "--arrivals", "random", "tcp://127.0.0.1:1"},
		"max-error-ratio 2 is out of range":            {"run", "--mode", "crr", "--rate", "1", "--max-error-ratio", "2", "tcp://127.0.0.1:1"},
		`source "eth0" is not an IPv4 or IPv6 address`: {"run", "--mode", "crr", "--rate", "1", "--source", "eth0", "tcp://127.0.0.1:1"},
		"unknown flag: --nope":                         {"run", "--nope"},
		"no file is given":                             {"report", "--html", "runs.html"},
		"--html is not given":                          {"report", "run.json"},
		"nothing to listen on":                         {"serve"},
		`scheme "http" is not known`:                   {"serve", "--listen", "http://127.0.0.1:0"},
		"takes no arguments":                           {"serve", "tcp://127.0.0.1:0"},
		"holds printable ASCII without spaces":         {"serve", "--listen", "tcp://127.0.0.1:0", "--id", "a b"},
	} {
		var out, errs bytes.Buffer
		status := run(context.Background(), args, &out, &errs)
		if status != exitUsage || !strings.Contains(errs.String(), part) || out.Len() > 0 {
			t.Errorf("%q: exit status %d, output %q, error %q; want 2 and %q", args, status, &out, &errs, part)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for part, args := range map[string][]string{
		"Available Commands":          {},
		"--listen ADDRESS":            {"serve", "--help"},
		"Exit status: 0 fine":         {"run", "--help"},
		version + "\n":                {"version"},
		"ipvs-load run --mode udp-rr": {"run", "-h"},
		"echo | nc 127.0.0.1 8080":    {"serve", "-h"},
		"--html runs.html":            {"report", "-h"},
	} {
		var out bytes.Buffer
		if status := run(context.Background(), args, &out, io.Discard); status != 0 || !strings.Contains(out.String(), part) {
			t.Errorf("%q: exit status %d, no %q in\n%s", args, status, part, &out)
		}
	}
}

func TestTheProgressLine(t *testing.T) {
	interval := func(worker int, answered int64) engine.Interval {
		d := account.NewDistribution()
		d.Record(2 * time.Millisecond)
		return engine.Interval{
			Worker: worker, At: 3 * time.Second, Answered: answered, Errors: 1, InFlight: 2, Backlog: 4, Latency: d,
		}
	}
	var l progressLine
	if got := l.add(interval(0, 10), 2, 10*time.Second); got != "" {
		t.Errorf("a line after one of two workers: %q", got)
	}
	want := "30 answered/s  p50 2ms  p99 2ms  2 errors/s  4 open  backlog 8  7s left"
	if got := l.add(interval(1, 20), 2, 10*time.Second); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	l.add(interval(0, 1), 2, time.Second)
	if got := l.add(interval(0, 2), 2, time.Second); !strings.HasPrefix(got, "1 answered/s") ||
		!strings.HasSuffix(got, "waiting for the last answers") {
		t.Errorf("a worker that is too busy to report holds the line up: %q", got)
	}
}

func TestThereIsNoProgressLineElsewhereThanOnATerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, w := range []io.Writer{f, &bytes.Buffer{}} {
		if live, end := progress(w, engine.Config{}.Plan); live != nil {
			end()
			t.Errorf("%T has a progress line", w)
		}
	}
}

// invoke runs the program in this process and returns its exit status, standard output and standard error.
func invoke(args ...string) (int, string, string) {
	var out, errs bytes.Buffer
	status := run(context.Background(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestEventsStandBesideTheRun(t *testing.T) {
	address, end := serveProcess(t)
	defer end()
	dir := t.TempDir()
	status, out, errs := invoke("run", "--mode", "crr", "--rate", "200", "--duration", "500ms", "--json", "--weights",
		"web-1=1,web-2=1",
		"--hdr-log", dir+"/run.hlog", "--event", "100ms removed web-1 echo done", "--event", "200ms scheduler", address)
	var p report.Report
	if err := json.Unmarshal([]byte(out), &p); err != nil || status != 0 {
		t.Fatalf("exit status %d, %v, %s", status, err, errs)
	}
	if len(p.Events) != 2 || p.Events[0].Endpoint != "web-1" || p.Events[0].LastRequest == nil ||
		*p.Events[0].LastRequest <= p.Events[0].At || p.Events[1].Kind != "scheduler" {
		t.Errorf("events %+v", p.Events)
	}
	if p.Events[0].Answered+p.Events[1].Answered == 0 || !strings.Contains(errs, "done\n") {
		t.Errorf("events %+v, log %q", p.Events, errs)
	}
	if f := p.Targets[0].Fairness; f == nil || f.Expected != "weights" || f.Jain != 0.5 {
		t.Errorf("fairness %+v, want that of one of two", f)
	}
	log, err := os.ReadFile(dir + "/run.hlog")
	if err != nil || !strings.Contains(string(log), "Tag=latency,") || !strings.HasPrefix(string(log), "#[") {
		t.Errorf("%v, HdrHistogram log %.200q", err, log)
	}

	status, out, _ = invoke("run", "--mode", "crr", "--rate", "200", "--duration", "200ms", "--event",
		"10ms sh -c 'exit 3'", address)
	if status != report.ExitErrors || !strings.Contains(out, "exit status 3") {
		t.Errorf("an event that fails: exit status %d\n%s", status, out)
	}
}

func TestScenariosAndComparisonsEndToEnd(t *testing.T) {
	address, end := serveProcess(t)
	defer end()
	file := t.TempDir() + "/scenario.yaml"
	text := "name: two\nrepetitions: 2\nload: {mode: crr, rate: 200, duration: 200ms, targets: [\"${TARGET}\"]}\nvariants: [{name: a}, {name: b, load: {mode: connect}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	status, out, errs := invoke("scenario", file, "--set", "TARGET="+address, "--json")
	if status != 0 && status != report.ExitErrors || !strings.Contains(errs, "round 2 of 2, a: 40 answered, 0 errors") {
		t.Fatalf("exit status %d\n%s", status, errs)
	}
	result := t.TempDir() + "/result.json"
	if err := os.WriteFile(result, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
	status, out, errs = invoke("compare", result)
	if status > 1 || !strings.Contains(out, "b against a (2 and 2 rounds, fewer than 5, so blocks of time within them)") ||
		!strings.Contains(out, "the mode is crr in a and connect in b") {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
	if status, out, _ := invoke("scenario", "--list"); status != 0 || !strings.Contains(out, "rolling-update") {
		t.Errorf("exit status %d\n%s", status, out)
	}
	if status, out, _ := invoke("scenario", "--show", "cps"); status != 0 || !strings.HasPrefix(out, "name: cps\n") {
		t.Errorf("exit status %d\n%s", status, out)
	}
	for want, args := range map[string][]string{
		"variables without a value: TARGET": {"scenario", file},
		`there is no scenario "cpu"`:        {"scenario", "cpu"},
		"read the scenario":                 {"scenario", "./none.yaml"},
		"give one scenario":                 {"scenario"},
		"no file is given":                  {"compare"},
		"read the runs":                     {"compare", "none.json", file},
		"it is no JSON of ipvs-load":        {"compare", file, file},
		`"soon" is not a time after`:        {"run", "--mode", "crr", "--rate", "1", "--event", "soon", address},
	} {
		if status, _, errs := invoke(args...); status != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%v: exit status %d, %s; want %q", args, status, errs, want)
		}
	}
}
