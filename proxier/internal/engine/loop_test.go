package engine

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestTimesOfPasses: a change counts when it is in the kernel, from its first arrival on, also when that takes more
// than one pass.
func TestTimesOfPasses(t *testing.T) {
	s := newScenario(t, 0, 0)
	refuse := true
	s.engine.kernel = &brokenKernel{Kernel: s.memory, refuse: func(op dataplane.Op) bool {
		_, is := op.Object.(dataplane.VirtualServerObject)
		return refuse && is
	}}
	var reports []Report
	l := &Loop{engine: s.engine, work: &Stopwatch{}, waiting: map[cluster.Name]cluster.Change{},
		observers: []Observer{observerFunc(func(r Report) { reports = append(reports, r) })}}
	name := s.apply([]byte(mistaken))[0]
	now := time.Now()
	l.pass(nil, nil, true)
	l.pass([]cluster.Change{{Name: name, Arrived: now.Add(-time.Minute), Triggered: []time.Time{now.Add(-time.Hour)}}},
		nil, false)
	if r := reports[1]; len(r.Changes) != 0 || r.Error() == nil {
		t.Fatalf("a change that the kernel refused counts: %+v, %v", r.Changes, r.Error())
	}
	refuse = false
	l.pass([]cluster.Change{{Name: name, Arrived: now, Triggered: []time.Time{now.Add(-time.Second)}}}, nil, false)
	r := reports[2]
	if len(r.Changes) != 1 || r.Error() != nil || r.Compile <= 0 || r.Kernel <= 0 {
		t.Fatalf("%+v, %v", r, r.Error())
	}
	c := r.Changes[0]
	if c.Queue < time.Minute || c.Total < c.Queue || len(c.Programmed) != 2 || c.Programmed[0] < time.Hour ||
		c.Watch[0] != time.Hour-time.Minute || c.Programmed[1] < time.Second {
		t.Errorf("times %+v", c)
	}
	l.pass(nil, nil, false)
	if len(reports[3].Changes) != 0 || len(l.waiting) != 0 {
		t.Errorf("it counts again: %+v, %v", reports[3].Changes, l.waiting)
	}
}

// routedLoop is a loop whose one Service has routes, on a node that the cluster knows by its addresses.
func routedLoop(t *testing.T, keepsSources bool) (s *scenario, l *Loop, passes *int) {
	t.Helper()
	s = newScenario(t, 0, 0)
	s.memory.KeepsSources, s.mode, passes = keepsSources, dataplane.ByRoute, new(int)
	s.restart()
	l = &Loop{engine: s.engine, work: &Stopwatch{}, waiting: map[cluster.Name]cluster.Change{},
		addresses: newAddressChanges(), observers: []Observer{observerFunc(func(Report) { *passes++ })}}
	s.apply([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, 'fd00:96::1'], ports: [{port: 80}]}\n"))
	s.apply([]byte("apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: 192.168.50.7}, {type: InternalIP, address: 'fd00:50::7'}]}\n"))
	return s, l, passes
}

// theNodes are the addresses by which the cluster knows the node of routedLoop.
var theNodes = dataplane.Sources{IPv4: netip.MustParseAddr("192.168.50.7"), IPv6: netip.MustParseAddr("fd00:50::7")}

// prefer sees that the kernel's routes prefer these sources.
func (s *scenario) prefer(when string, want dataplane.Sources) {
	s.t.Helper()
	routes := s.memory.State().Routes
	if len(routes) != 2 {
		s.t.Errorf("%s: %d routes, want one of each family", when, len(routes))
	}
	for vip, got := range routes {
		if got != want.For(vip) {
			s.t.Errorf("%s: the route of %s prefers %v, want %v", when, vip, got, want.For(vip))
		}
	}
}

// TestSourcesFollowTheNodesAddresses at once: routes prefer the node's address as long as it has it, also where nothing
// else depends on it.
func TestSourcesFollowTheNodesAddresses(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		s, l, passes := routedLoop(t, keeps)
		others := s.memory.Addresses
		all := append(slices.Clone(others), theNodes.IPv4, theNodes.IPv6)
		l.pass(nil, nil, true)
		s.prefer("the node has none of them", dataplane.Sources{})
		s.memory.SetAddresses(all...)
		l.readAddresses()
		s.prefer("they came", theNodes)
		s.memory.SetAddresses(others...)
		l.addresses.tell(AddressChange{Gone: theNodes.IPv6})
		l.readAddresses()
		s.prefer("they went", dataplane.Sources{})
		if *passes != 3 {
			t.Errorf("%d passes, want 3", *passes)
		}
		l.readAddresses()
		if *passes != 3 {
			t.Errorf("a look at what has not changed makes a pass")
		}
	}
}

// TestSourcesComeBackWithTheirAddress: the address went and came again between two looks, so that the addresses are
// what they were. The kernel may have taken it from the routes.
func TestSourcesComeBackWithTheirAddress(t *testing.T) {
	for name, c := range map[string]struct {
		told  AddressChange
		keeps bool
		write int
	}{
		"from Linux 6.6 on":                           {told: AddressChange{Gone: theNodes.IPv6}, write: 1},
		"up to Linux 6.5":                             {told: AddressChange{Gone: theNodes.IPv6}, keeps: true, write: 1},
		"when changes were missed":                    {told: AddressChange{Missed: true}, write: 1},
		"when the node lost no address of its own":    {told: AddressChange{Gone: netip.MustParseAddr("fd00:50::8")}, keeps: true},
		"when it lost its IPv4 address":               {told: AddressChange{Gone: theNodes.IPv4}, keeps: true},
		"when another address came and none has gone": {keeps: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, l, _ := routedLoop(t, c.keeps)
			s.memory.SetAddresses(append(s.memory.Addresses, theNodes.IPv4, theNodes.IPv6)...)
			l.pass(nil, nil, true)
			s.prefer("at first", theNodes)
			all, before := s.memory.Addresses, s.memory.Writes
			s.memory.SetAddresses()
			s.memory.SetAddresses(all...)
			l.addresses.tell(c.told)
			l.readAddresses()
			s.prefer("when it is back", theNodes)
			if n := s.memory.Writes - before; n != c.write {
				t.Errorf("%d writes, want %d", n, c.write)
			}
			l.readAddresses()
			if n := s.memory.Writes - before; n != c.write {
				t.Errorf("%d writes after another look, want %d", n, c.write)
			}
		})
	}
}

// TestMoreAddressesGoThanAreRemembered: what is forgotten counts as gone.
func TestMoreAddressesGoThanAreRemembered(t *testing.T) {
	changes, first := newAddressChanges(), theNodes.IPv6
	addr := first
	for range 2 * mostGone {
		changes.tell(AddressChange{Gone: addr})
		addr = addr.Next()
	}
	if len(changes.gone) > mostGone {
		t.Errorf("%d addresses are remembered", len(changes.gone))
	}
	if gone := changes.take(); !gone(first) || !gone(addr) {
		t.Error("an address that went, or may have gone, is there")
	}
	if gone := changes.take(); gone(first) {
		t.Error("what was taken once is taken again")
	}
}

// TestBlindPassesTime: nothing is in the kernel when that cannot be read.
func TestBlindPassesTime(t *testing.T) {
	l := &Loop{waiting: map[cluster.Name]cluster.Change{}}
	r := Report{Err: errors.New("no")}
	l.time(&r, []cluster.Change{{Name: cluster.Name{Namespace: "ns", Name: "web"}}})
	if len(r.Changes) != 0 || len(l.waiting) != 1 {
		t.Errorf("%+v, %v", r.Changes, l.waiting)
	}
}

// TestBlindLoopRests: while the kernel cannot be read, the loop waits for the next try, ever longer, however many
// Services wait; and it goes on at once when the kernel can be read again.
func TestBlindLoopRests(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.apply([]byte(manyServices(9)))
	s.limit = 2
	s.restart()
	broken := &brokenKernel{Kernel: s.memory, refuse: func(dataplane.Op) bool { return false }}
	s.engine.kernel = broken
	l := &Loop{engine: s.engine, audits: &auditor{}}
	if r := s.engine.Pass(s.now, nil, true); r.Backlog == 0 || l.wait(s.now) != 0 {
		t.Fatalf("%d Services wait, for %v", r.Backlog, l.wait(s.now))
	}
	broken.blind = true
	s.engine.auditDue = true
	for wait := firstRetry; wait < lastRetry; wait *= 2 {
		if r := s.engine.Pass(s.now, nil, false); r.Err == nil {
			t.Fatal("a kernel that cannot be read was read")
		}
		if got := l.wait(s.now); got != wait {
			t.Fatalf("the next try comes in %v, want %v", got, wait)
		}
		s.now = s.now.Add(wait)
	}
	broken.blind = false
	if r := s.engine.Pass(s.now, nil, false); r.Err != nil || r.Backlog == 0 || l.wait(s.now) != 0 {
		t.Errorf("when the kernel can be read: %v, %d wait for %v", r.Err, r.Backlog, l.wait(s.now))
	}
}

type observerFunc func(Report)

func (f observerFunc) Observe(r Report) { f(r) }

// TestLookingAtAddressesCanHang (B29): the loop asks the kernel between passes, too, and that it is at work can be
// seen.
func TestLookingAtAddressesCanHang(t *testing.T) {
	s := newScenario(t, 0, 0)
	at := &Stopwatch{}
	asked := 0
	s.engine.kernel = askedKernel{s.memory, func() {
		asked++
		if at.Elapsed(time.Now().Add(time.Hour)) < time.Hour {
			t.Error("a kernel that does not answer would not be noticed")
		}
	}}
	l := &Loop{engine: s.engine, work: at, addresses: newAddressChanges()}
	l.readAddresses()
	if asked != 1 {
		t.Errorf("read %d times, want 1", asked)
	}
	if at.Elapsed(time.Now().Add(time.Hour)) != 0 {
		t.Error("a loop that waits is taken to be at work")
	}
}

// askedKernel calls asked when its addresses are read.
type askedKernel struct {
	dataplane.Kernel
	asked func()
}

func (k askedKernel) NodeAddresses() (addresses, broadcasts []netip.Addr, err error) {
	k.asked()
	return k.Kernel.NodeAddresses()
}
