//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// sysctl reads a sysctl of node1; name is a path below /proc/sys.
func (c *cluster) sysctl(name string) (value string) {
	c.t.Helper()
	c.must(c.Node1.Do(func() error {
		data, err := os.ReadFile("/proc/sys/" + name)
		value = strings.TrimSpace(string(data))
		return err
	}))
	return value
}

// TestSysctls: rows 126 and B49. Whatever a node has, it gets what the proxier needs, reports once what changed, and
// can forward IPv6 to a pod of another node. What others change later is repaired.
func TestSysctls(t *testing.T) {
	c := newCluster(t)
	wrong := map[string]string{
		"net/ipv4/ip_forward": "0", "net/ipv6/conf/all/forwarding": "0", "net/ipv4/vs/conntrack": "0",
		"net/ipv4/vs/expire_nodest_conn":        "0",
		"net/ipv4/vs/expire_quiescent_template": "0", "net/ipv4/conf/all/arp_ignore": "0",
		"net/ipv4/conf/all/arp_announce":         "0",
		"net/netfilter/nf_conntrack_udp_timeout": "30",
	}
	for name, value := range wrong {
		c.must(c.Node1.Sysctl(name, value))
	}
	reuse := c.sysctl("net/ipv4/vs/conn_reuse_mode")
	c.write("web.yaml", with(web(nodePort), c.backend(2, 10, "remote")))
	c.run("--ipvs-strict-arp", "--ipvs-udp-timeout", "17s", "--conntrack-udp-timeout", "40s", "--audit-period", "1s")
	lines := []string{"name=ipvs.timeout.udp old=300 new=17", "a flow keeps its endpoint for 17s"}
	for name, want := range map[string]string{
		"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1", "net/ipv4/vs/conntrack": "1",
		"net/ipv4/vs/expire_nodest_conn":        "1",
		"net/ipv4/vs/expire_quiescent_template": "1", "net/ipv4/conf/all/arp_ignore": "1",
		"net/ipv4/conf/all/arp_announce":         "2",
		"net/netfilter/nf_conntrack_udp_timeout": "40",
	} {
		if got := c.sysctl(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
		lines = append(lines, fmt.Sprintf("name=%s old=%s new=%s", strings.ReplaceAll(name, "/", "."), wrong[name], want))
	}
	c.await(func() error {
		for _, text := range lines {
			if n := strings.Count(c.proxier.Output(), text); n != 1 {
				return fmt.Errorf("the log says %d times %q, want once", n, text)
			}
		}
		return nil
	})
	// The test's kernels are newer than 5.8.
	if got := c.sysctl("net/ipv4/vs/conn_reuse_mode"); got != reuse {
		t.Errorf("conn_reuse_mode is %s, want %s as found", got, reuse)
	}
	for _, addr := range []netip.Addr{c.Node1.IPv4, c.Node1.IPv6} {
		for _, network := range []string{"tcp", "udp"} {
			if answer := c.ask(c.Outside, network, at(addr, webNodePort)); answer.ID != "remote" ||
				answer.Client != hostAddr(c.Node1, addr) {
				t.Errorf("%s %s: %+v, want the remote pod, and the node as its client", network, addr, answer)
			}
		}
	}
	timeouts := func() string {
		text, err := c.Node1.Run("ipvsadm", "-L", "--timeout")
		c.must(err)
		return strings.TrimSpace(text)
	}
	const want = "Timeout (tcp tcpfin udp): 900 120 17"
	if got := timeouts(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	_, err := c.Node1.Run("ipvsadm", "--set", "0", "0", "99")
	c.must(err)
	c.must(c.Node1.Sysctl("net/ipv6/conf/all/forwarding", "0"))
	c.await(func() error {
		if got := timeouts() + " " + c.sysctl("net/ipv6/conf/all/forwarding"); got != want+" 1" {
			return errors.New(got)
		}
		return nil
	})
}

// ear is a pod that counts UDP datagrams and answers none.
type ear struct {
	*net.UDPConn
	host *topology.Host
	// fences are the sockets of all clients to a Service that this pod alone serves.
	fences []net.Conn
}

func (c *cluster) ear(number int, name string) *ear {
	c.t.Helper()
	e := &ear{host: c.pod(1, number, name)}
	c.must(e.host.Do(func() (err error) {
		e.UDPConn, err = net.ListenUDP("udp", &net.UDPAddr{Port: 8080})
		return err
	}))
	c.t.Cleanup(func() { e.Close() })
	return e
}

const end = "end"

// heard returns how many datagrams have come since the last call. Each client sends a last one on a way of the same
// length, which nothing that it sent before can be behind.
func (c *cluster) heard(e *ear) (n int) {
	c.t.Helper()
	for _, fence := range e.fences {
		_, err := fence.Write([]byte(end))
		c.must(err)
	}
	c.must(e.SetReadDeadline(time.Now().Add(20 * time.Second)))
	buffer := make([]byte, 100)
	for ends := 0; ends < len(e.fences); {
		size, err := e.Read(buffer)
		c.must(err)
		if string(buffer[:size]) == end {
			ends++
		} else {
			n++
		}
	}
	return n
}

// TestUDPSendersLeavePodsThatAreGone: rows 111 and B13 to B17. Sockets that only send, of a host outside, a pod and the
// node, to ClusterIP and node port: soon after a change no datagram reaches the pod that is gone, and all reach the one
// that is there. A flow to a foreign host on the number of the node port stays tracked.
func TestUDPSendersLeavePodsThatAreGone(t *testing.T) {
	c := newCluster(t)
	old, young, client := c.ear(10, "old"), c.ear(11, "young"), c.pod(1, 12, "client")
	udpOnly := func(s *v1.Service) { s.Spec.Ports = s.Spec.Ports[1:] }
	dns := web(udpOnly, nodePort)
	fences := map[*ear]netip.Addr{old: netip.MustParseAddr("10.96.0.20"), young: netip.MustParseAddr("10.96.0.21")}
	for e, addr := range fences {
		c.write(e.host.Name+".yaml", with(service(e.host.Name, []string{addr.String()}, udpOnly), e.host))
	}
	c.run("--conntrack-udp-timeout", "600s")
	dial := func(from *topology.Host, to netip.AddrPort) net.Conn {
		conn, err := harness.Dial(from, "udp", to)
		c.must(err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	for e, addr := range fences {
		c.awaitVirtualServer("udp", at(addr, 80), fmt.Sprintf("rr %s:8080/1", e.host.IPv4))
		for _, from := range []*topology.Host{c.Outside, client, c.Node1} {
			e.fences = append(e.fences, dial(from, at(addr, 80)))
		}
	}
	foreign := at(c.Outside.IPv4, webNodePort)
	_, err := dial(client, foreign).Write([]byte("x"))
	c.must(err)

	// The senders are there before their Service is.
	var streams []net.Conn
	for _, from := range []*topology.Host{c.Outside, client} {
		for _, to := range []netip.AddrPort{web4, web6, at(c.Node1.IPv4, webNodePort), at(c.Node1.IPv6, webNodePort)} {
			streams = append(streams, dial(from, to))
		}
	}
	send := func(each int) int {
		for _, stream := range streams {
			for range each {
				// A send may return the refusal of an earlier datagram, and send nothing.
				_, err := stream.Write([]byte("x"))
				for tries := 0; errors.Is(err, unix.ECONNREFUSED) && tries < 10; tries++ {
					_, err = stream.Write([]byte("x"))
				}
				if err != nil && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EPERM) &&
					!errors.Is(err, unix.ENETUNREACH) {
					t.Fatal(err)
				}
			}
		}
		return each * len(streams)
	}
	// serving changes the endpoints, and waits until the kernel has them and each sender reaches the right one. From
	// then on the others get nothing.
	serving := func(now *ear, others ...*ear) {
		t.Helper()
		var pods []*topology.Host
		if now != nil {
			pods = append(pods, now.host)
		}
		c.write("dns.yaml", with(dns, pods...))
		for _, to := range []netip.AddrPort{web4, web6, at(c.Node1.IPv4, webNodePort), at(c.Node1.IPv6, webNodePort)} {
			text := "rr"
			if now != nil {
				text += fmt.Sprintf(" %s/1", at(hostAddr(now.host, to.Addr()), 8080))
			}
			c.awaitVirtualServer("udp", to, text)
		}
		if now != nil {
			c.await(func() error {
				if sent, heard := send(1), c.heard(now); heard != sent {
					return fmt.Errorf("%s hears %d datagrams of %d", now.host.Name, heard, sent)
				}
				return nil
			})
			if sent, heard := send(5), c.heard(now); heard != sent {
				t.Errorf("%s hears %d datagrams of %d", now.host.Name, heard, sent)
			}
		}
		for _, e := range others {
			c.heard(e) // what came before
		}
		send(5)
		for _, e := range others {
			if heard := c.heard(e); heard != 0 {
				t.Errorf("%s, which serves no more, hears %d datagrams", e.host.Name, heard)
			}
		}
		if now != nil {
			c.heard(now)
		}
	}
	send(1)
	serving(old)
	// The node itself can only send to a service address that it has.
	for _, to := range []netip.AddrPort{web4, web6, at(c.Node1.IPv4, webNodePort), at(c.Node1.IPv6, webNodePort)} {
		streams = append(streams, dial(c.Node1, to))
	}
	serving(old)
	serving(young, old)
	serving(nil, old, young)
	serving(young, old)
	c.remove("dns.yaml")
	for _, to := range []netip.AddrPort{web4, web6, at(c.Node1.IPv4, webNodePort), at(c.Node1.IPv6, webNodePort)} {
		c.awaitVirtualServer("udp", to, "none")
	}
	c.heard(young)
	send(5)
	if heard := c.heard(young) + c.heard(old); heard != 0 {
		t.Errorf("%d datagrams after the Service is gone", heard)
	}

	var tracked int
	c.must(c.Node1.Do(func() error {
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		for _, f := range flows {
			if f.Forward.DstIP.Equal(foreign.Addr().AsSlice()) && f.Forward.DstPort == foreign.Port() {
				tracked++
			}
		}
		return err
	}))
	if tracked != 1 {
		t.Errorf("%d entries of the flow to the foreign host %s, want 1 (B16)", tracked, foreign)
	}
	forgotten, err := c.proxier.Metric("ipvs_proxier_forgotten_flows_total")
	c.must(err)
	if forgotten == 0 {
		t.Error("nothing was forgotten: the senders that were there before the Service must have been")
	}
}
