package dataplane_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// seeded returns a source of chance whose seed is printed when the test fails; TEST_SEED repeats it.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("TEST_SEED: %v", err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to repeat: TEST_SEED=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

var (
	config = dataplane.Config{
		Link: "kube-ipvs0", Families: []cluster.Family{cluster.IPv4, cluster.IPv6}, MasqueradeMark: 1 << 14,
		Pods:  dataplane.Pods{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("::/0")}},
		Facts: dataplane.Facts{KernelMajor: 6, KernelMinor: 1, RandomFully: true, IPVSMatch: true},
	}
	node = dataplane.Node{Name: "n1", Addresses: []netip.Addr{
		netip.MustParseAddr("192.168.50.1"), netip.MustParseAddr("192.168.50.2"), netip.MustParseAddr("fd00:50::1"),
	}}
)

// anyService makes a Service out of few addresses and ports, so that Services often want the same.
func anyService(r *rand.Rand, name int) cluster.Service {
	s := cluster.Service{
		Name: cluster.Name{Namespace: "ns", Name: strconv.Itoa(name)}, Created: time.Unix(int64(r.IntN(3)), 0),
	}
	if r.IntN(3) == 0 {
		s.Affinity = time.Duration(1+r.IntN(3)) * time.Hour
	}
	if r.IntN(4) > 0 {
		s.ClusterIPs = append(s.ClusterIPs, netip.AddrFrom4([4]byte{10, 96, 0, byte(1 + r.IntN(4))}))
	}
	if r.IntN(2) == 0 {
		s.ClusterIPs = append(s.ClusterIPs, netip.MustParseAddr(fmt.Sprintf("fd00:96::%d", 1+r.IntN(4))))
	}
	s.InternalLocal, s.ExternalLocal = r.IntN(4) == 0, r.IntN(3) == 0
	for _, to := range []*[]netip.Addr{&s.ExternalIPs, &s.LoadBalancerIPs} {
		for range r.IntN(3) {
			// The first one is an address of the node.
			*to = append(*to, []netip.Addr{
				netip.MustParseAddr("192.168.50.2"), netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("fd00:203::1"),
			}[r.IntN(3)])
		}
	}
	for range r.IntN(3) {
		s.SourceRanges = append(s.SourceRanges, []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.50.0/24"), netip.MustParsePrefix("fd00::/8"), {},
		}[r.IntN(4)])
	}
	if s.ExternalLocal && r.IntN(2) == 0 {
		s.HealthCheckNodePort = uint16(32000 + r.IntN(2))
	}
	for i := range r.IntN(4) {
		port := cluster.ServicePort{
			Name: strconv.Itoa(i), Protocol: []cluster.Protocol{cluster.TCP, cluster.UDP, cluster.SCTP}[r.IntN(3)],
			Port:      uint16(80 + r.IntN(3)),
			Scheduler: scheduler.Names()[r.IntN(len(scheduler.Names()))], Flags: scheduler.Flags(r.IntN(4) << 3),
			OnePacket: r.IntN(4) == 0,
		}
		if r.IntN(2) == 0 {
			port.NodePort = uint16(30080 + r.IntN(3))
		}
		for e := range r.IntN(5) {
			addr := netip.AddrFrom4([4]byte{10, 244, 0, byte(1 + e)})
			if r.IntN(2) == 0 {
				addr = netip.MustParseAddr(fmt.Sprintf("fd00:244::%d", 1+e))
			}
			port.Endpoints = append(port.Endpoints, cluster.Endpoint{
				Weight: uint32(r.IntN(4)), Addr: addr, Port: uint16(8080 + r.IntN(2)), Ready: r.IntN(4) > 0,
				Serving: r.IntN(2) == 0, Terminating: r.IntN(4) == 0, Remote: r.IntN(2) == 0, Local: r.IntN(4) == 0,
				ZoneHint: cluster.Hint(r.IntN(3)), NodeHint: cluster.Hint(r.IntN(3)),
			})
		}
		s.Ports = append(s.Ports, port)
	}
	return s
}

func anyWant(r *rand.Rand) *dataplane.Want {
	c := anyMode(r)
	w := dataplane.NewWant(dataplane.Foundation(c))
	w.Prefer(anySources(r))
	for i := range r.IntN(6) {
		w.Set(dataplane.Compile(anyService(r, i), node, c), map[cluster.Name]struct{}{})
	}
	return w
}

// anyMode is the configuration with addresses or with routes.
func anyMode(r *rand.Rand) dataplane.Config {
	c := config
	c.VIPs = []dataplane.VIPMode{dataplane.ByAddress, dataplane.ByRoute}[r.IntN(2)]
	return c
}

// anySources are of the node's addresses, or none.
func anySources(r *rand.Rand) dataplane.Sources {
	primary := []netip.Addr{node.Addresses[r.IntN(2)], node.Addresses[2]}
	return dataplane.Node{Addresses: node.Addresses, Primary: primary[r.IntN(3)%2 : r.IntN(2)+1]}.Sources()
}

// newMemory is a kernel on the node.
func newMemory() *kernel.Memory {
	m := kernel.NewMemory()
	m.Addresses = node.Addresses
	return m
}

func same(t *testing.T, what string, got, want *dataplane.State) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(want.Text(), "\n"), strings.Split(got.Text(), "\n")); diff != "" {
		t.Fatalf("%s differs (-want +got):\n%s", what, diff)
	}
}

// carryOut applies ops to a kernel that refuses what Linux refuses, and looks at every state in between: whatever is
// local before and afterwards is so all the time.
func carryOut(t *testing.T, m *kernel.Memory, ops []dataplane.Op) {
	t.Helper()
	before, after := m.State().Clone(), m.State().Clone()
	for _, op := range ops {
		after.Apply(op)
	}
	stays := map[netip.Addr]bool{}
	for _, op := range ops {
		for _, vip := range vipsOf(op) {
			stays[vip] = before.Local(vip) && after.Local(vip)
		}
	}
	m.AfterEach = func(op dataplane.Op, s *dataplane.State) {
		if v := s.Violations(); len(v) > 0 {
			t.Fatalf("after %s: %s\nall operations: %v", op, strings.Join(v, "; "), ops)
		}
		for _, vip := range vipsOf(op) {
			if stays[vip] && !s.Local(vip) {
				t.Fatalf("after %s nothing makes %s local\nall operations: %v", op, vip, ops)
			}
		}
	}
	for i, err := range m.Apply(ops) {
		if err != nil {
			t.Fatalf("operation %d of %d: %v", i, len(ops), err)
		}
	}
}

func vipsOf(op dataplane.Op) []netip.Addr {
	switch o := op.Object.(type) {
	case dataplane.Address:
		return []netip.Addr{o.Addr}
	case dataplane.Route:
		return []netip.Addr{o.Addr}
	}
	return nil
}

// TestDiffLeadsThere: for any two states, carrying out their Diff in order leads from one to the other, the kernel
// refuses nothing on the way, and no state between is one that must not be.
func TestDiffLeadsThere(t *testing.T) {
	r := seeded(t)
	m := newMemory()
	for range 300 {
		want := anyWant(r).State
		carryOut(t, m, dataplane.Diff(m.State(), want, dataplane.All(nil, m.State(), want)))
		same(t, "the kernel", m.State(), want)
		if ops := dataplane.Diff(m.State(), want, dataplane.All(nil, want)); len(ops) > 0 {
			t.Fatalf("Diff of equal states: %v", ops)
		}
	}
}

// TestNothingLeadsToNothing: cleanup, the way to the empty state, leaves sysctls and nothing else.
func TestNothingLeadsToNothing(t *testing.T) {
	r := seeded(t)
	for range 50 {
		m, want := newMemory(), anyWant(r).State
		carryOut(t, m, dataplane.Diff(m.State(), want, dataplane.All(nil, want)))
		carryOut(t, m, dataplane.Diff(m.State(), dataplane.NewState(), dataplane.All(nil, m.State())))
		for line := range strings.Lines(m.State().Text()) {
			if !strings.HasPrefix(line, "sysctl ") {
				t.Errorf("left: %s", line)
			}
		}
	}
}

// TestIncrementalEqualsFull: after any history of Services that come, change and go, what is wanted is what the
// Services that are left want when they come one after another; and the keys that a change touched are all that has to
// be looked at.
func TestIncrementalEqualsFull(t *testing.T) {
	r := seeded(t)
	for range 60 {
		config, sources := anyMode(r), anySources(r)
		incremental, m := dataplane.NewWant(dataplane.Foundation(config)), newMemory()
		incremental.Prefer(sources)
		carryOut(t, m, dataplane.Diff(m.State(), incremental.State, dataplane.All(nil, incremental.State)))
		present := map[int]dataplane.Fragment{}
		for range 40 {
			i := r.IntN(6)
			affected := map[cluster.Name]struct{}{}
			var touched dataplane.Touched
			owners := ownersOf(incremental)
			if _, there := present[i]; there && r.IntN(3) == 0 {
				touched = incremental.Remove(present[i].Owner, affected)
				delete(present, i)
			} else {
				present[i] = dataplane.Compile(anyService(r, i), node, config)
				touched = incremental.Set(present[i], affected)
			}
			if r.IntN(4) == 0 {
				sources = anySources(r)
				touched.Add(incremental.Prefer(sources))
			}
			full := dataplane.NewWant(dataplane.Foundation(config))
			full.Prefer(sources)
			for _, at := range r.Perm(6) {
				if f, there := present[at]; there {
					full.Set(f, map[cluster.Name]struct{}{})
				}
			}
			same(t, "what is wanted", incremental.State, full.State)
			carryOut(t, m, dataplane.Diff(m.State(), incremental.State, touched))
			same(t, "the kernel after the touched keys", m.State(), incremental.State)
			for id, owner := range ownersOf(incremental) {
				if before, had := owners[id]; had && before != owner {
					for _, name := range []cluster.Name{before, owner} {
						if _, told := affected[name]; !told {
							t.Fatalf("%s went from %s to %s, and %s is not affected", id, before, owner, name)
						}
					}
				}
				if full.Owner(id) != owner {
					t.Fatalf("%s belongs to %s, in full to %s", id, owner, full.Owner(id))
				}
			}
		}
	}
}

func ownersOf(w *dataplane.Want) map[dataplane.VirtualServerID]cluster.Name {
	owners := map[dataplane.VirtualServerID]cluster.Name{}
	for id := range w.State.VirtualServers {
		owners[id] = w.Owner(id)
	}
	return owners
}

// TestTheOlderServiceWins: of two Services that want one front end the older has it, then the one whose name sorts
// first; the other one has the rest, and takes over when the winner goes.
func TestTheOlderServiceWins(t *testing.T) {
	service := func(name string, created int64, scheduler string) dataplane.Fragment {
		return dataplane.Compile(cluster.Service{
			Name: cluster.Name{Namespace: "ns", Name: name}, Created: time.Unix(created, 0),
			ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")},
			Ports:      []cluster.ServicePort{{Protocol: cluster.TCP, Port: 80, Scheduler: scheduler}},
		}, node, config)
	}
	id := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP}
	for _, c := range []struct {
		name   string
		first  dataplane.Fragment
		second dataplane.Fragment
		winner string
	}{
		{"the older, added first", service("b", 1, "rr"), service("a", 2, "lc"), "b"},
		{"the older, added second", service("a", 2, "rr"), service("b", 1, "lc"), "b"},
		{"of the same age, by name", service("b", 1, "rr"), service("a", 1, "lc"), "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := dataplane.NewWant(dataplane.Foundation(config))
			w.Set(c.first, map[cluster.Name]struct{}{})
			w.Set(c.second, map[cluster.Name]struct{}{})
			if got := w.Owner(id).Name; got != c.winner {
				t.Fatalf("%s has the front end, want %s", got, c.winner)
			}
			loser := c.first.Owner
			if loser.Name == c.winner {
				loser = c.second.Owner
			}
			w.Remove(w.Owner(id), map[cluster.Name]struct{}{})
			if got := w.Owner(id); got != loser {
				t.Errorf("after the winner is gone %s has it, want %s", got, loser)
			}
		})
	}
}
