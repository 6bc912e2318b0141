//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestARP (rows 91, 127): the node answers ARP for an external IP of its LAN, and with --ipvs-strict-arp it does not.
func TestARP(t *testing.T) {
	for _, strict := range []bool{false, true} {
		c := newCluster(t)
		lan := netip.MustParseAddrPort("192.168.50.200:80")
		s := service("lan", []string{"10.96.1.1", "fd00:10:96::101"},
			func(s *v1.Service) { s.Spec.ExternalIPs = []string{lan.Addr().String()} })
		c.write("services.yaml", with(s, c.backend(1, 10, "p1")))
		c.run("--external-ip-cidrs", "192.168.50.0/24", fmt.Sprintf("--ipvs-strict-arp=%v", strict))
		answer, err := harness.Ask(c.Outside, "tcp", lan)
		if strict && err == nil {
			t.Errorf("strict ARP, and %s answers", answer.ID)
		}
		if !strict && err != nil {
			t.Errorf("nobody answers ARP: %v", err)
		}
		// A client that sends to the node itself is served in both cases.
		if _, err := harness.Ask(c.Outside, "tcp", netip.MustParseAddrPort("10.96.1.1:80")); err != nil {
			t.Error(err)
		}
		c.must(c.proxier.Stop())
	}
}

// TestServiceComesAgain (B47): a Service is deleted and made again, 10 times, with the same address and endpoint: no
// sooner is it there than it answers, and goes on to.
func TestServiceComesAgain(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	text := with(web(), c.backend(1, 10, "one"))
	c.write("web.yaml", text)
	c.run("--audit-period", "1s")
	for range 10 {
		c.remove("web.yaml")
		c.awaitVirtualServer("tcp", web4, "none")
		c.write("web.yaml", text)
		c.await(func() error { _, err := harness.Ask(client, "tcp", web4); return err })
		for range 5 {
			if _, err := harness.Ask(client, "tcp", web4); err != nil {
				t.Fatalf("after it was there: %v", err)
			}
		}
	}
}

// TestBurstsGather (row 133): 300 changes come in a moment; a pass takes what has gathered, and in the end everything
// is right.
func TestBurstsGather(t *testing.T) {
	c := newCluster(t)
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	c.write("web.yaml", with(web(), one))
	c.run("--ipvs-min-sync-period", "1s", "--audit-period", "0")
	passes := func() float64 {
		n, err := c.proxier.Metric("ipvs_proxier_passes_total")
		c.must(err)
		return n
	}
	before, began := passes(), time.Now()
	for i := range 300 {
		pods := []*topology.Host{one, two}[:1+i%2]
		c.write("web.yaml", with(web(), pods...))
	}
	c.awaitVirtualServer("udp", web4, fmt.Sprintf("rr %s/1 %s/1", at(one.IPv4, 8080), at(two.IPv4, 8080)))
	// One pass a second, and one for each second of draining.
	if n, most := passes()-before, 3+2*time.Since(began).Seconds(); n > most {
		t.Errorf("%v passes, want at most %.0f", n, most)
	}
}

// TestSCTP (row 102): by SCTP everything is as by TCP, masquerading included.
func TestSCTP(t *testing.T) {
	c := newCluster(t)
	c.must(harness.LoadSCTP())
	one, two, client := c.pod(1, 10, "one"), c.pod(2, 10, "two"), c.pod(1, 50, "client")
	for _, pod := range []*topology.Host{one, two} {
		c.serve(pod, pod.Name, "--listen", "sctp://[::]:8080")
	}
	s := web(nodePort)
	s.Spec.Ports = s.Spec.Ports[:1]
	s.Spec.Ports[0].Protocol = v1.ProtocolSCTP
	c.write("web.yaml", with(s, one, two))
	c.run()
	for _, clusterIP := range []netip.AddrPort{web4, web6} {
		like := clusterIP.Addr()
		for _, ask := range []struct {
			from           *topology.Host
			to             netip.AddrPort
			byOne, byOther netip.Addr // the address that the server on this node sees, and the other one
		}{
			{client, clusterIP, hostAddr(client, like), hostAddr(client, like)},
			{c.Node1, clusterIP, gateway(like), hostAddr(c.Node1, like)},
			{c.Outside, at(hostAddr(c.Node1, like), webNodePort), gateway(like), hostAddr(c.Node1, like)},
		} {
			r := c.load(ask.from, "--mode", "crr", "--rate", "50", "--count", "10", "sctp://"+ask.to.String())
			withoutErrors(t, r)
			seen := map[string]string{}
			for _, e := range r.Endpoints {
				for _, client := range e.Clients {
					seen[e.ID] += client.Address
				}
			}
			if len(seen) != 2 || seen["one"] != ask.byOne.String() || seen["two"] != ask.byOther.String() {
				t.Errorf("%s asks %s: %v, want one to see %s and two %s", ask.from.Name, ask.to, seen, ask.byOne, ask.byOther)
			}
		}
	}
	// Without endpoints nobody answers. Linux's SCTP takes the refusal for a lost packet and tries again.
	c.write("web.yaml", with(s))
	c.await(func() error {
		r := c.load(client, "--mode", "crr", "--rate", "10", "--count", "1", "--timeout", "1s", "sctp://"+web4.String())
		if r.Requests.Answered > 0 {
			return errStill(r.Endpoints[0].ID + " answers")
		}
		return nil
	})
}
