//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// hold opens connections that stay.
func (c *cluster) hold(from *topology.Host, to netip.AddrPort, n int) []net.Conn {
	c.t.Helper()
	var held []net.Conn
	for range n {
		conn, err := harness.Dial(from, "tcp", to)
		c.must(err)
		c.t.Cleanup(func() { conn.Close() })
		if _, err := harness.AskOn(conn); err != nil {
			c.t.Fatalf("a new connection to %s: %v", to, err)
		}
		held = append(held, conn)
	}
	return held
}

func stillUsable(t *testing.T, held []net.Conn, after string) {
	t.Helper()
	for _, conn := range held {
		if _, err := harness.AskOn(conn); err != nil {
			t.Errorf("a connection to %s that was open before: after %s: %v", conn.RemoteAddr(), after, err)
		}
	}
}

// writes returns how many operations the proxier has done, by its own count.
func (c *cluster) writes() float64 {
	c.t.Helper()
	n, err := c.proxier.Metric("ipvs_proxier_operations_total")
	c.must(err)
	return n
}

// changing is what differs between two looks at the same dataplane: times, counters, lifetimes, link numbers.
var changing = regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]|\\? +valid_lft.*|^\d+: |initval 0x[0-9a-f]+`)

// dataplane is everything in the kernel that the proxier could have written, without counters.
func (c *cluster) dataplane() string {
	c.t.Helper()
	var text strings.Builder
	for _, command := range [][]string{{"ipvsadm", "-Sn"}, {"ipset", "save"}, {"iptables-save"}, {"ip6tables-save"},
		{"ip", "-o", "addr", "show", "dev", "kube-ipvs0"},
		{"ip", "route", "show", "table", "local", "proto", "73"}, {"ip", "-6", "route", "show", "table", "local", "proto", "73"}} {
		output, err := c.Node1.Run(command[0], command[1:]...)
		if err != nil {
			output = err.Error() // the link may be away for a moment
		}
		if command[0] == "ipset" {
			// Its own -sorted leaves the end of a line out now and then, where there are a thousand entries (ipset
			// 7.17).
			lines := strings.SplitAfter(output, "\n")
			slices.Sort(lines)
			output = strings.Join(lines, "")
		}
		text.WriteString(output)
	}
	return changing.ReplaceAllString(text.String(), "")
}

// untilStopped starts a load whose every request is to be answered, for as long as what happens meanwhile takes, which
// is long on a slow machine. There it asks less often, down to a quarter.
func (c *cluster) untilStopped(from *topology.Host, mode string, rate int, target string) *harness.Load {
	c.t.Helper()
	return c.startLoad(from, "--mode", mode, "--rate", strconv.Itoa(harness.Unhurriedly(rate, rate/4)), "--duration", "1h",
		"--timeout", lossTimeout.String(), target)
}

// TestRestartIsNotNoticed: the proxier is killed under load and started again, and ended and started again. No
// connection breaks, no request fails, and nothing is written.
func TestRestartIsNotNoticed(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	c.write("web.yaml", with(web(nodePort, affinity(3600), scheduled("lc")), c.backend(1, 10, "one"),
		c.backend(2, 10, "two")),
		with(service("dns", []string{"fd00:10:96::53", "10.96.0.53"})))
	c.run()
	held := append(c.hold(client, web4, 2), c.hold(c.Outside, at(c.Node1.IPv6, webNodePort), 2)...)
	before := c.dataplane()

	loads := []*harness.Load{
		c.untilStopped(client, "crr", 40, "tcp://"+web4.String()),
		c.untilStopped(c.Outside, "udp-rr", 20, "udp://"+at(c.Node1.IPv4, webNodePort).String()),
	}
	for _, end := range []struct {
		name string
		by   func()
	}{{"SIGKILL", func() { c.proxier.Kill() }}, {"SIGTERM", func() { c.must(c.proxier.Stop()) }}} {
		end.by()
		stillUsable(t, held, end.name)
		if end.name == "SIGTERM" && c.dataplane() != before {
			t.Errorf("%s changed the dataplane:\n%s", end.name, c.dataplane())
		}
		c.again()
		if n := c.writes(); n != 0 {
			t.Errorf("the start after %s wrote %v times", end.name, n)
		}
		stillUsable(t, held, "the start after "+end.name)
	}
	if now := c.dataplane(); now != before {
		t.Errorf("the restarts changed the dataplane, before:\n%s\nafter:\n%s", before, now)
	}
	for _, l := range loads {
		r, err := l.Stop()
		c.must(err)
		withoutErrors(t, r)
	}
}

// TestDrain: an endpoint that goes keeps its connections and gets no new ones, until they end.
func TestDrain(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	a, b := at(one.IPv4, 8080), at(two.IPv4, 8080)
	c.write("web.yaml", with(web(), one, two))
	c.run()
	held := c.hold(client, web4, 2) // round-robin: one each

	c.write("web.yaml", with(web(), two))
	c.awaitVirtualServer("tcp", web4, fmt.Sprintf("rr %s/0 %s/1", a, b))
	stillUsable(t, held, "its endpoint was removed")
	for range 4 {
		if id := c.ask(client, "tcp", web4).ID; id != "two" {
			t.Errorf("%s answers a new connection, want two", id)
		}
	}
	// Back while it drains: nothing was lost.
	c.write("web.yaml", with(web(), one, two))
	c.awaitVirtualServer("tcp", web4, fmt.Sprintf("rr %s/1 %s/1", a, b))
	stillUsable(t, held, "its endpoint came back")

	c.write("web.yaml", with(web(), two))
	c.awaitVirtualServer("tcp", web4, fmt.Sprintf("rr %s/0 %s/1", a, b))
	for _, conn := range held {
		// A reset leaves IPVS's table after 10 s; after an ordinary close the entry is there for another 120.
		c.must(conn.(*net.TCPConn).SetLinger(0))
		conn.Close()
	}
	c.must(harness.Await(40*time.Second, func() error {
		v, err := c.kernel.VirtualServer("tcp", web4)
		if err == nil && v.Text() != fmt.Sprintf("rr %s/1", b) {
			err = errors.New("still " + v.Text())
		}
		return err
	}))
}

// TestServiceGoes: nothing is left of a Service that is deleted, and others are as they were.
func TestServiceGoes(t *testing.T) {
	c := newCluster(t)
	client, backend := c.pod(1, 50, "client"), c.backend(1, 10, "one")
	c.write("stays.yaml", with(service("stays", []string{"10.96.0.20", "fd00:10:96::20"}), backend))
	c.run()
	before := c.dataplane()
	c.write("web.yaml", with(web(nodePort), backend))
	for _, to := range []netip.AddrPort{web4, web6, at(c.Node1.IPv4, webNodePort)} {
		c.await(func() error { _, err := harness.Ask(client, "udp", to); return err })
	}
	c.remove("web.yaml")
	c.await(func() error {
		if now := c.dataplane(); now != before {
			return fmt.Errorf("left over:\n%s\nwant:\n%s", now, before)
		}
		return nil
	})
}

// TestDriftIsRepaired: what somebody deletes or changes by hand comes back with the next audit.
func TestDriftIsRepaired(t *testing.T) {
	c := newCluster(t)
	c.write("web.yaml", with(web(nodePort), c.backend(1, 10, "one"), c.backend(2, 10, "two")))
	c.run("--audit-period", "1s")
	before := c.dataplane()
	for _, damage := range []string{
		"ipvsadm -D -t 10.96.0.10:80", "ipvsadm -D -t [fd00:10:96::10]:80", "ipvsadm -d -t 10.96.0.10:80 -r 10.244.1.10:8080",
		"ipvsadm -E -t 10.96.0.10:80 -s wlc", "ipvsadm -e -t 10.96.0.10:80 -r 10.244.1.10:8080 -m -w 7",
		"ipvsadm -a -t 10.96.0.10:80 -r 10.244.9.9:8080 -m",
		"ip addr del 10.96.0.10/32 dev kube-ipvs0", "ip -6 addr del fd00:10:96::10/128 dev kube-ipvs0",
		"ip link del kube-ipvs0", "ip addr add 10.96.0.99/32 dev kube-ipvs0",
		"ipset del IPVSP-FRONT-END 10.96.0.10,tcp:80", "ipset add IPVSP-FRONT-END 10.96.0.99,tcp:80",
		"ipset flush IPVSP-6-VIP",
		"iptables -t nat -F IPVSP-POSTROUTING", "ip6tables -t nat -D PREROUTING 1",
		"iptables -t nat -A IPVSP-SERVICES -j RETURN", "iptables -F INPUT",
		"ipvsadm -C",
	} {
		if _, err := c.Node1.Run("sh", "-c", damage); err != nil {
			t.Fatal(err)
		}
		if err := harness.Await(20*time.Second, func() error {
			if now := c.dataplane(); now != before {
				return fmt.Errorf("the dataplane is\n%s\nwant\n%s", now, before)
			}
			return nil
		}); err != nil {
			t.Fatalf("after %s: %v", damage, err)
		}
	}
}

// foreignObjects make what is somebody else's: virtual servers, sets, chains and rules, and an address on a link.
var foreignObjects = []string{
	"ip link add other type dummy", "ip addr add 10.96.7.7/32 dev other",
	"ipvsadm -A -t 10.96.7.7:80 -s wrr", "ipvsadm -a -t 10.96.7.7:80 -r 10.244.1.10:8080 -m -w 3",
	"ipvsadm -A -u [fd00:10:96::77]:53 -s rr", "ipvsadm -A -f 7 -s rr",
	"ipset create KUBE-CLUSTER-IP hash:ip,port", "ipset add KUBE-CLUSTER-IP 10.96.7.7,tcp:80",
	"ipset create mine hash:net",
	"iptables -t nat -N KUBE-SERVICES", "iptables -t nat -A PREROUTING -j KUBE-SERVICES",
	"iptables -t nat -A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN",
	"iptables -A INPUT -p tcp --dport 22 -j ACCEPT", "ip6tables -A FORWARD -s fd00::/8 -j ACCEPT",
}

// TestForeignSurvives: what is not ours stays as it is, while the proxier runs and when it cleans up.
func TestForeignSurvives(t *testing.T) {
	c := newCluster(t)
	if _, err := c.Node1.Run("sh", "-ec", strings.Join(foreignObjects, "\n")); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		text, err := c.Node1.Run("sh", "-c", "ipvsadm -Sn; ipset save -sorted; iptables-save; ip6tables-save; ip -o addr show dev other")
		c.must(err)
		return changing.ReplaceAllString(text, "")
	}
	before := state()
	c.write("web.yaml", with(web(nodePort), c.backend(1, 10, "one")))
	c.run("--audit-period", "1s")
	c.awaitAudits(3)
	if s, err := c.proxier.Status(); err != nil || s.Foreign < 2 {
		t.Errorf("status says %+v virtual servers of others, %v", s, err)
	}
	c.must(c.proxier.Stop())
	output, err := programs.Cleanup(c.Node1)
	c.must(err)
	// Tables that were never used are not printed; using them is not leaving something behind.
	empty := regexp.MustCompile(`(?m)^\*\w+\n(:[A-Z]+ ACCEPT ?\n)+COMMIT\n`)
	if now, was := empty.ReplaceAllString(state(), ""), empty.ReplaceAllString(before, ""); now != was {
		t.Errorf("cleanup (%s) leaves\n%s\nbefore the proxier there was\n%s", output, now, was)
	}
	if links, err := c.Node1.Run("ip", "-o", "link"); err != nil || strings.Contains(links, "kube-ipvs0") {
		t.Errorf("cleanup leaves the link: %s %v", links, err)
	}
	if output, err := programs.Cleanup(c.Node1); err != nil || !strings.HasPrefix(output, "0 ") {
		t.Errorf("cleanup of nothing: %q, %v", output, err)
	}
}

// TestClusterIPMoves: the Service gets another address and another protocol; the old ones refuse.
func TestClusterIPMoves(t *testing.T) {
	c := newCluster(t)
	client, backend := c.pod(1, 50, "client"), c.backend(1, 10, "one")
	c.write("web.yaml", with(web(), backend))
	c.run()
	c.ask(client, "tcp", web4)
	moved := service("web", []string{"10.96.0.44"}, func(s *v1.Service) { s.Spec.Ports = s.Spec.Ports[:1] })
	c.write("web.yaml", with(moved, backend))
	c.awaitVirtualServer("tcp", netip.MustParseAddrPort("10.96.0.44:80"), "rr "+at(backend.IPv4, 8080).String()+"/1")
	for _, network := range []string{"tcp", "udp"} {
		c.awaitVirtualServer(network, web4, "none")
		c.awaitVirtualServer(network, web6, "none")
	}
	c.awaitVirtualServer("udp", netip.MustParseAddrPort("10.96.0.44:80"), "none")
	c.ask(client, "tcp", netip.MustParseAddrPort("10.96.0.44:80"))
}
