//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestRoundRobinSharesAreEqual: as many requests as a multiple of the endpoints give equal shares, to the request. Of
// UDP a few may be missing: a source port that the client's kernel takes again is the same flow, and goes where it went
// before.
func TestRoundRobinSharesAreEqual(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	c.write("web.yaml", with(web(), c.backend(1, 10, "one"), c.backend(1, 11, "two"), c.backend(2, 10, "three")))
	c.run()
	for _, target := range []struct{ mode, network string }{{"crr", "tcp"}, {"udp-rr", "udp"}} {
		for _, to := range []netip.AddrPort{web4, web6} {
			r := c.load(client, "--mode", target.mode, "--rate", "100", "--count", "90", target.network+"://"+to.String())
			withoutErrors(t, r)
			for _, id := range []string{"one", "two", "three"} {
				off := map[string]int64{"tcp": 0, "udp": 3}[target.network]
				if n := r.Answered(id); n < 30-off || n > 30+off {
					t.Errorf("%s %s: %s answered %d of 90, want 30 ± %d", target.network, to, id, n, off)
				}
			}
		}
	}
}

// TestLeastConnectionSparesTheSlow: an endpoint that holds its connections longer gets fewer of them.
func TestLeastConnectionSparesTheSlow(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	c.write("web.yaml", with(web(scheduled("lc")), c.backend(1, 10, "quick-1"), c.backend(1, 11, "quick-2"),
		c.backend(2, 10, "slow", "--delay", "1500ms")))
	c.run()
	r := c.load(client, "--mode", "crr", "--rate", "50", "--count", "200", "tcp://"+web4.String())
	withoutErrors(t, r)
	slow := r.Answered("slow")
	t.Logf("quick-1 %d, quick-2 %d, slow %d of 200", r.Answered("quick-1"), r.Answered("quick-2"), slow)
	// Round-robin would give it 67.
	if slow == 0 || slow > 45 || r.Answered("quick-1") < 60 || r.Answered("quick-2") < 60 {
		t.Errorf("least-connection gave the slow endpoint %d of 200", slow)
	}
}

// TestSourceHashSticks: a client stays with its endpoint; different clients spread.
func TestSourceHashSticks(t *testing.T) {
	c := newCluster(t)
	c.write("web.yaml", with(web(scheduled("source-hashing")), c.backend(1, 10, "one"), c.backend(1, 11, "two"),
		c.backend(2, 10, "three")))
	var clients []*topology.Host
	for i := range 8 {
		clients = append(clients, c.pod(1, 50+i, fmt.Sprintf("client-%d", i)))
	}
	c.run()
	used := map[string]bool{}
	for _, client := range clients {
		first := c.ask(client, "tcp", web4).ID
		used[first] = true
		for range 3 {
			if again := c.ask(client, "tcp", web4).ID; again != first {
				t.Errorf("%s went to %s and then to %s", client.Name, first, again)
			}
		}
	}
	if len(used) < 2 {
		t.Errorf("8 clients all went to %v", used)
	}
}

// TestAnnotationChangesLive: the scheduler changes under load, and not one request notices.
func TestAnnotationChangesLive(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	servers := fmt.Sprintf(" %s/1 %s/1", at(one.IPv4, 8080), at(two.IPv4, 8080))
	buckets := strings.ReplaceAll(servers, "/1", "/128") // of the 256 that sh has
	c.write("web.yaml", with(web(), one, two))
	c.run()
	load := c.startLoad(client, "--mode", "crr", "--rate", "40", "--duration", "8s", "--timeout", lossTimeout.String(),
		"tcp://"+web4.String())
	for _, step := range []struct{ value, kernel string }{{"lc", "lc" + servers}, {"source-hash", "sh" +
		buckets}, {"round-robin", "rr" + servers}, {"least-connection", "lc" + servers}} {
		c.write("web.yaml", with(web(scheduled(step.value)), one, two))
		c.awaitVirtualServer("tcp", web4, step.kernel)
	}
	r, err := load.Wait()
	c.must(err)
	withoutErrors(t, r)

	// A value that is none keeps what is in force, and is shown with what is allowed; so it is after a restart.
	c.write("web.yaml", with(web(scheduled("quickest")), one, two))
	shown := func() error {
		s, err := c.proxier.Status()
		if err != nil || len(s.Services) != 1 || len(s.Services[0].Problems) != 1 {
			return fmt.Errorf("want one problem of one service: %v: %+v", err, s)
		}
		p, front := s.Services[0].Problems[0], s.Services[0].FrontEnds[0]
		for _, word := range []string{"quickest", "lc", "rr", "sh"} {
			if !strings.Contains(p.Message, word) {
				return fmt.Errorf("the problem does not name %s: %+v", word, p)
			}
		}
		if front.Scheduler != "lc" {
			return fmt.Errorf("status shows scheduler %q, want lc", front.Scheduler)
		}
		return nil
	}
	c.await(shown)
	c.awaitVirtualServer("tcp", web4, "lc"+servers)
	if n := strings.Count(c.proxier.Output(), "quickest"); n != 1 {
		t.Errorf("the problem was logged %d times, want once", n)
	}
	c.proxier.Kill()
	c.again()
	c.await(shown)
	c.awaitVirtualServer("tcp", web4, "lc"+servers)
	c.write("web.yaml", with(web(), one, two))
	c.awaitVirtualServer("tcp", web4, "rr"+servers)
}
