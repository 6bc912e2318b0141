//go:build e2e

package e2e

import (
	"net/netip"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// hostAddr is the host's address in the family of like.
func hostAddr(h *topology.Host, like netip.Addr) netip.Addr {
	if like.Is4() {
		return h.IPv4
	}
	return h.IPv6
}

// gateway is node1's address on its pod network.
func gateway(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.MustParseAddr("10.244.1.1")
	}
	return netip.MustParseAddr("fd00:10:244:1::1")
}

// TestWhoReachesWhatAsWhom sends requests from every client by every way in, and checks which endpoint answers and
// which client address it sees.
func TestWhoReachesWhatAsWhom(t *testing.T) {
	c := newCluster(t)
	local, remote, client := c.backend(1, 10, "local"), c.backend(2, 10, "remote"), c.pod(1, 50, "client")
	toLocal, toRemote := service("to-local", []string{"10.96.0.11", "fd00:10:96::11"}, nodePort), service("to-remote",
		[]string{"10.96.0.12", "fd00:10:96::12"}, nodePort)
	for i := range toRemote.Spec.Ports {
		toRemote.Spec.Ports[i].NodePort = webNodePort + 1
	}
	c.write("services.yaml", with(toLocal, local), with(toRemote, remote))
	c.run()

	own := func(from *topology.Host, to netip.Addr) netip.Addr { return hostAddr(from, to) }
	asGateway := func(_ *topology.Host, to netip.Addr) netip.Addr { return gateway(to) }
	asNode := func(_ *topology.Host, to netip.Addr) netip.Addr { return hostAddr(c.Node1, to) }
	type as = func(*topology.Host, netip.Addr) netip.Addr

	for _, service := range []struct {
		name     string
		ips      []string
		nodePort uint16
		backend  string
		seen     map[*topology.Host]struct{ byClusterIP, byNodePort as }
	}{
		{"to-local", toLocal.Spec.ClusterIPs, webNodePort, "local", map[*topology.Host]struct{ byClusterIP, byNodePort as }{
			client:    {own, asGateway},
			local:     {asGateway, asGateway}, // hairpin
			c.Node1:   {asGateway, asGateway},
			c.Node2:   {nil, asGateway},
			c.Outside: {asGateway, asGateway},
		}},
		{"to-remote", toRemote.Spec.ClusterIPs, webNodePort + 1, "remote",
			map[*topology.Host]struct{ byClusterIP, byNodePort as }{
				client:    {own, asNode},
				c.Node1:   {asNode, asNode},
				c.Outside: {asNode, asNode},
			}},
	} {
		for _, ip := range service.ips {
			clusterIP := netip.MustParseAddr(ip)
			for from, seen := range service.seen {
				for _, network := range []string{"tcp", "udp"} {
					for way, expect := range map[netip.AddrPort]as{
						at(clusterIP, 80): seen.byClusterIP,
						at(hostAddr(c.Node1, clusterIP), service.nodePort): seen.byNodePort,
					} {
						if expect == nil {
							continue
						}
						answer, err := harness.Ask(from, network, way)
						if err != nil { // an IPv6 address is local some time after the kernel has acknowledged it
							t.Logf("%s asks %s %s of %s: %v; it asks again", from.Name, network, way, service.name, err)
							answer, err = harness.Ask(from, network, way)
						}
						if err != nil {
							t.Errorf("%s asks %s %s of %s: %v", from.Name, network, way, service.name, err)
							continue
						}
						if want := expect(from, clusterIP); answer.ID != service.backend || answer.Client != want {
							t.Errorf("%s asks %s %s of %s: %s answers and saw %s, want %s",
								from.Name, network, way, service.name, answer.ID, answer.Client, want)
						}
					}
				}
			}
		}
	}
}

func TestMasqueradeAllHidesPods(t *testing.T) {
	c := newCluster(t)
	c.write("web.yaml", with(web(), c.backend(1, 10, "local")))
	client := c.pod(1, 50, "client")
	c.run("--masquerade-all")
	for _, to := range []netip.AddrPort{web4, web6} {
		if answer := c.ask(client, "tcp", to); answer.Client != gateway(to.Addr()) {
			t.Errorf("by %s the server saw %s, want %s", to, answer.Client, gateway(to.Addr()))
		}
	}
}

// TestRefused asks where nothing may answer.
func TestRefused(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	backend := c.backend(1, 10, "local")
	c.serve(c.Node1, "node")
	empty := service("empty", []string{"10.96.0.20", "fd00:10:96::20"}, nodePort)
	c.write("web.yaml", with(web(), backend), with(empty))
	c.run()

	for _, from := range []*topology.Host{client, c.Node1, c.Outside} {
		for _, target := range []struct{ name, address string }{
			{"a port that the Service does not have, where the node itself listens", "10.96.0.10:8080"},
			{"a port that the Service does not have, where the node itself listens", "[fd00:10:96::10]:8080"},
			{"a port that nobody has", "10.96.0.10:81"},
			{"a port that nobody has", "[fd00:10:96::10]:81"},
			{"a Service without endpoints", "10.96.0.20:80"},
			{"a Service without endpoints", "[fd00:10:96::20]:80"},
			{"a node port without endpoints", at(c.Node1.IPv4, webNodePort).String()},
			{"a node port without endpoints", at(c.Node1.IPv6, webNodePort).String()},
		} {
			answer, err := harness.Ask(from, "tcp", netip.MustParseAddrPort(target.address))
			if err == nil || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("%s asks %s, %s: answer %+v, error %v; want refused", from.Name, target.address, target.name, answer, err)
			}
		}
	}
	// The node's own addresses stay what they were.
	if answer := c.ask(client, "tcp", at(c.Node1.IPv4, 8080)); answer.ID != "node" {
		t.Errorf("%s answers on the node's own port, want the node", answer.ID)
	}
}

func TestNodePortFollowsTheNodesAddresses(t *testing.T) {
	c := newCluster(t)
	c.write("web.yaml", with(web(nodePort), c.backend(1, 10, "local")))
	c.run()
	c.must(c.Node1.AddDummy("extra"))
	for _, prefix := range []string{"192.168.50.77/32", "fd00:50::77/128"} {
		p := netip.MustParsePrefix(prefix)
		to := at(p.Addr(), webNodePort)
		c.must(c.Node1.AddAddress("extra", p))
		c.await(func() error { _, err := harness.Ask(c.Node1, "tcp", to); return err })
		c.must(c.Node1.DeleteAddress("extra", p))
		c.awaitVirtualServer("tcp", to, "none")
		c.ask(c.Outside, "tcp", at(hostAddr(c.Node1, p.Addr()), webNodePort))
	}
}

func TestNodePortAddresses(t *testing.T) {
	c := newCluster(t)
	c.must(c.Node1.AddDummy("extra"))
	c.must(c.Node1.AddAddress("extra", netip.MustParsePrefix("192.168.60.1/32")))
	backend := c.backend(1, 10, "local")
	c.write("web.yaml", with(web(nodePort), backend))
	c.run("--nodeport-addresses", "192.168.60.0/24")
	text := "rr " + at(backend.IPv4, 8080).String() + "/1"
	c.awaitVirtualServer("tcp", netip.MustParseAddrPort("192.168.60.1:30080"), text)
	c.awaitVirtualServer("tcp", at(c.Node1.IPv4, webNodePort), "none")
	// As with kube-proxy, a family of which no network is given is not limited.
	c.awaitVirtualServer("tcp", at(c.Node1.IPv6, webNodePort), "rr "+at(backend.IPv6, 8080).String()+"/1")
}

// TestSessionAffinity: one client keeps its endpoint over many connections, by any scheduler.
func TestSessionAffinity(t *testing.T) {
	c := newCluster(t)
	c.write("web.yaml", with(web(affinity(600)), c.backend(1, 10, "one"), c.backend(1, 11, "two"),
		c.backend(2, 10, "three")))
	client := c.pod(1, 50, "client")
	c.run()
	for _, network := range []string{"tcp", "udp"} {
		for _, to := range []netip.AddrPort{web4, web6} {
			first := c.ask(client, network, to)
			for range 8 {
				if answer := c.ask(client, network, to); answer.ID != first.ID {
					t.Fatalf("%s %s: %s answers after %s", network, to, answer.ID, first.ID)
				}
			}
		}
	}
	c.write("web.yaml", with(web(func(s *v1.Service) { s.Spec.SessionAffinity = v1.ServiceAffinityNone })))
	c.await(func() error {
		v, err := c.kernel.VirtualServer("tcp", web4)
		if err == nil && v.Flags&1 != 0 {
			err = errStill("persistent")
		}
		return err
	})
}

type errStill string

func (e errStill) Error() string { return "still " + string(e) }
