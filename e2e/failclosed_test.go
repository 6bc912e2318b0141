//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// barrier takes rules of ours away, and keeps new ones from being written.
type barrier struct {
	// raise takes a chain of the table filter away, or what it holds; none where its name is "". lower lets rules be
	// written again.
	raise func(c *cluster, chain string) (lower func())
	// says is what the log has of it.
	says string
}

// lockedTables is a program that holds the lock of iptables.
var lockedTables = barrier{raise: (*cluster).lockTables, says: "xtables lock"}

func (c *cluster) lockTables(chain string) (unlock func()) {
	c.t.Helper()
	version, err := exec.Command("iptables", "--version").Output()
	if err != nil || !strings.Contains(string(version), "legacy") {
		c.t.Skipf("only iptables-legacy has a lock; here is %s", version)
	}
	lock, err := os.OpenFile("/run/xtables.lock", os.O_CREATE|os.O_RDWR, 0o600)
	c.must(err)
	c.t.Cleanup(func() { lock.Close() })
	c.must(unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	if chain != "" {
		c.flushInSpite(chain)
	}
	return func() { c.must(unix.Flock(int(lock.Fd()), unix.LOCK_UN)) }
}

// flushInSpite flushes a chain of both families' filter while somebody holds the lock.
func (c *cluster) flushInSpite(chain string) {
	c.t.Helper()
	for _, program := range []string{"iptables", "ip6tables"} {
		lock := "XTABLES_LOCKFILE=" + filepath.Join(c.t.TempDir(), "lock")
		_, err := c.Node1.Run("env", lock, program, "-t", "filter", "-F", chain)
		c.must(err)
	}
}

// deepTables is somebody's way into a chain of ours that is so deep that the kernel lets no rule of the chain lead on
// (NFT_JUMP_STACK_SIZE, net/netfilter/nf_tables_api.c, nft_chain_validate, Linux 6.12). Sets can be written.
var deepTables = barrier{raise: (*cluster).deepenTables, says: "too many links"}

func (c *cluster) deepenTables(chain string) (undo func()) {
	c.t.Helper()
	switch chain {
	case "":
		chain = "IPVSP-INPUT" // empty, before there are others
	case "IPVSP-CLIENTS":
		chain = "IPVSP-FRONT-END" // which leads there: a chain that leads nowhere can be written
	}
	const depth = 14 // with the hook and the chain itself the most that there may be
	var raise, lower strings.Builder
	for _, table := range []string{"ip ipvs-proxier", "ip6 ipvs-proxier"} {
		line := func(to *strings.Builder, format string, args ...any) { fmt.Fprintf(to, format+"\n", args...) }
		line(&raise, "add table %s", table)
		line(&raise, "add chain %s filter-%s", table, chain)
		line(&raise, "flush chain %s filter-%s", table, chain)
		line(&raise, "add chain %s deep0 { type filter hook input priority 200; }", table)
		for i := 1; i <= depth; i++ {
			line(&raise, "add chain %s deep%d", table, i)
			line(&raise, "add rule %s deep%d jump deep%d", table, i-1, i)
		}
		line(&raise, "add rule %s deep%d jump filter-%s", table, depth, chain)
		for i := 0; i <= depth; i++ {
			line(&lower, "flush chain %s deep%d", table, i)
		}
		for i := depth; i >= 0; i-- {
			line(&lower, "delete chain %s deep%d", table, i)
		}
	}
	change := func(rules string) {
		c.t.Helper()
		_, err := c.Node1.Run("nft", rules) // one transaction
		c.must(err)
	}
	change(raise.String())
	return func() { c.t.Helper(); change(lower.String()) }
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

// guarded are the front ends of a Service with source ranges.
var guarded = []netip.AddrPort{at(netip.MustParseAddr(external4(1)), 80), at(netip.MustParseAddr(external6(1)), 80)}

// shut is a node on which rules have gone, or have not come, and cannot be written.
type shut struct {
	*cluster
	one   *topology.Host
	lower func()
	// new says that nothing was served before.
	new bool
	// quiet is a connection of a client in the ranges, who says nothing while the front end is down: heard has what its
	// endpoint asks it come to the client again.
	quiet net.Conn
	heard func()
	since time.Time
}

// apply puts the Services in place: web, which all may reach, and one with these source ranges.
func (s *shut) apply(ranges ...func(*v1.Service)) {
	change := append([]func(*v1.Service){loadBalancer(1, 30081)}, ranges...)
	lb := service("lb", []string{"10.96.1.1", "fd00:10:96::101"}, change...)
	s.write("services.yaml", with(web(nodePort), s.one), with(lb, s.one))
}

// The ways in which a front end comes to have no rules that keep to its source ranges.
var unguarded = map[string]func(s *shut, b barrier, args ...string){
	"new": func(s *shut, b barrier, args ...string) {
		s.lower, s.new = b.raise(s.cluster, ""), true
		s.apply(sourceRanges(s.Outside))
		s.start(append([]string{"--manifests", s.manifests}, args...)...)
	},
	"ranges added": func(s *shut, b barrier, args ...string) {
		s.apply()
		s.run(append([]string{"--audit-period=1s"}, args...)...)
		s.lower = b.raise(s.cluster, "IPVSP-CLIENTS")
		for _, vip := range guarded {
			s.ask(s.Denied, "tcp", vip) // all may
		}
		s.apply(sourceRanges(s.Outside))
	},
	"flushed": func(s *shut, b barrier, args ...string) {
		s.apply(sourceRanges(s.Outside))
		s.run(append([]string{"--audit-period=1s"}, args...)...)
		var err error
		s.quiet, err = harness.Dial(s.Outside, "tcp", guarded[0])
		s.must(err)
		_, err = harness.AskOn(s.quiet)
		s.must(err)
		s.heard, s.since = s.silence(s.Outside, s.quiet.(*net.TCPConn)), time.Now()
		s.lower = b.raise(s.cluster, "IPVSP-INPUT")
	},
}

// TestSourceRangesFailClosed (kubernetes#105742): while another program holds the lock of iptables, a front end that
// not all clients may reach is not served: not if it is new, not if it gets its ranges then, and not if somebody has
// flushed its rules. Others are, and health and the Problem say so. When the lock is free everything is.
func TestSourceRangesFailClosed(t *testing.T) {
	onlyWith(t, "iptables")
	for _, way := range slices.Sorted(maps.Keys(unguarded)) {
		t.Run(way, func(t *testing.T) { failsClosed(t, way, lockedTables, "--netfilter=iptables") })
	}
}

// TestSourceRangesFailClosedWithNFTables: the same where the kernel refuses our rules.
func TestSourceRangesFailClosedWithNFTables(t *testing.T) {
	onlyWith(t, "nftables")
	for _, way := range slices.Sorted(maps.Keys(unguarded)) {
		t.Run(way, func(t *testing.T) { failsClosed(t, way, deepTables, "--netfilter=nftables") })
	}
}

// onlyWith skips the test where all tests of this run have another netfilter.
func onlyWith(t *testing.T, netfilter string) {
	if by := os.Getenv("IPVSP_NETFILTER"); by != "" && by != netfilter {
		t.Skipf("%s is tried", by)
	}
}

func failsClosed(t *testing.T, way string, b barrier, args ...string) {
	s := &shut{cluster: newCluster(t)}
	if why := s.withoutNFTables(); why != "" && slices.Contains(args, "--netfilter=nftables") {
		t.Skip(why)
	}
	s.one = s.backend(1, 10, "one")
	unguarded[way](s, b, args...)
	// The others come, and stay, without rules.
	s.must(harness.Await(time.Minute, func() error {
		_, err := harness.Ask(s.Node1, "tcp", web4)
		return err
	}))
	s.must(harness.Await(2*time.Minute, func() error {
		err := s.answered(s.Denied, s.Outside, s.Node1) // whether they may or not
		if err != nil && s.new {
			return harness.GiveUp(err)
		}
		return err
	}))
	if answer := s.ask(s.Node1, "tcp", web4); answer.ID != "one" {
		t.Errorf("%s answers, want one", answer.ID)
	}
	s.must(harness.Await(2*time.Minute, func() error {
		status, text, err := s.proxier.Get("http://127.0.0.1:10256/healthz")
		if err != nil || status != 503 {
			return fmt.Errorf("/healthz is %d %s, %v; want 503", status, text, err)
		}
		_, text, err = s.proxier.Get("http://127.0.0.1:10249/status")
		if err != nil || !strings.Contains(text, "SourceRangesUnguarded") {
			return fmt.Errorf("no word of SourceRangesUnguarded: %s, %w", text, err)
		}
		return nil
	}))
	if log := s.proxier.Output(); !strings.Contains(log, b.says) || !strings.Contains(log, "source ranges") {
		t.Errorf("the log does not say why (%s):\n%s", b.says, log)
	}
	s.lower()
	s.servedAgain()
}

// answered returns which of the clients reach a guarded front end. All ask at once, because who gets no answer waits.
func (s *shut) answered(clients ...*topology.Host) error {
	var mu sync.Mutex
	var all []error
	var asking sync.WaitGroup
	for _, vip := range guarded {
		for _, client := range clients {
			asking.Go(func() {
				answer, err := harness.Ask(client, "tcp", vip)
				if err != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, fmt.Errorf("%s asks %s, and %s answers", client.Name, vip, answer.ID))
			})
		}
	}
	asking.Wait()
	return errors.Join(all...)
}

// servedAgain waits until clients in the ranges are served, and no others are.
func (s *shut) servedAgain() {
	s.t.Helper()
	for _, vip := range guarded {
		s.must(harness.Await(2*time.Minute, func() error {
			_, err := harness.Ask(s.Outside, "tcp", vip)
			return err
		}))
	}
	s.must(s.proxier.AwaitReady())
	if s.quiet != nil {
		s.heard()
		// An endpoint gives up whom it has not heard for 150 s: Go asks nine times, every 15 s.
		if took := time.Since(s.since); took > 2*time.Minute {
			s.t.Logf("a connection that was quiet for %s is not judged", took.Round(time.Second))
		} else if _, err := harness.AskOn(s.quiet); err != nil {
			s.t.Errorf("a connection that was quiet meanwhile: %v", err)
		}
		s.quiet.Close()
	}
	if err := s.answered(s.Denied); err != nil {
		s.t.Errorf("outside of the ranges: %v", err)
	}
}
