//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// kills is how often TestKilledAtAnyMoment kills the proxier, unless IPVSP_KILLS says it.
const kills = 50

// TestKilledAtAnyMoment kills the proxier with SIGKILL at random moments, while Services around the one under load keep
// changing. No connection breaks, and no request fails. A hold that a kill left behind is gone with the first pass. In
// the end the kernel holds what a fresh start would make. TEST_SEED repeats the moments.
func TestKilledAtAnyMoment(t *testing.T) {
	n := kills
	if text := os.Getenv("IPVSP_KILLS"); text != "" {
		asked, err := strconv.Atoi(text)
		if err != nil || asked < 1 {
			t.Fatalf("IPVSP_KILLS is %q; want a number of 1 or more", text)
		}
		n = asked
	}
	c := newCluster(t)
	seed := seed(t)
	r := drawn(seed, 1)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	c.write("web.yaml", with(web(nodePort), one, two))
	c.run()
	load := c.putUnderLoad(client, harness.Unhurriedly(20, 4), time.Duration(n)*time.Minute)
	churn := c.churn(drawn(seed, 2), one, two)
	began := time.Now()
	left := 0
	for i := range n {
		if i%50 == 49 {
			t.Logf("%d kills within %s", i+1, time.Since(began).Round(time.Second))
		}
		time.Sleep(time.Duration(r.IntN(1600)) * time.Millisecond) // the moment of the kill, not a wait
		c.proxier.Kill()
		if i%holdEvery == 0 {
			c.must(c.leaveHold())
		}
		holds := c.holds()
		if len(holds) == 0 {
			c.start(c.args...)
			continue
		}
		left++
		churn.Lock() // what changes now may hold the same front end again
		c.start(c.args...)
		c.must(c.proxier.AwaitReady())
		if still := c.holds(); len(still) > 0 {
			t.Errorf("kill %d left holds of %v; after the first pass there are %v", i, holds, still)
		}
		churn.Unlock()
	}
	t.Logf("%d kills within %s, of which %d left holds behind", n, time.Since(began).Round(time.Second), left)
	churn.end()
	c.must(c.proxier.AwaitReady())
	// The last of the changes may have come to the kernel or not; what is written after it comes after it.
	c.write("zz-last.yaml", manifest(service("last", []string{"10.96.3.98"})))
	c.awaitVirtualServer("tcp", netip.MustParseAddrPort("10.96.3.98:80"), "rr")
	load.judge(fmt.Sprintf("%d kills", n))
	c.sameAsFresh(c.args...)
}

// After so many kills the test itself leaves a hold behind once. A kill within an exchange of schedulers is rare where
// the kernel has one processor, because a grace period is short there.
const holdEvery = 10

// leaveHold leaves the hold of a front end behind, as a kill within the exchange of its scheduler does.
func (c *cluster) leaveHold() error {
	for set, entry := range map[string]string{
		"IPVSP-HOLD": "10.96.3.99,tcp:80", "IPVSP-6-HOLD": "fd00:10:96::399,tcp:80",
	} {
		if _, err := c.Node1.Run("ipset", "-exist", "add", set, entry); err != nil {
			return err
		}
	}
	return nil
}

// holds are the front ends that are held: lines of ipset.
func (c *cluster) holds() (held []string) {
	c.t.Helper()
	for _, set := range []string{"IPVSP-HOLD", "IPVSP-6-HOLD"} {
		text, err := c.Node1.Run("ipset", "save", set)
		c.must(err)
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "add ") {
				held = append(held, strings.TrimSpace(line))
			}
		}
	}
	return held
}

// churn changes Services beside the one under load, all the time, but while it is locked.
type churn struct {
	sync.Mutex
	done chan struct{}
	over sync.WaitGroup
}

func (c *cluster) churn(r *rand.Rand, pods ...*topology.Host) *churn {
	ch := &churn{done: make(chan struct{})}
	ch.over.Go(func() {
		for {
			select {
			case <-ch.done:
				return
			case <-time.After(time.Duration(50+r.IntN(200)) * time.Millisecond):
				ch.Lock()
				c.write("others.yaml", others(r, pods...)...)
				ch.Unlock()
			}
		}
	})
	return ch
}

// end ends the changes.
func (ch *churn) end() {
	close(ch.done)
	ch.over.Wait()
}

// others are some Services with any ports, node ports and endpoints, none of which is in the way of the one under load.
func others(r *rand.Rand, pods ...*topology.Host) []string {
	var texts []string
	for i := range r.IntN(6) {
		s := service(fmt.Sprintf("other-%d", i), []string{fmt.Sprintf("10.96.3.%d", 1+i), fmt.Sprintf("fd00:10:96::3%02x",
			i)}, func(s *v1.Service) {
			if r.IntN(2) == 0 {
				nodePort(s)
				for p := range s.Spec.Ports {
					s.Spec.Ports[p].NodePort = int32(30200 + i)
				}
			}
			if r.IntN(3) == 0 {
				externalLocal(s)
			}
			if r.IntN(3) == 0 {
				scheduled([]string{"lc", "sh"}[r.IntN(2)])(s)
			}
		})
		texts = append(texts, with(s, pods[:r.IntN(len(pods)+1)]...))
	}
	return append(texts, manifest(service("always", []string{"10.96.3.99", "fd00:10:96::399"})))
}

// rollingRate is the number of new connections a second during the rolling update: 500, or what User-Mode Linux carries
// beside everything else that runs on one processor. In QEMU at load 10 a guest answered 1,056 of 12,500.
func rollingRate() string {
	if model, err := os.ReadFile("/proc/cpuinfo"); err == nil && strings.Contains(string(model), "User Mode Linux") {
		return "100"
	}
	return strconv.Itoa(harness.Unhurriedly(500, 50))
}

// TestRollingUpdate replaces all endpoints, two at a time, as a Deployment does: those that go terminate, serve for a
// while and are taken out. Under many new connections a second none is refused, and 200 long-lived ones, on endpoints
// that go, all live on.
func TestRollingUpdate(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	const pods = 6
	var before, after []*topology.Host
	for i := range pods {
		node := 1 + i%2
		before = append(before, c.backend(node, 10+i, fmt.Sprintf("old%d", i)))
		after = append(after, c.backend(node, 30+i, fmt.Sprintf("new%d", i)))
	}
	roll := func(gone, leaving, come int) {
		s := web()
		slices := endpointSlices(s)
		text := manifest(s)
		for _, slice := range slices {
			for i := gone; i < pods; i++ {
				state := ""
				if i < leaving {
					state = "leaving"
				}
				slice.Endpoints = append(slice.Endpoints, endpointOf(before[i], slice.AddressType, state))
			}
			for i := range come {
				slice.Endpoints = append(slice.Endpoints, endpointOf(after[i], slice.AddressType, ""))
			}
			text += "---\n" + manifest(slice)
		}
		c.write("web.yaml", text)
	}
	roll(0, 0, 0)
	c.run()
	held := append(c.hold(client, web4, 100), c.hold(c.Outside, web6, 100)...)
	load := c.startLoad(client, "--mode", "crr", "--rate", rollingRate(), "--duration", "25s", "--timeout",
		lossTimeout.String(), "tcp://"+web4.String())
	weights := func(ready, draining int) {
		t.Helper()
		c.await(func() error {
			v, err := c.kernel.VirtualServer("tcp", web4)
			if err != nil {
				return err
			}
			counts := map[int]int{}
			for _, d := range v.RealServers {
				counts[d.Weight]++
			}
			if counts[1] != ready || counts[0] < draining {
				return errStill(v.Text())
			}
			return nil
		})
	}
	for i := 0; i < pods; i += 2 {
		roll(i, i, i+2) // two more
		weights(pods+2, i)
		roll(i, i+2, i+2) // two old ones leave: they serve, and get nothing new
		weights(pods, i+2)
		roll(i+2, i+2, i+2) // and are gone
		weights(pods, i+2)
		stillUsable(t, held, fmt.Sprintf("%d endpoints were replaced", i+2))
	}
	report, err := load.Wait()
	c.must(err)
	withoutErrors(t, report)
	t.Logf("%+v, latency in µs %+v, %v", report.Requests, report.Latency, report.SelfCheck.Warnings)
	stillUsable(t, held, "the whole update")
}

// TestMasqueradePortsAreNoNodePorts (B5, kubernetes#139276): no connection fails because masquerading gives it a port
// that is a node port, as it may by default. Nor does one where all ports are node ports, as long as one is free.
func TestMasqueradePortsAreNoNodePorts(t *testing.T) {
	c := newCluster(t)
	r := c.backend(2, 10, "r")
	const nodePorts = 200
	texts := []string{with(web(), r)}
	for i := range nodePorts {
		s := service(fmt.Sprintf("np-%d", i), []string{fmt.Sprintf("10.96.4.%d", 1+i)}, withNodePort, func(s *v1.Service) {
			s.Spec.Ports = s.Spec.Ports[:1]
			s.Spec.Ports[0].NodePort = int32(30300 + i)
		})
		texts = append(texts, manifest(s))
	}
	c.write("services.yaml", texts...)
	failures := func(requests int, args ...string) int {
		t.Helper()
		c.run(args...)
		defer func() {
			c.must(c.proxier.Stop())
			if output, err := programs.Cleanup(c.Node1); err != nil {
				t.Fatal(err, output)
			}
		}()
		report := c.load(c.Node1, "--mode", "crr", "--rate", strconv.Itoa(harness.Unhurriedly(100, 25)), "--count",
			strconv.Itoa(requests),
			"--timeout", lossTimeout.String(), "tcp://"+web4.String())
		return int(report.Requests.Errors + report.Requests.Unfinished)
	}
	if n := failures(nodePorts*3/4, "--masquerade-ports", "30300-30499"); n != 0 {
		t.Errorf("%d connections that got node ports failed: this kernel needs --masquerade-ports without any", n)
	}
	if n := failures(harness.Unhurriedly(1000, 250)); n != 0 {
		t.Errorf("%d connections failed", n)
	}
}
