package engine

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestBacklogLosesNothing: whatever changes while others wait, each Service is looked at after its last change, no pass
// has more than it may, nobody waits for ever, and what has changed just now does not wait at all, as long as there is
// room.
func TestBacklogLosesNothing(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		limit := 1 + random.IntN(6)
		b := backlog{limit: limit, most: limit}
		name := func() cluster.Name { return cluster.Name{Name: fmt.Sprint(random.IntN(40))} }
		waiting := map[cluster.Name]int{} // since how many passes
		for step := range 200 {
			if step < 100 && random.IntN(3) == 0 {
				for range random.IntN(30) {
					n := name()
					b.add(n)
					waiting[n] += 0
				}
			}
			var changed []cluster.Name
			for range random.IntN(3) {
				changed = append(changed, name())
			}
			if step >= 100 {
				changed = nil
			}
			for _, n := range changed {
				waiting[n] += 0
			}
			wereBack := len(b.back)
			now, names := b.next(changed)
			if len(names) != len(now) {
				t.Fatalf("seed %d: %v are %d Services", seed, names, len(now))
			}
			if len(now) > limit || len(now) == 0 && len(waiting) > 0 {
				t.Fatalf("seed %d: %d Services in a pass of %d, %d wait", seed, len(now), limit, len(waiting))
			}
			for i, n := range changed {
				if _, is := now[n]; !is && i < limit-max(1, limit/4)-wereBack {
					t.Fatalf("seed %d: %v changed and waits, in a pass of %d", seed, n, limit)
				}
			}
			for n := range now {
				delete(waiting, n)
			}
			if len(names) > 1 && random.IntN(4) == 0 { // the pass has no room for all
				back := names[1+random.IntN(len(names)-1):]
				b.putBack(back)
				for _, n := range back {
					waiting[n] += 0
				}
			}
			for n := range waiting {
				if !b.has(n) {
					t.Fatalf("seed %d: %v is lost", seed, n)
				}
				if waiting[n]++; waiting[n] > 41 {
					t.Fatalf("seed %d: %v has waited for %d passes", seed, n, waiting[n])
				}
			}
			if b.len() != len(waiting) {
				t.Fatalf("seed %d: %d wait, want %d", seed, b.len(), len(waiting))
			}
		}
		if b.len() > 0 || b.queue != nil {
			t.Fatalf("seed %d: %v wait in the end", seed, b.queued)
		}
	}
}

// TestStartGoesByPasses: a start is as many passes as its Services need; the API's own Service is in the first of them,
// a change that comes meanwhile in the next one, and what no Service wants is removed after the last of them. A restart
// finds nothing to do.
func TestStartGoesByPasses(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.apply([]byte(manyServices(30)))
	s.converge(nil, true)
	s.delete("Service s9\nEndpointSlice s9-a")
	s.apply([]byte(`apiVersion: v1
kind: Service
metadata: {name: kubernetes, namespace: default}
spec: {clusterIP: 10.96.255.1, clusterIPs: [10.96.255.1], ports: [{name: https, port: 443}]}
`))
	gone, kubernetes := frontEndAt("10.96.0.10", 80), frontEndAt("10.96.255.1", 443)
	s.limit = 4
	s.restart()
	r := s.engine.Pass(s.now, nil, true)
	if _, there := s.memory.State().VirtualServers[kubernetes]; !there || r.Services != 4 || r.Backlog != 26 {
		t.Fatalf("the first pass has %d Services, %d wait; kubernetes is there: %t", r.Services, r.Backlog, there)
	}
	changed := s.apply([]byte(sliceOf(29, 7)))
	if r = s.engine.Pass(
		s.now, changed, false,
	); len(s.memory.State().VirtualServers[frontEndAt("10.96.0.30", 80)].RealServers) != 7 {
		t.Error("a change has waited for the Services that wait")
	}
	passes := 2
	for ; r.Backlog > 0; passes++ {
		if _, there := s.memory.State().VirtualServers[gone]; !there {
			t.Fatalf("something was deleted while %d Services were not looked at", r.Backlog)
		}
		r = s.engine.Pass(s.now, nil, passes == 3) // and an audit on the way
	}
	if _, there := s.memory.State().VirtualServers[gone]; there || passes != 8 {
		t.Errorf("after %d passes, want 8, what nobody wants is there: %t", passes, there)
	}
	s.restart()
	for ops := 0; ; {
		r = s.engine.Pass(s.now, nil, false)
		if ops += r.OpCount(); ops > 0 {
			t.Fatalf("a restart with nothing changed does %v", r.Ops)
		}
		if r.Backlog == 0 {
			return
		}
	}
}

// TestManyChangesAtOnce are cut into passes, and counted as done when they are.
func TestManyChangesAtOnce(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.apply([]byte(manyServices(9)))
	s.limit = 4
	s.restart()
	s.converge(nil, true)
	var changed []cluster.Name
	for i := range 9 {
		changed = append(changed, s.apply([]byte(sliceOf(i, 2)))...)
	}
	for _, want := range []struct{ services, backlog int }{{4, 5}, {4, 1}, {1, 0}} {
		r := s.engine.Pass(s.now.Add(time.Second), changed, false)
		if changed = nil; r.Services != want.services || r.Backlog != want.backlog {
			t.Errorf("%d Services and %d wait, want %+v", r.Services, r.Backlog, want)
		}
	}
}

func frontEndAt(addr string, port uint16) dataplane.VirtualServerID {
	return dataplane.VirtualServerID{Addr: netip.MustParseAddr(addr), Port: port, Protocol: cluster.TCP}
}

// TestPassesGetShorter where they take long, and longer again where they do not; one Service that takes long does not
// compile them so.
func TestPassesGetShorter(t *testing.T) {
	b := backlog{limit: passLimit, most: passLimit}
	for _, step := range []struct {
		services int
		took     time.Duration
		want     int
	}{
		{256, passLong, 256}, {256, passLong + 1, 128}, {128, passLong + 1, 64}, {1, time.Second, 64}, {64, passLong / 2, 64}, {3, passLong / 8, 64},
		{64, passLong / 8, 128}, {128, passLong / 8, 256}, {256, 0, 256}, {256, time.Hour, 128}, {128, time.Hour, 64}, {64, time.Hour, 32}, {32, time.Hour, 16}, {16, time.Hour, 16},
	} {
		if b.took(step.services, step.took, false); b.limit != step.want {
			t.Errorf("after %d Services in %v: %d, want %d", step.services, step.took, b.limit, step.want)
		}
	}
	b = backlog{limit: passLimit, most: passLimit}
	if b.took(passLimit, passLongStart, true); b.limit != passLimit {
		t.Errorf("%d after a pass of a start that took as long as it may", b.limit)
	}
	if b.took(passLimit, passLongStart+1, true); b.limit != passLimit/2 {
		t.Errorf("%d after a pass of a start that took longer", b.limit)
	}
	for range 3 {
		b.took(passLimit, time.Second, true)
	}
	if b.limit != passLeastStart {
		t.Errorf("%d after passes of a start that took much longer", b.limit)
	}
	for range 5 {
		b.took(b.limit, time.Second, false)
	}
	if b.limit != passLeast {
		t.Errorf("%d after passes after a start that took much longer", b.limit)
	}
}

// TestStartFillsTheFoundation: what is wanted without any Service is there after the first pass, the networks of the
// pods too.
func TestStartFillsTheFoundation(t *testing.T) {
	s := newScenario(t, 0, 0)
	settings := s.engine.settings
	settings.Dataplane.Pods.CIDRs = []netip.Prefix{
		netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:244::/64"),
	}
	s.engine = New(settings, s.memory, s.objects)
	if r := s.engine.Pass(s.now, nil, false); r.Error() != nil {
		t.Fatal(r.Error())
	}
	want := dataplane.Foundation(settings.Dataplane)
	if got, want := s.memory.State().Text(), want.Text(); got != want || !strings.Contains(got, "10.244.0.0/16") {
		t.Errorf("after the first pass:\n%s\nwant\n%s", got, want)
	}
}

// TestAuditThatEndsTheStart: an audit by the last pass of a start repairs what has happened to Services of the passes
// before it, too.
func TestAuditThatEndsTheStart(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.apply([]byte(manyServices(6)))
	s.limit = 4
	s.restart()
	if r := s.engine.Pass(s.now, nil, false); r.Backlog != 2 {
		t.Fatalf("%d wait, want 2", r.Backlog)
	}
	first := frontEndAt("10.96.0.1", 80)
	s.tampered = true
	s.memory.State().DropVirtualServer(first)
	if r := s.engine.Pass(s.now, nil, true); r.Error() != nil || r.Backlog != 0 {
		t.Fatal(r.Error(), r.Backlog)
	}
	if v, there := s.memory.State().VirtualServers[first]; !there || len(v.RealServers) != 5 {
		t.Errorf("the virtual server that went is there: %t, with %d real servers", there, len(v.RealServers))
	}
}
