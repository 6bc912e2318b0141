package proxier

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/observe"
)

// lockedText is a text that several goroutines write.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for !holds() {
		if t.Context().Err() != nil {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestAPortOfOursInUse: another program on the address of /healthz or /metrics is reported, in the log, in status and
// by a metric. It keeps neither the other address nor the start from anything. When it goes the address is served, and
// the Problem is gone.
func TestAPortOfOursInUse(t *testing.T) {
	for _, field := range []string{"healthzBindAddress", "metricsBindAddress"} {
		t.Run(field, func(t *testing.T) {
			other, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			taken := other.Addr().String()
			log, m := &lockedText{}, observe.NewMetrics(nil, "v1")
			d := newHTTPServers(slog.New(slog.NewTextHandler(log, nil)), m.CountNodeProblems)
			d.rest, d.maxRest = time.Millisecond, time.Millisecond
			var free net.Addr
			listen := d.listen
			d.listen = func(address string) (net.Listener, error) {
				l, err := listen(address)
				if address != taken && err == nil {
					free = l.Addr()
				}
				return l, err
			}
			c := Config{HealthzBindAddress: "127.0.0.1:0", MetricsBindAddress: "127.0.0.1:0"}
			path := "/healthz"
			if field == "healthzBindAddress" {
				c.HealthzBindAddress = taken
			} else {
				c.MetricsBindAddress, path = taken, "/metrics"
			}
			b := observe.NewBoard(
				"n1", "v1", func() (observe.ConnectionCounter, error) { return nil, errors.New("connections cannot be counted") },
				observe.Origin{Mistakes: func() []string { return nil }},
			)
			b.ListenerProblems = d.problems
			h := &observe.Health{Board: b, Answered: m.CountAnswer, Node: func() (*v1.Node, bool) { return nil, false }}
			stop := d.serve(httpServersOf(c, h, b, m, http.NotFoundHandler(), http.NotFoundHandler()))
			defer stop()

			get := func(address, path string) string {
				response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + address + path)
				if err != nil {
					return err.Error()
				}
				defer response.Body.Close()
				body, _ := io.ReadAll(response.Body)
				return fmt.Sprint(response.StatusCode, " ", string(body))
			}
			if got := get(free.String(), "/healthz"); !strings.HasPrefix(got, "200") {
				t.Errorf("the other address: %s", got)
			}
			problems := b.Status(nil).NodeProblems
			if len(problems) != 1 || problems[0].Reason != "NotListening" || problems[0].Field != field ||
				!strings.Contains(problems[0].Message, taken) ||
				!strings.Contains(problems[0].Message, "address already in use") {
				t.Errorf("status says %+v", problems)
			}
			if n, err := testutil.GatherAndCount(m.Registry, "ipvs_proxier_problems"); n != 1 || err != nil {
				t.Errorf("the metric has %d series, want 1; %v", n, err)
			}
			if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "field="+field) ||
				!strings.Contains(text, taken) {
				t.Errorf("the log says %q", text)
			}
			other.Close()
			until(t, "the address is served", func() bool { return strings.HasPrefix(get(taken, path), "200") })
			if problems := d.problems(); len(problems) != 0 {
				t.Errorf("afterwards %v", problems)
			}
			if n, err := testutil.GatherAndCount(m.Registry, "ipvs_proxier_problems"); n != 0 || err != nil {
				t.Errorf("the metric has %d series afterwards; %v", n, err)
			}
			stop()
			if got := get(taken, path); !strings.Contains(got, "refused") {
				t.Errorf("stopped, and answers %s", got)
			}
		})
	}
}

// TestAPortOfOursThatStaysInUse is said once, however often it is tried, and again when the reason is another one; to
// stop does not wait for it.
func TestAPortOfOursThatStaysInUse(t *testing.T) {
	var tries atomic.Int32
	log := &lockedText{}
	d := newHTTPServers(slog.New(slog.NewTextHandler(log, nil)), func(_, _ []cluster.Problem) {})
	d.rest, d.maxRest = time.Microsecond, time.Microsecond
	d.listen = func(string) (net.Listener, error) {
		if tries.Add(1) <= 50 {
			return nil, errors.New("in use")
		}
		return nil, errors.New("no such address")
	}
	stop := d.serve([]httpServer{{field: "healthzBindAddress", address: "0.0.0.0:10256"}})
	until(t, "tried again and again", func() bool { return tries.Load() > 100 })
	stop()
	if said := strings.Count(log.String(), "cannot listen on this address"); said != 2 {
		t.Errorf("said %d times, want 2:\n%s", said, log)
	}
}

// TestStrangersOnOurAddresses: a client that opens connections without end to an address of ours loses the oldest ones,
// and the kubelet and Prometheus are answered.
func TestStrangersOnOurAddresses(t *testing.T) {
	m := observe.NewMetrics(nil, "v1")
	b := observe.NewBoard("n1", "v1", nil, observe.Origin{})
	h := &observe.Health{Board: b, Answered: m.CountAnswer, Node: func() (*v1.Node, bool) { return nil, false }}
	for _, at := range httpServersOf(Config{HealthzBindAddress: "127.0.0.1:0", MetricsBindAddress: "127.0.0.1:0"}, h, b,
		m, http.NotFoundHandler(), http.NotFoundHandler()) {
		if at.address == "" {
			continue
		}
		d := newHTTPServers(slog.New(slog.DiscardHandler), func(_, _ []cluster.Problem) {})
		address, listen := "", d.listen
		d.listen = func(wanted string) (net.Listener, error) {
			l, err := listen(wanted)
			if err == nil {
				address = l.Addr().String()
			}
			return l, err
		}
		stop := d.serve([]httpServer{at})
		var first net.Conn
		for i := range at.limits.Connections + 1 {
			stranger, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer stranger.Close()
			if i == 0 {
				first = stranger
			}
		}
		response, err := http.Get("http://" + address + "/healthz")
		if err != nil || response.StatusCode != 200 {
			t.Errorf("%s: %v %v", at.field, response, err)
		}
		if err := first.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the first of %d connections is still there", at.field, at.limits.Connections+1)
		}
		stop()
	}
}
