package engine

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
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
	if r := s.engine.Pass(s.now, s.apply([]byte(manyServices(1))), true); r.FailureCount() != 1 {
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
