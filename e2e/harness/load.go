package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// Serve starts ipvs-load serve on the host and waits until it listens. Without a --listen among args it answers TCP and
// UDP of both families on port 8080.
func (p Programs) Serve(h *topology.Host, id string, args ...string) (*Process, error) {
	if !slices.Contains(args, "--listen") {
		args = append(args, "--listen", "tcp://[::]:8080", "--listen", "udp://[::]:8080")
	}
	server, err := Start(h, p.Path("ipvs-load"), append([]string{"serve", "--id", id}, args...)...)
	if err != nil {
		return nil, err
	}
	return server, server.awaitOutput("serving as")
}

// LoadReport is what ipvs-load run --json prints, as far as it is used here.
type LoadReport struct {
	Requests struct {
		Planned, Answered, Errors, Unfinished int64
	} `json:"requests"`
	Errors map[string]int64 `json:"errors"`
	Rate   struct {
		Achieved float64 `json:"achieved_per_s"`
	} `json:"rate"`
	// Series has an entry for each step of the window, of Step seconds.
	Series struct {
		Step     float64 `json:"bucket_s"`
		Answered []int64 `json:"answered"`
		// Errors has such a list for each kind of error; that of a timeout stands where the request was planned.
		Errors map[string][]int64 `json:"errors"`
	} `json:"series"`
	Targets []struct {
		Target string `json:"target"`
		Errors int64  `json:"errors"`
	} `json:"targets"`
	Strays  int64 `json:"stray_datagrams"`
	Latency struct {
		P50 float64 `json:"p50"`
		P90 float64 `json:"p90"`
		P99 float64 `json:"p99"`
		Max float64 `json:"max"`
	} `json:"latency_us"`
	Endpoints []struct {
		ID       string  `json:"id"`
		Answered int64   `json:"answered"`
		Share    float64 `json:"share"`
		Clients  []struct {
			Address string `json:"address"`
		} `json:"clients"`
	} `json:"endpoints"`
	SelfCheck struct {
		Warnings []string `json:"warnings"`
	} `json:"self_check"`
}

// WhereErrors says at which targets and when, in seconds of the window, requests failed.
func (r *LoadReport) WhereErrors() string {
	var words []string
	for _, t := range r.Targets {
		if t.Errors > 0 {
			words = append(words, fmt.Sprintf("%d at %s", t.Errors, t.Target))
		}
	}
	for kind, steps := range r.Series.Errors {
		for i, n := range steps {
			if n > 0 {
				words = append(words, fmt.Sprintf("%d %s after %.1f s", n, kind, float64(i)*r.Series.Step))
			}
		}
	}
	return strings.Join(append(words, fmt.Sprintf("%d stray datagrams", r.Strays)), ", ")
}

// Answered returns how many requests the endpoint answered.
func (r *LoadReport) Answered(id string) int64 {
	for _, e := range r.Endpoints {
		if e.ID == id {
			return e.Answered
		}
	}
	return 0
}

// Load is a running ipvs-load run.
type Load struct {
	cmd            *exec.Cmd
	output, errors lockedBuffer
}

// StartLoad starts ipvs-load run --json on the host.
func (p Programs) StartLoad(h *topology.Host, args ...string) (*Load, error) {
	l := &Load{
		cmd: exec.Command(p.Path("ipvs-load"), append([]string{"run", "--json", "--max-error-ratio", "1"}, args...)...),
	}
	l.cmd.Stdout, l.cmd.Stderr = &l.output, &l.errors
	if err := h.Start(l.cmd); err != nil {
		return nil, fmt.Errorf("start ipvs-load on %s: %w", h.Name, err)
	}
	return l, nil
}

// verdicts are the exit statuses of a run that was carried out, with a report that says what went wrong: errors,
// nothing answered, everything refused, the rate not kept.
var verdicts = []int{1, 3, 4, 5}

// Wait waits for the end of the load and returns its report, which may hold errors.
func (l *Load) Wait() (*LoadReport, error) {
	err := l.cmd.Wait()
	var failed *exec.ExitError
	if err != nil && !(errors.As(err, &failed) && slices.Contains(verdicts, failed.ExitCode())) {
		return nil, fmt.Errorf("%v: %w\n%s", l.cmd.Args, err, l.errors.String())
	}
	r := &LoadReport{}
	if err := json.Unmarshal([]byte(l.output.String()), r); err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", l.cmd.Args, err, l.output.String())
	}
	return r, nil
}

// Stop ends the load before its time and returns its report, once each request that was sent has its answer or its
// timeout is over: what is open at that moment may be lost just as well as what was open before.
func (l *Load) Stop() (*LoadReport, error) {
	if err := l.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		return nil, err
	}
	return l.Wait()
}

// Load runs ipvs-load run to its end.
func (p Programs) Load(h *topology.Host, args ...string) (*LoadReport, error) {
	l, err := p.StartLoad(h, args...)
	if err != nil {
		return nil, err
	}
	return l.Wait()
}
