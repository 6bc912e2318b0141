//go:build e2e

package e2e

import (
	"net/netip"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// TestUnderAPolicyOfDrop (row 129, B31, B32): INPUT and FORWARD drop by policy. What the operator's own rules leave
// open stays open, and service addresses are.
func TestUnderAPolicyOfDrop(t *testing.T) {
	c := newCluster(t)
	p1, p2, r := c.backend(1, 10, "p1"), c.pod(1, 11, "p2"), c.backend(2, 10, "r")
	for _, rule := range []string{
		"iptables -A INPUT -i lo -j ACCEPT", "iptables -A INPUT -p tcp --dport 22 -j ACCEPT", "iptables -P INPUT DROP",
		"iptables -P FORWARD DROP",
		"ip6tables -A INPUT -p tcp --dport 22 -j ACCEPT", "ip6tables -A INPUT -p ipv6-icmp -j ACCEPT",
		"ip6tables -P INPUT DROP", "ip6tables -P FORWARD DROP",
	} {
		words := strings.Fields(rule)
		if out, err := c.Node1.Run(words[0], append([]string{"-w"}, words[1:]...)...); err != nil {
			t.Fatalf("%s: %v: %s", rule, err, out)
		}
	}
	lb := service("lb", []string{"10.96.1.1", "fd00:10:96::101"}, loadBalancer(1, 30081))
	local := service("local", []string{"10.96.1.2", "fd00:10:96::102"}, loadBalancer(2, 30082), externalLocal,
		healthCheck(32000))
	remote := service("remote", []string{"10.96.1.3", "fd00:10:96::103"}, loadBalancer(3, 30083), externalLocal,
		healthCheck(32001))
	c.write("services.yaml", with(lb, p1, r), with(local, p1, r), with(remote, r))
	c.run()
	const masqueraded = "p1 gw, r node"
	c.matrix("129", lb, cell{c.Outside, "vip", masqueraded}, cell{c.Outside, "np", masqueraded},
		cell{c.Outside, "cip", masqueraded}, cell{p2, "cip", "p1 own, r own"}, cell{p2, "vip", masqueraded})
	// Rows 121, 122: load balancers ask on the health check node ports.
	for url, want := range map[string]int{
		"http://192.168.50.1:32000/": 200, "http://[fd00:50::1]:32000/": 200, "http://192.168.50.1:32001/": 503,
		"http://[fd00:50::1]:32001/": 503,
	} {
		if status, body, err := harness.Get(c.Outside, url); err != nil || status != want ||
			!strings.Contains(body, `"serviceProxyHealthy":true`) {
			t.Errorf("row 121: %s: %d %s %v, want %d", url, status, body, err, want)
		}
	}
	c.write("services.yaml", with(lb, p1, r), with(local, r), with(remote, r))
	c.await(func() error {
		status, _, err := harness.Get(c.Outside, "http://192.168.50.1:32000/")
		if err == nil && status != 503 {
			err = errStill("200")
		}
		return err
	})
	// The rest of the node is as closed as it was.
	c.serve(c.Node1, "node")
	if answer, err := harness.Ask(c.Outside, "tcp", at(c.Node1.IPv4, 8080)); err == nil {
		t.Errorf("the node's own port is open: %+v", answer)
	}
}

func healthCheck(port int32) func(*v1.Service) {
	return func(s *v1.Service) { s.Spec.HealthCheckNodePort = port }
}

// TestDetectLocalMode (row 7): with the links' names instead of networks, pods keep their address and others do not.
func TestDetectLocalMode(t *testing.T) {
	c := newCluster(t)
	p1, p2 := c.backend(1, 10, "p1"), c.pod(1, 11, "p2")
	s := service("web", []string{"10.96.1.1", "fd00:10:96::101"})
	c.write("services.yaml", with(s, p1))
	c.run("--cluster-cidr", "", "--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", "veth")
	c.matrix("7", s, cell{p2, "cip", "p1 own"}, cell{c.Outside, "cip", "p1 gw"}, cell{c.Node1, "cip", "p1 gw"},
		cell{p1, "cip", "p1 gw"})
}

// TestExternalChangesLive: policy and source ranges change under open connections.
func TestExternalChangesLive(t *testing.T) {
	c := newCluster(t)
	p1, r := c.backend(1, 10, "p1"), c.backend(2, 10, "r")
	ips := []string{"10.96.1.1", "fd00:10:96::101"}
	vip4, vip6 := at(netip.MustParseAddr(external4(1)), 80), at(netip.MustParseAddr(external6(1)), 80)
	write := func(change ...func(*v1.Service)) *v1.Service {
		s := service("lb", ips, append([]func(*v1.Service){loadBalancer(1, 30081)}, change...)...)
		c.write("services.yaml", with(s, p1, r))
		return s
	}
	write()
	c.run()
	for _, vip := range []netip.AddrPort{vip4, vip6} {
		held, err := harness.Dial(c.Outside, "tcp", vip)
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		if _, err := harness.AskOn(held); err != nil {
			t.Fatal(err)
		}
		// Row 52: to Local and back. New connections follow, the open one stays.
		for _, step := range []struct {
			change func(*v1.Service)
			want   string
		}{{externalLocal, "p1 own"}, {func(*v1.Service) {}, "p1 gw, r node"}} {
			write(step.change)
			c.await(func() error {
				if got := c.outcome(c.Outside, "tcp", vip, 2); got != step.want {
					return errStill(got + " instead of " + step.want)
				}
				return nil
			})
			if _, err := harness.AskOn(held); err != nil {
				t.Errorf("row 52: the open connection to %s: %v", vip, err)
			}
		}
		// Row 87: a client that is taken off the list is cut off, also on open connections.
		write(sourceRanges(c.Outside))
		c.await(func() error {
			if _, err := harness.Ask(c.Denied, "tcp", vip); err == nil {
				return errStill("open to everybody")
			}
			return nil
		})
		if _, err := harness.AskOn(held); err != nil {
			t.Errorf("row 87: the open connection of a client that may: %v", err)
		}
		write(sourceRanges(c.Denied))
		c.await(func() error {
			if _, err := harness.Ask(c.Denied, "tcp", vip); err != nil {
				return err
			}
			return nil
		})
		if answer, err := harness.AskOn(held); err == nil {
			t.Errorf("row 87: the open connection of a client that was taken off the list: %+v", answer)
		}
		write()
		c.await(func() error { _, err := harness.Ask(c.Outside, "tcp", vip); return err })
	}
}

// TestPingOfAServiceAddress (B34) is refused, or answered by an option.
func TestPingOfAServiceAddress(t *testing.T) {
	for option, answered := range map[string]bool{"--answer-ping=false": false, "--answer-ping": true} {
		c := newCluster(t)
		c.write("services.yaml", with(service("web", []string{"10.96.1.1", "fd00:10:96::101"})))
		c.run(option)
		for _, addr := range []string{"10.96.1.1", "fd00:10:96::101"} {
			if err := harness.Ping(c.Outside, netip.MustParseAddr(addr)); (err == nil) != answered {
				t.Errorf("%s: ping %s: %v", option, addr, err)
			}
		}
		c.must(c.proxier.Stop())
	}
}
