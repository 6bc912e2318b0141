package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestOnlyIn: each element is looked at once, however long the lists are.
func TestOnlyIn(t *testing.T) {
	for _, n := range []int{1, 1000, 30_000} {
		looked := 0
		list := make([]int, n)
		other := make([]int, n)
		for i := range n {
			list[i], other[i] = i, i+1
		}
		only := OnlyIn(list, other, func(i int) int { looked++; return i })
		if len(only) != 1 || only[0] != 0 || looked != 2*n {
			t.Errorf("of %d: %v, %d looks; want the first one, %d looks", n, only, looked, 2*n)
		}
	}
}

// TestSocketsThatStay: an audit of a node with many sockets that have not changed looks at no Service; a socket that
// comes is found by its port, whatever others there are.
func TestSocketsThatStay(t *testing.T) {
	s := newScenario(t, 0, 0)
	many := make([]dataplane.Listener, 30_000)
	for i := range many {
		many[i] = dataplane.Listener{
			Protocol: cluster.UDP, Addr: netip.AddrFrom4([4]byte{127, 0, byte(i >> 14), 1}), Port: uint16(1024 + i%16384),
		}
	}
	s.converge(s.apply([]byte(mistaken)), true) // a node port 30080
	s.memory.Listeners = many
	s.converge(nil, true)
	if dirty := s.engine.recordListeners(many); len(dirty) > 0 {
		t.Errorf("nothing has changed, and %v are looked at", dirty)
	}
	node := s.memory.Addresses[0]
	s.memory.Listeners = append(many[:len(many):len(many)],
		dataplane.Listener{Protocol: cluster.TCP, Addr: node, Port: 30080})
	s.converge(nil, true)
	if row := s.rows[cluster.Name{Namespace: "ns", Name: "web"}]; len(row.Problems) != 1 ||
		row.Problems[0].Reason.Name != "PortInUse" {
		t.Errorf("a program listens on the node port: %v", row.Problems)
	}
	s.memory.Listeners = many
	s.converge(nil, true)
	if row := s.rows[cluster.Name{Namespace: "ns", Name: "web"}]; len(row.Problems) != 0 {
		t.Errorf("it listens no more: %v", row.Problems)
	}
}

const growingService = `apiVersion: v1
kind: Service
metadata: {name: s%[1]d, annotations: {ipvs-proxier.io/scheduler: wrr, ipvs-proxier.io/slow-start: 10s}}
spec: {clusterIP: 10.96.7.%[1]d, clusterIPs: [10.96.7.%[1]d], ports: [{name: http, port: 80}]}
`

// TestStartsEnd: a Service that is gone leaves nothing behind of its slow starts, and one whose endpoints have grown is
// not looked at at each turn of the loop.
func TestStartsEnd(t *testing.T) {
	s := newScenario(t, 0, 0)
	var names []cluster.Name
	for i := range 20 {
		dirty := s.apply(fmt.Appendf(nil, growingService+"---\n%s", i, sliceOf(i, 2)))
		s.converge(dirty, false)
		s.now = s.now.Add(time.Minute)
		s.converge(s.apply([]byte(sliceOf(i, 5))), false)
		names = append(names, dirty[0])
	}
	if n := len(s.engine.starts.since); n != len(names) {
		t.Fatalf("%d Services have starts, want %d", n, len(names))
	}
	if n := len(s.engine.starts.growing); n == 0 {
		t.Fatal("none grows")
	}
	s.now = s.now.Add(time.Hour)
	s.converge(nil, false)
	if n := len(s.engine.starts.growing); n != 0 {
		t.Errorf("%d Services are looked at when all have grown", n)
	}
	s.now = s.now.Add(time.Minute)
	s.converge(s.apply([]byte(sliceOf(3, 6))), false)
	if n := len(s.engine.starts.growing); n != 1 {
		t.Errorf("%d Services are looked at when one has a new endpoint", n)
	}
	for _, name := range names {
		delete(s.objects.services, name)
	}
	s.converge(names, false)
	if starts := s.engine.starts; len(starts.since)+len(starts.growing)+len(starts.seen) != 0 {
		t.Errorf("of Services that are gone %d identities, %d growing and %d virtual servers stay",
			len(starts.since), len(starts.growing), len(starts.seen))
	}
}

// TestWaitingChangesAreBounded: the times of a change that never comes to the kernel do not add up.
func TestWaitingChangesAreBounded(t *testing.T) {
	l := Loop{engine: newScenario(t, 0, 0).engine, waiting: map[cluster.Name]cluster.Change{}}
	name := cluster.Name{Namespace: "ns", Name: "web"}
	first := time.Unix(1e9, 0)
	for i := range 100 * budget.Changes {
		r := Report{Failures: map[cluster.Name][]Failure{name: {{}}}}
		l.time(&r, []cluster.Change{{Name: name, Arrived: first.Add(time.Duration(i) * time.Second), Triggered: []time.Time{
			first.Add(time.Duration(i) * time.Second),
		}}})
	}
	waiting := l.waiting[name]
	if len(waiting.Triggered) != budget.Changes || !waiting.Triggered[0].Equal(first) || !waiting.Arrived.Equal(first) {
		t.Errorf("%d times are kept, from %s on; want %d, from %s on",
			len(waiting.Triggered), waiting.Triggered[0], budget.Changes, first)
	}
}

// refusingKernel refuses real servers.
type refusingKernel struct{ idleKernel }

func (refusingKernel) Apply(ops []dataplane.Op) []error {
	errs := make([]error, len(ops))
	for i, op := range ops {
		if op.Object.Kind() == dataplane.KindRealServer {
			errs[i] = fmt.Errorf("%s: %w", op, syscall.EPERM)
		}
	}
	return errs
}

// CheckManyFailures checks that of one Service some failures are reported and the others counted. observer sees all
// passes.
func CheckManyFailures(t *testing.T, observer Observer) {
	s := newScenario(t, 0, 0)
	h := newHostile().ports(10).endpoints(10, 1000, "n2")
	s.engine.lister, s.engine.kernel = hostileLister{
		s.objects, h.slices,
	}, refusingKernel{idleKernel{willingKernel{s.memory}}}
	s.engine.pieces.objects, s.engine.pieces.servers = 1<<20, 1<<20 // all of them in one pass
	dirty := s.apply([]byte(manyServices(500)))
	s.objects.services[hostileName] = h.service
	seen := false
	for backlog := true; backlog; dirty = nil {
		r := s.engine.Pass(s.now, append(dirty, hostileName), false)
		for _, row := range r.Changed {
			seen = seen || row.Name == hostileName
			if n := len(row.Errors); row.Name == hostileName &&
				(n != budget.Problems+1 || !strings.Contains(row.Errors[n-1], fmt.Sprintf("and %d more", 10_000-budget.Problems))) {
				t.Errorf("%d errors are reported, the last one %q", n, row.Errors[n-1])
			}
		}
		observer.Observe(r)
		backlog = r.Backlog > 0
	}
	if !seen {
		t.Error("no failure is reported")
	}
}
