//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestRefusedEndpoint (kubernetes#101506): an endpoint that the API server takes and the kernel refuses is a Problem of
// its Service, whose other endpoints serve, and leaves the node healthy; once it is gone all is well.
func TestRefusedEndpoint(t *testing.T) {
	c := newCluster(t)
	one := c.backend(1, 10, "one")
	// The kernel refuses addresses that its local table has as broadcast (net/netfilter/ipvs/ip_vs_ctl.c,
	// __ip_vs_new_dest). One such address is refused before; of a whole network of them the proxier does not know.
	broadcast := &topology.Host{Node: "elsewhere", IPv4: netip.MustParseAddr("192.168.50.255"), IPv6: one.IPv6}
	network := &topology.Host{Node: "elsewhere", IPv4: netip.MustParseAddr("192.168.50.77"), IPv6: one.IPv6}
	_, err := c.Node1.Run("ip", "route", "add", "broadcast", "192.168.50.76/30", "dev", "eth0", "table", "local")
	c.must(err)
	pod := c.pod(1, 50, "client")
	c.write("services.yaml", with(web(nodePort), one, broadcast, network))
	c.start("--manifests", c.manifests)
	for _, reason := range []string{"BroadcastEndpoint", "KernelRefused"} {
		c.await(func() error {
			if _, text, err := c.proxier.Get("http://127.0.0.1:10249/status"); err != nil || !strings.Contains(text, reason) {
				return fmt.Errorf("no word of %s: %s, %w", reason, text, err)
			}
			return nil
		})
	}
	// Longer than a node may be unsound before /healthz says so.
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		for _, path := range []string{"healthz", "livez"} {
			if status, text, err := c.proxier.Get("http://127.0.0.1:10256/" + path); err != nil || status != 200 {
				t.Fatalf("/%s is %d %s, %v", path, status, text, err)
			}
		}
	}
	if answer := c.ask(pod, "tcp", web4); answer.ID != "one" {
		t.Errorf("%s answers, want one", answer.ID)
	}
	c.write("services.yaml", with(web(nodePort), one))
	c.must(c.proxier.AwaitReady())
	if answer := c.ask(pod, "tcp", web4); answer.ID != "one" {
		t.Errorf("%s answers, want one", answer.ID)
	}
}

// lockTables takes the lock of iptables, as another program that holds it, and returns what gives it back.
func (c *cluster) lockTables() (unlock func()) {
	c.t.Helper()
	version, err := exec.Command("iptables", "--version").Output()
	if err != nil || !strings.Contains(string(version), "legacy") {
		c.t.Skipf("only iptables-legacy has a lock; here is %s", version)
	}
	lock, err := os.OpenFile("/run/xtables.lock", os.O_CREATE|os.O_RDWR, 0o600)
	c.must(err)
	c.t.Cleanup(func() { lock.Close() })
	c.must(unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	return func() { c.must(unix.Flock(int(lock.Fd()), unix.LOCK_UN)) }
}

// flushInSpite flushes a chain of both families' filter while somebody holds the lock.
func (c *cluster) flushInSpite(chain string) {
	c.t.Helper()
	for _, program := range []string{"iptables", "ip6tables"} {
		_, err := c.Node1.Run("env", "XTABLES_LOCKFILE="+filepath.Join(c.t.TempDir(), "lock"), program, "-t", "filter", "-F", chain)
		c.must(err)
	}
}

// silence keeps a connection from sending anything by itself: keepalives of its own, which Go sends after 15 s, and
// answers to those of the other end, which do not come in until it is undone.
func (c *cluster) silence(h *topology.Host, conn *net.TCPConn) (undo func()) {
	c.t.Helper()
	c.must(conn.SetKeepAlive(false))
	rule := []string{"INPUT", "-p", "tcp", "--dport", fmt.Sprint(conn.LocalAddr().(*net.TCPAddr).Port), "-j", "DROP"}
	change := func(how string) {
		c.t.Helper()
		_, err := h.Run("iptables", append([]string{how}, rule...)...)
		c.must(err)
	}
	change("-I")
	return func() { c.t.Helper(); change("-D") }
}

// TestSourceRangesFailClosed (kubernetes#105742): while another program holds the lock of iptables, a front end that
// not all clients may reach is not served: not if it is new, not if it gets its ranges then, and not if somebody has
// flushed its rules. Others are, and health and the Problem say so. When the lock is free everything is.
func TestSourceRangesFailClosed(t *testing.T) {
	guarded := []netip.AddrPort{at(netip.MustParseAddr(external4(1)), 80), at(netip.MustParseAddr(external6(1)), 80)}
	write := func(c *cluster, one *topology.Host, ranges ...func(*v1.Service)) {
		lb := service("lb", []string{"10.96.1.1", "fd00:10:96::101"}, append([]func(*v1.Service){loadBalancer(1, 30081)}, ranges...)...)
		c.write("services.yaml", with(web(nodePort), one), with(lb, one))
	}
	// quiet is a connection of a client in the ranges, which sends nothing while the front end is down. heard makes its
	// endpoint's packets arrive at the client again.
	var quiet net.Conn
	var heard func()
	for name, fault := range map[string]func(c *cluster, one *topology.Host) (unlock func()){
		"new": func(c *cluster, one *topology.Host) func() {
			unlock := c.lockTables()
			write(c, one, sourceRanges(c.Outside))
			c.start("--manifests", c.manifests)
			return unlock
		},
		"ranges added": func(c *cluster, one *topology.Host) func() {
			write(c, one)
			c.run("--audit-period=1s")
			unlock := c.lockTables()
			c.flushInSpite("IPVSP-CLIENTS")
			for _, vip := range guarded {
				c.ask(c.Denied, "tcp", vip) // all may
			}
			write(c, one, sourceRanges(c.Outside))
			return unlock
		},
		"flushed": func(c *cluster, one *topology.Host) func() {
			write(c, one, sourceRanges(c.Outside))
			c.run("--audit-period=1s")
			var err error
			quiet, err = harness.Dial(c.Outside, "tcp", guarded[0])
			c.must(err)
			_, err = harness.AskOn(quiet)
			c.must(err)
			heard = c.silence(c.Outside, quiet.(*net.TCPConn))
			unlock := c.lockTables()
			c.flushInSpite("IPVSP-INPUT")
			return unlock
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			one := c.backend(1, 10, "one")
			unlock := fault(c, one)
			// The others come, and stay, without rules.
			c.must(harness.Await(time.Minute, func() error {
				_, err := harness.Ask(c.Node1, "tcp", web4)
				return err
			}))
			c.must(harness.Await(2*time.Minute, func() error {
				for _, vip := range guarded {
					for _, client := range []*topology.Host{c.Denied, c.Outside, c.Node1} {
						if answer, err := harness.Ask(client, "tcp", vip); err == nil {
							if name == "new" {
								t.Fatalf("%s asks %s without rules, and %s answers", client.Name, vip, answer.ID)
							}
							return fmt.Errorf("%s asks %s without rules, and %s answers", client.Name, vip, answer.ID)
						}
					}
				}
				return nil
			}))
			if answer := c.ask(c.Node1, "tcp", web4); answer.ID != "one" {
				t.Errorf("%s answers, want one", answer.ID)
			}
			c.must(harness.Await(2*time.Minute, func() error {
				status, text, err := c.proxier.Get("http://127.0.0.1:10256/healthz")
				if err != nil || status != 503 {
					return fmt.Errorf("/healthz is %d %s, %v; want 503", status, text, err)
				}
				_, text, err = c.proxier.Get("http://127.0.0.1:10249/status")
				if err != nil || !strings.Contains(text, "SourceRangesUnguarded") {
					return fmt.Errorf("no word of SourceRangesUnguarded: %s, %w", text, err)
				}
				return nil
			}))
			if log := c.proxier.Output(); !strings.Contains(log, "xtables lock") || !strings.Contains(log, "source ranges") {
				t.Errorf("the log does not say why:\n%s", log)
			}
			unlock()
			for _, vip := range guarded {
				c.must(harness.Await(2*time.Minute, func() error {
					_, err := harness.Ask(c.Outside, "tcp", vip)
					return err
				}))
			}
			c.must(c.proxier.AwaitReady())
			if quiet != nil {
				heard()
				if _, err := harness.AskOn(quiet); err != nil {
					t.Errorf("a connection that was quiet meanwhile: %v", err)
				}
				quiet.Close()
				quiet = nil
			}
			for _, vip := range guarded {
				if answer, err := harness.Ask(c.Denied, "tcp", vip); err == nil {
					t.Errorf("a client outside of the ranges is answered by %s", answer.ID)
				}
			}
		})
	}
}
