//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestTrafficByRoute: with routes in the place of addresses every cell is as it is with addresses. Clients on the node
// have one source for all service addresses then. Those that ask for one endpoint by several ways at once may use one
// source port for two, which IPVS cannot distinguish (B40 in docs/cases.md).
func TestTrafficByRoute(t *testing.T) {
	c := traffic(t, func(cell trafficCell) bool { return cell.from == "node1" }, "--vip-mode", "route")
	if err := c.localBy("route", netip.MustParseAddr("10.96.2.1"), netip.MustParseAddr("fd00:10:96::201")); err != nil {
		t.Error(err)
	}
}

// localBy reports whether the node has an address, or a route, of each VIP, and not the other.
func (c *cluster) localBy(mode string, vips ...netip.Addr) error {
	words := map[string][]string{}
	for _, list := range []struct{ mode, command string }{
		{"address", "ip -o addr show dev kube-ipvs0"}, {"route", "ip route show table local proto 73"}, {"route", "ip -6 route show table local proto 73"},
	} {
		text, err := c.Node1.Run("sh", "-c", list.command)
		if err != nil {
			return err
		}
		words[list.mode] = append(words[list.mode],
			strings.Fields(strings.NewReplacer("/32", "", "/128", "").Replace(text))...)
	}
	for _, vip := range vips {
		for _, by := range []string{"address", "route"} {
			if has := slices.Contains(words[by], vip.String()); has != (by == mode) {
				return fmt.Errorf("by %s: %s has an entry in the list of each %s: %v", mode, vip, by, has)
			}
		}
	}
	return nil
}

// TestVIPModeChangesLive goes from addresses to routes, back, and again to routes, under load from pods, from outside
// and from the node itself, whose clients get another source. No connection breaks, and no request fails. Nothing is
// left of the mode before. A restart in the same mode writes nothing.
func TestVIPModeChangesLive(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two, three := c.backend(1, 10, "one"), c.backend(2, 10, "two"), c.backend(1, 12, "three")
	vip4, vip6 := netip.MustParseAddrPort(external4(7)+":80"), netip.AddrPortFrom(netip.MustParseAddr(external6(7)), 80)
	// Restricted to the node, whose clients are recognized by their source.
	lb := service("lb", []string{"10.96.0.20", "fd00:10:96::20"}, sourceRanges(c.Node1), func(s *v1.Service) {
		s.Spec.Type = v1.ServiceTypeLoadBalancer
		s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: vip4.Addr().String()}, {IP: vip6.Addr().String()}}
	})
	c.write("web.yaml", manifest(thisNode(c.Node1)), with(web(nodePort), one, two), with(lb, three))
	vips := []netip.Addr{web4.Addr(), web6.Addr(), vip4.Addr(), vip6.Addr()}
	mode := func(name string) {
		t.Helper()
		if c.proxier != nil {
			c.must(c.proxier.Stop())
		}
		c.run("--vip-mode", name)
		if err := c.localBy(name, vips...); err != nil {
			t.Error(err)
		}
	}
	mode("address")

	// No client asks the same endpoints by two ways at once: see putUnderLoad.
	held := slices.Concat(c.hold(client, web6, 4), c.hold(c.Denied, at(c.Node1.IPv4, webNodePort), 2), c.hold(c.Outside,
		web6, 4),
		c.hold(c.Node1, web4, 4), c.hold(c.Node1, vip4, 2), c.hold(c.Node1, vip6, 2))
	for _, from := range []*topology.Host{client, c.Node1} {
		conn, err := harness.Dial(from, "udp", web6)
		c.must(err)
		held = append(held, conn)
	}
	stillUsable(t, held, "nothing")
	var loads []*harness.Load
	for _, l := range []struct {
		from     *topology.Host
		mode, to string
	}{
		{client, "crr", "tcp://" + web4.String()}, {c.Outside, "crr", "tcp://" + web4.String()}, {c.Node1, "crr", "tcp://" + web6.String()},
		{client, "udp-rr", "udp://" + web4.String()}, {c.Node1, "udp-rr", "udp://" + web4.String()},
	} {
		loads = append(loads, c.startLoad(l.from, "--mode", l.mode, "--rate", strconv.Itoa(harness.Unhurriedly(20, 5)),
			"--duration", "5m", "--timeout", lossTimeout.String(), l.to))
	}
	for i, name := range []string{"route", "address", "route"} {
		mode(name)
		stillUsable(t, held, "the change to "+name)
		held = append(held, c.newcomers(client, vip4, vip6)...)
		c.must(c.proxier.Stop())
		c.again()
		if n := c.writes(); n != 0 {
			t.Errorf("change %d: the restart with nothing changed wrote %v times", i, n)
		}
		stillUsable(t, held, "a restart by "+name)
	}
	for _, l := range loads {
		r, err := l.Stop()
		c.must(err)
		withoutErrors(t, r)
	}
	c.sameAsFresh(c.args...)
	c.must(c.proxier.Stop())
	if output, err := programs.Cleanup(c.Node1); err != nil {
		t.Fatal(err, output)
	}
	left, err := c.Node1.Run("sh", "-c", "ip route show table local proto 73; ip -6 route show table local proto 73; ip -br link | grep kube-ipvs0 || :; ipvsadm -Sn")
	if err != nil || left != "" {
		t.Errorf("cleanup leaves %q, %v", left, err)
	}
}

// newcomers opens connections that live through the changes to come.
func (c *cluster) newcomers(client *topology.Host, vips ...netip.AddrPort) (held []net.Conn) {
	c.t.Helper()
	held = c.hold(client, web6, 1)
	for _, vip := range vips {
		held = append(held, c.hold(c.Node1, vip, 1)...)
	}
	return held
}

// TestRoutesPreferTheNodesAddress: the source of clients on the node is the Node's address while it is known to the
// cluster and on a link. That holds again when it comes again. No audit helps.
func TestRoutesPreferTheNodesAddress(t *testing.T) {
	c := newCluster(t)
	known := func(addrs ...netip.Addr) {
		node := thisNode(c.Node1)
		node.Status.Addresses = nil
		for _, addr := range addrs {
			node.Status.Addresses = append(node.Status.Addresses,
				v1.NodeAddress{Type: v1.NodeInternalIP, Address: addr.String()})
		}
		c.write("node.yaml", manifest(node))
	}
	source := func(to netip.AddrPort) (netip.Addr, error) {
		conn, err := harness.Dial(c.Node1, "udp", to)
		if err != nil {
			return netip.Addr{}, err
		}
		defer conn.Close()
		return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
	}
	// Without a preferred one the source is the VIP itself in IPv4, and any of the node's addresses in IPv6.
	expect := func(when string, want4, want6 netip.Addr) {
		t.Helper()
		if err := harness.Await(20*time.Second, func() error {
			got4, err4 := source(web4)
			got6, err6 := source(web6)
			none6 := !want6.IsValid() && got6 != c.Node1.IPv6 && got6.String() != "fd00:60::1"
			if err := errors.Join(err4, err6); err != nil || got4 != want4 || got6 != want6 && !none6 {
				return fmt.Errorf("the sources are %s and %s, want %s and %s: %w", got4, got6, want4, want6, err)
			}
			return nil
		}); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		for _, to := range []netip.AddrPort{web4, web6} {
			for _, network := range []string{"tcp", "udp"} {
				if answer := c.ask(c.Node1, network, to); answer.Client != gateway(to.Addr()) {
					t.Errorf("%s: by %s the endpoint saw %s, want %s", when, to, answer.Client, gateway(to.Addr()))
				}
			}
		}
	}
	known(c.Node1.IPv4, c.Node1.IPv6)
	c.write("web.yaml", with(web(), c.backend(1, 10, "one")))
	c.run("--vip-mode", "route", "--audit-period", "0")
	expect("the first pass", c.Node1.IPv4, c.Node1.IPv6)

	extra4, extra6 := netip.MustParseAddr("192.168.60.1"), netip.MustParseAddr("fd00:60::1")
	known(extra4, extra6)
	expect("an address that is on no link", web4.Addr(), netip.Addr{})
	c.must(c.Node1.AddDummy("extra"))
	for range 2 {
		for _, addr := range []netip.Addr{extra4, extra6} {
			c.must(c.Node1.AddAddress("extra", netip.PrefixFrom(addr, addr.BitLen())))
		}
		expect("the address came", extra4, extra6)
		// It goes and comes again before anybody looks: from Linux 6.6 on the IPv6 routes have no source then.
		c.must(syscall.Kill(c.proxier.PID(), syscall.SIGSTOP))
		for _, addr := range []netip.Addr{extra4, extra6} {
			c.must(c.Node1.DeleteAddress("extra", netip.PrefixFrom(addr, addr.BitLen())))
			c.must(c.Node1.AddAddress("extra", netip.PrefixFrom(addr, addr.BitLen())))
		}
		c.must(syscall.Kill(c.proxier.PID(), syscall.SIGCONT))
		expect("the address was away for a moment", extra4, extra6)
		for _, addr := range []netip.Addr{extra4, extra6} {
			c.must(c.Node1.DeleteAddress("extra", netip.PrefixFrom(addr, addr.BitLen())))
		}
		expect("the address went", web4.Addr(), netip.Addr{})
	}
	known(c.Node1.IPv4, c.Node1.IPv6)
	expect("the node is known by its address again", c.Node1.IPv4, c.Node1.IPv6)
}

// TestRouteDriftIsRepaired: somebody deletes and changes routes; the next audit repairs them.
func TestRouteDriftIsRepaired(t *testing.T) {
	c := newCluster(t)
	c.write("web.yaml", manifest(thisNode(c.Node1)), with(web(nodePort), c.backend(1, 10, "one"), c.backend(2, 10, "two")))
	c.run("--vip-mode", "route", "--audit-period", "1s")
	before := c.dataplane()
	const vips = "ip route show table local proto 73; ip -6 route show table local proto 73; ip -br addr show dev kube-ipvs0 2>&1 | sed 's/@.*//' || :"
	whole, err := c.Node1.Run("sh", "-c", vips)
	c.must(err)
	if err := c.localBy("route", web4.Addr(), web6.Addr()); err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{
		"ip route del local 10.96.0.10/32 dev lo table local proto 73",
		"ip -6 route del local fd00:10:96::10/128 dev lo table local proto 73",
		"ip route replace local 10.96.0.10/32 dev lo table local proto 73 metric 73",
		"ip -6 route replace local fd00:10:96::10/128 dev lo table local proto 73 metric 73",
		"ip route replace local 10.96.0.10/32 dev lo table local proto 73 metric 73 src 10.244.1.1",
		"ip -6 route replace local fd00:10:96::10/128 dev lo table local proto 73 metric 73 src fd00:10:244:1::1",
		"ip route add local 10.96.0.99/32 dev lo table local proto 73 metric 73",
		"ip -6 route add local fd00:10:96::99/128 dev lo table local proto 73 metric 73",
		"ip addr add 10.96.0.10/32 dev kube-ipvs0; ip -6 addr add fd00:10:96::10/128 dev kube-ipvs0", "ip link del kube-ipvs0",
		"ip route flush table local proto 73; ip -6 route flush table local proto 73",
	} {
		// While it sleeps nothing is repaired, so that the damage is sure to be there.
		c.must(syscall.Kill(c.proxier.PID(), syscall.SIGSTOP))
		damaged, err := c.Node1.Run("sh", "-ec", damage+"; "+vips)
		c.must(syscall.Kill(c.proxier.PID(), syscall.SIGCONT))
		if err != nil || damaged == whole {
			t.Fatalf("%s does no damage: %v", damage, err)
		}
		if err := harness.Await(20*time.Second, func() error {
			if now, err := c.Node1.Run("sh", "-c", vips); err != nil || now != whole {
				return fmt.Errorf("%v: there is\n%s\nwant\n%s", err, now, whole)
			}
			return nil
		}); err != nil {
			t.Fatalf("after %s: %v", damage, err)
		}
		c.ask(c.Node1, "tcp", web4)
		c.ask(c.Outside, "tcp", web6)
	}
	if now := c.dataplane(); now != before {
		t.Errorf("the dataplane is\n%s\nwant\n%s", now, before)
	}
}

// TestClientsOnTheNode: the node's own clients reach every endpoint, and are masqueraded. That holds by whatever pods
// are distinguished from other clients, and whether or not the cluster knows the node's address. Their source, which
// routes decide, may even be in the pods' network.
func TestClientsOnTheNode(t *testing.T) {
	c := newCluster(t)
	p1, p2, r := c.backend(1, 10, "p1"), c.pod(1, 11, "p2"), c.backend(2, 10, "r")
	c.serve(c.Node1, "host")
	s, self := web(nodePort), service("self", []string{"10.96.0.30", "fd00:10:96::30"})
	c.write("web.yaml", with(s, p1, r), with(self, c.Node1))
	for _, mode := range []string{"address", "route"} {
		for _, known := range []bool{false, true} {
			if known {
				c.write("node.yaml", manifest(thisNode(c.Node1)))
			}
			for _, pods := range [][]string{
				{"--cluster-cidr", topology.PodCIDRs}, {"--cluster-cidr", ""}, {"--cluster-cidr", topology.PodCIDRs + ",192.168.50.0/24,fd00:50::/64"},
				{"--cluster-cidr", "", "--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", "veth"},
			} {
				what := fmt.Sprint(mode, " ", known, " ", pods)
				c.run(append(pods, "--vip-mode", mode)...)
				c.matrix(what, s, cell{c.Node1, "cip", "p1 gw, r node"}, cell{p2, "cip", "p1 own, r own"})
				c.matrix(what, s, cell{c.Node1, "np", "p1 gw, r node"}) // one way at a time, see B40
				c.matrix(what, self, cell{c.Node1, "cip", "host node | host gw"}, cell{p1, "cip", "host own"})
				c.must(c.proxier.Stop())
			}
			if known {
				c.remove("node.yaml")
			}
		}
	}
}

// TestRoutesAndTheLAN: ARP for a service address on the LAN, and pings, are answered as with addresses: where they are
// to be.
func TestRoutesAndTheLAN(t *testing.T) {
	c := newCluster(t)
	lan := netip.MustParseAddrPort("192.168.50.200:80")
	s := web(func(s *v1.Service) { s.Spec.ExternalIPs = []string{lan.Addr().String()} })
	c.write("services.yaml", with(s, c.backend(1, 10, "p1")))
	for _, allowed := range []bool{false, true} {
		c.run("--vip-mode", "route", "--external-ip-cidrs", "192.168.50.0/24", fmt.Sprintf("--ipvs-strict-arp=%v",
			!allowed), fmt.Sprintf("--answer-ping=%v", allowed))
		// Nobody takes it back.
		c.must(c.Node1.Sysctl("net/ipv4/conf/all/arp_ignore", map[bool]string{false: "1", true: "0"}[allowed]))
		ask := func() error { _, err := harness.Ask(c.Outside, "tcp", lan); return err }
		err := ask()
		if allowed { // what was not answered before may be on its way still
			err = harness.Await(20*time.Second, ask)
		}
		if (err == nil) != allowed {
			t.Errorf("ARP, to be answered: %v: %v", allowed, err)
		}
		for _, addr := range []netip.Addr{web4.Addr(), web6.Addr()} {
			if err := harness.Ping(c.Outside, addr); (err == nil) != allowed {
				t.Errorf("ping of %s, to be answered: %v: %v", addr, allowed, err)
			}
		}
		c.must(c.proxier.Stop())
	}
}
