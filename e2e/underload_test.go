//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// seed is what a test draws its random numbers from: TEST_SEED, or the time. The test logs it, so that it can be
// repeated.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("TEST_SEED"); text != "" {
		given, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("TEST_SEED is %q; want a number", text)
		}
		n = given
	}
	t.Logf("to repeat: TEST_SEED=%d", n)
	return n
}

// drawn returns a source of random numbers; each use of one seed has a stream of its own.
func drawn(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// underLoad is the Service web with a node port while clients use it: every combination of TCP and UDP, IPv4 and IPv6,
// by cluster IP and by node port, and connections that stay.
type underLoad struct {
	c     *cluster
	held  []net.Conn
	loads []*harness.Load
	// broken are connections that did not answer.
	broken map[net.Conn]error
	done   chan struct{}
	over   sync.WaitGroup
}

// lossTimeout is after how long what is not answered is lost. A busy machine takes seconds for an answer, which is no
// fault of the proxier's.
const lossTimeout = 30 * time.Second

// heldAsk is how often each held connection is used: IPVS forgets one that is idle for 15 minutes (net.ipv4.vs tcp
// timeout).
const heldAsk = time.Minute

// putUnderLoad opens the connections and starts the loads, which last until judge, or for the time given at most. The
// rates are requests a second of the client's load by TCP; the others have less.
func (c *cluster) putUnderLoad(client *topology.Host, rate int, most time.Duration) *underLoad {
	c.t.Helper()
	node4, node6 := at(c.Node1.IPv4, webNodePort), at(c.Node1.IPv6, webNodePort)
	// No client reaches the same endpoints by two ways at once, neither here nor below: with one source port for both,
	// IPVS could not distinguish the answers (B40 in docs/cases.md).
	u := &underLoad{c: c, broken: map[net.Conn]error{}, done: make(chan struct{}), held: slices.Concat(c.hold(client,
		web4, 10), c.hold(c.Outside, web6, 5), c.hold(c.Node2, node4, 5), c.hold(c.Node2, node6, 5))}
	for _, l := range []struct {
		from *topology.Host
		mode string
		rate int
		at   string
	}{
		{client, "crr", rate, "tcp://" + web4.String()},
		{c.Outside, "crr", rate / 2, "tcp://" + web6.String()},
		{c.Denied, "crr", rate / 2, "tcp://" + node4.String()},
		{client, "udp-rr", rate / 2, "udp://" + web6.String()},
		{c.Denied, "udp-rr", rate / 2, "udp://" + node6.String()},
		{c.Outside, "udp-rr", rate / 2, "udp://" + web4.String()},
	} {
		u.loads = append(u.loads, c.startLoad(l.from, "--mode", l.mode, "--rate", strconv.Itoa(l.rate), "--duration",
			most.String(), "--timeout", lossTimeout.String(), l.at))
	}
	u.over.Go(func() {
		for {
			select {
			case <-u.done:
				return
			case <-time.After(heldAsk):
				u.useHeld()
			}
		}
	})
	return u
}

// useHeld asks once on each held connection.
func (u *underLoad) useHeld() {
	for _, conn := range u.held {
		if _, err := harness.AskOnWithin(conn, lossTimeout); err != nil && u.broken[conn] == nil {
			u.broken[conn] = err
		}
	}
}

// judge ends the loads: no request may have failed, and no connection of those that were held may be broken. It says
// how many there were.
func (u *underLoad) judge(after string) {
	u.c.t.Helper()
	close(u.done)
	u.over.Wait()
	u.useHeld()
	for conn, err := range u.broken {
		u.c.t.Errorf("a connection to %s that was open before: after %s: %v", conn.RemoteAddr(), after, err)
	}
	for _, conn := range u.held {
		conn.Close()
	}
	var answered, failed int64
	for _, l := range u.loads {
		report, err := l.Stop()
		u.c.must(err)
		withoutErrors(u.c.t, report)
		answered += report.Requests.Answered
		failed += report.Requests.Errors
	}
	u.c.t.Logf("%s: %d requests answered, %d failed; %d connections held, %d broken",
		after, answered, failed, len(u.held), len(u.broken))
}

// TestLoadsCountWhatIsOpenAtTheirEnd: requests that have no answer when a load is stopped are lost like those before.
func TestLoadsCountWhatIsOpenAtTheirEnd(t *testing.T) {
	c := newCluster(t)
	client, pod := c.pod(1, 50, "client"), c.pod(2, 10, "one")
	server := c.serve(pod, "one")
	opened := func() int64 {
		counters, err := harness.ReadCounters(pod)
		c.must(err)
		return counters["TcpPassiveOpens"]
	}
	load := c.startLoad(client, "--mode", "crr", "--rate", "20", "--duration", "1h", "--timeout", "3s",
		"tcp://"+at(pod.IPv4, 8080).String())
	awaitOpened := func(until int64) {
		c.await(func() error {
			if n := opened(); n < until {
				return errStill(fmt.Sprintf("%d connections opened, want %d", n, until))
			}
			return nil
		})
	}
	awaitOpened(10)
	c.must(syscall.Kill(server.PID(), syscall.SIGSTOP))
	const silent = 10
	awaitOpened(opened() + silent)
	report, err := load.Stop()
	c.must(err)
	r := report.Requests
	if r.Answered == 0 || r.Errors < silent || r.Unfinished != 0 || r.Planned != r.Answered+r.Errors {
		t.Errorf("%+v, errors %v; want some answered, and %d lost or more", r, report.Errors, silent)
	}
}
