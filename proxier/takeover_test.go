package proxier

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/predecessor"
)

// TestPredecessorsVirtualServersAreOurs: those that a Service wants are adopted as they are, those that none wants go,
// even when that fails at first; what neither we nor the predecessor have made stays, and so does what comes when its
// place is taken.
func TestPredecessorsVirtualServersAreOurs(t *testing.T) {
	s := newScenario(t, 0, 0)
	wanted := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP}
	stale := dataplane.VirtualServerID{Addr: netip.MustParseAddr("192.168.50.1"), Port: 30080, Protocol: cluster.TCP}
	late := dataplane.VirtualServerID{Addr: netip.MustParseAddr("192.168.50.1"), Port: 30081, Protocol: cluster.TCP}
	for _, text := range []string{"10.96.0.1:80", "192.168.50.1:30080", "10.96.7.7:80"} {
		s.do([]string{"foreign", "tcp", text, "rr"})
	}
	taken := false
	s.engine.settings.Predecessor = func(id dataplane.VirtualServerID) bool {
		return !taken && (id == wanted || id == stale || id == late)
	}
	broken := &brokenKernel{Kernel: s.memory, refuse: func(op dataplane.Op) bool {
		return strings.HasPrefix(op.String(), "delete virtual-server "+stale.String())
	}}
	s.engine.kernel = broken
	var created []string
	check := s.memory.AfterEach
	s.memory.AfterEach = func(op dataplane.Op, now *dataplane.State) {
		check(op, now)
		if _, is := op.Object.(dataplane.VirtualServerObject); is && op.Verb != dataplane.Delete {
			created = append(created, op.String())
		}
	}
	if r := s.engine.pass(s.now, s.apply([]byte(manyServices(1))), true); r.FailureCount() != 1 {
		t.Fatalf("%v; want one failure", r.Error())
	}
	broken.refuse = func(dataplane.Op) bool { return false }
	s.converge(nil, true)
	taken = true
	s.do([]string{"foreign", "tcp", "192.168.50.1:30081", "rr"})
	s.converge(nil, true)
	servers := s.memory.State().VirtualServers
	if _, there := servers[wanted]; !there || len(created) > 0 {
		t.Errorf("the wanted one is not adopted in place: %v", created)
	}
	if _, there := servers[stale]; there {
		t.Errorf("%s stays, which no Service wants", stale)
	}
	if _, there := servers[late]; !there || len(servers) != 3 {
		t.Errorf("%d virtual servers, want the wanted one and two of others: %v", len(servers), servers)
	}
}

// TestLeftoversGoAfterACleanPass, once, and again until it has worked.
func TestLeftoversGoAfterACleanPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		calls := 0
		s := &succession{
			proxy: predecessor.KubeProxy, link: "kube-ipvs0", log: slog.New(slog.NewTextHandler(&log, nil)), ctx: t.Context(),
			remove: func(_ context.Context, proxy predecessor.Proxy, link string) (predecessor.Leftovers, error) {
				if calls++; calls < 4 {
					return predecessor.Leftovers{}, errors.New("busy")
				}
				return predecessor.Leftovers{Proxy: proxy, Chains: 11, Kept: []string{"set X"}}, nil
			},
		}
		s.Observe(Report{Err: errors.New("blind")})
		s.Observe(Report{Pending: 1})
		synctest.Wait()
		if calls != 0 {
			t.Error("removed before a pass was clean")
		}
		s.Observe(Report{})
		s.Observe(Report{})
		time.Sleep(time.Hour)
		synctest.Wait()
		if calls != 4 {
			t.Errorf("%d attempts, want 4", calls)
		}
		for text, times := range map[string]int{"stay until": 1, "busy": 3, "took the place": 1, "removed=\"11 chains\"": 1, "kept, because": 1} {
			if got := strings.Count(log.String(), text); got != times {
				t.Errorf("the log says %q %d times, want %d:\n%s", text, got, times, log.String())
			}
		}
	})
}

// TestNobodysPlaceIsTaken without being asked for.
func TestNobodysPlaceIsTaken(t *testing.T) {
	s := &succession{log: slog.New(slog.DiscardHandler), ctx: t.Context(), remove: func(context.Context, predecessor.Proxy, string) (predecessor.Leftovers, error) {
		t.Error("removes")
		return predecessor.Leftovers{}, nil
	}}
	s.Observe(Report{})
	if s.begun || s.owns(dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP}) {
		t.Error("somebody's place is taken")
	}
}
