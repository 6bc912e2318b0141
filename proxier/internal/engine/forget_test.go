package engine

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// slowTable is a kernel whose table of connections takes long to be read.
type slowTable struct {
	dataplane.Kernel
	takes, clock time.Duration
	at           time.Time
	reads        int
	stale        map[dataplane.VirtualServerID]time.Time
	told         time.Duration // the longest that one waited
}

func (k *slowTable) now() time.Time { return time.Time{}.Add(k.clock) }

func (k *slowTable) read() {
	k.reads++
	k.clock += k.takes
}

func (k *slowTable) Forget(flows map[dataplane.VirtualServerID][]netip.AddrPort) (int, error) {
	k.read()
	for id := range flows {
		if since, waits := k.stale[id]; waits {
			k.told = max(k.told, k.at.Sub(since))
			delete(k.stale, id)
		}
	}
	return 0, nil
}

func (k *slowTable) CutOff(map[dataplane.VirtualServerID][]netip.Prefix) (int, error) {
	k.read()
	return 0, nil
}

// TestReadingConnectionsHasItsShare: while endpoints of UDP Services go all the time, the table of connections is read
// as often as takes a hundredth of the time, or once in mostForgetRest; what waits for a reading has it then, and what
// comes when the table has rested has it at once.
func TestReadingConnectionsHasItsShare(t *testing.T) {
	const passes, every = 1200, 100 * time.Millisecond // two minutes
	for _, c := range []struct {
		takes time.Duration
		most  int
	}{
		{0, passes}, {5 * time.Millisecond, 242}, {50 * time.Millisecond, 26}, {2 * time.Second, 12},
	} {
		s := newScenario(t, 0, 0)
		k := &slowTable{Kernel: s.memory, stale: map[dataplane.VirtualServerID]time.Time{}}
		s.engine.kernel = k
		s.engine.stale.clock, s.engine.cutoffs.clock = k.now, k.now
		s.converge(s.apply([]byte(strings.ReplaceAll(manyServices(2), "port: 80,", "port: 80, protocol: UDP,"))), false)
		s.now = s.now.Add(time.Hour)
		k.takes, k.reads = c.takes, 0
		id := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.UDP}
		for i := range passes {
			if _, waits := k.stale[id]; !waits {
				k.stale[id] = s.now
			}
			k.at = s.now
			s.engine.stale.add(id, false) // as after a real server that is gone
			if r := s.engine.Pass(s.now, nil, false); r.Error() != nil {
				t.Fatal(r.Error())
			}
			if _, waits := k.stale[id]; waits && (i == 0 || s.engine.stale.next().IsZero()) {
				t.Fatalf("%v: pass %d does not read, and nobody wakes the loop", c.takes, i)
			}
			s.now = s.now.Add(every)
		}
		if k.reads > c.most || k.reads < c.most*9/10 || k.told > mostForgetRest+c.takes+every {
			t.Errorf("%v: %d readings in two minutes, want %d; what waited for longest did so for %v", c.takes, k.reads, c.most,
				k.told)
		}
		k.at = s.engine.stale.next()
		if s.engine.Pass(k.at, nil, false); len(k.stale) > 0 && !k.at.IsZero() || !s.engine.stale.next().IsZero() {
			t.Errorf("%v: when it is due %d front ends are not forgotten, next at %v",
				c.takes, len(k.stale), s.engine.stale.next())
		}
	}
}

// TestTheFirstReadingSaysNothing: that of a start may take seconds, because the kernel loads a module for it. What is
// to be forgotten right after it does not wait.
func TestTheFirstReadingSaysNothing(t *testing.T) {
	s := newScenario(t, 0, 0)
	k := &slowTable{Kernel: s.memory, stale: map[dataplane.VirtualServerID]time.Time{}, takes: 4 * time.Second}
	s.engine.kernel = k
	s.engine.stale.clock, s.engine.cutoffs.clock = k.now, k.now
	s.converge(s.apply([]byte(strings.ReplaceAll(manyServices(2), "port: 80,", "port: 80, protocol: UDP,"))), false)
	if k.reads == 0 {
		t.Fatal("the start does not read the table")
	}
	k.reads, k.at = 0, s.now
	s.engine.stale.add(dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.UDP},
		false)
	s.engine.Pass(s.now, nil, false)
	if k.reads != 1 {
		t.Errorf("%d readings after the first one, want 1 at once", k.reads)
	}
}

// TestCuttingOffHasItsShare: so it is with clients that leave the source ranges.
func TestCuttingOffHasItsShare(t *testing.T) {
	s := newScenario(t, 0, 0)
	k := &slowTable{Kernel: s.memory, takes: 50 * time.Millisecond}
	s.engine.kernel = k
	s.engine.stale.clock, s.engine.cutoffs.clock = k.now, k.now
	h := newHostile().ports(1).balancers(1)
	h.service.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24"}
	s.objects.services[hostileName] = h.service
	s.converge([]cluster.Name{hostileName}, false)
	s.now = s.now.Add(time.Hour)
	k.reads = 0
	for range 100 {
		s.engine.cutoffs.add(frontEndAt("198.18.0.1", 1), false)
		s.engine.Pass(s.now, nil, false)
		s.now = s.now.Add(100 * time.Millisecond)
	}
	if k.reads != 2 {
		t.Errorf("%d readings in ten seconds, want 2", k.reads)
	}
}
