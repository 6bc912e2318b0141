package engine

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// deafKernel carries out what lost says, and loses the answers.
type deafKernel struct {
	dataplane.Kernel
	lost func(dataplane.Op) bool
	// whole counts looks at everything, single those at one virtual server; unseen is why a look at one fails.
	whole, single int
	unseen        error
}

func (d *deafKernel) Apply(ops []dataplane.Op) []error {
	errs := d.Kernel.Apply(ops)
	for i, op := range ops {
		if d.lost(op) {
			errs[i] = fmt.Errorf("%s: %w", op, syscall.ENOBUFS)
		}
	}
	return errs
}

func (d *deafKernel) Observe() (dataplane.Observation, error) {
	d.whole++
	return d.Kernel.Observe()
}

func (d *deafKernel) VirtualServer(id dataplane.VirtualServerID) (dataplane.VirtualServer, bool, error) {
	d.single++
	if d.unseen != nil {
		return dataplane.VirtualServer{}, false, d.unseen
	}
	return d.Kernel.VirtualServer(id)
}

func newDeaf(t *testing.T, lost func(dataplane.Op) bool) (*scenario, *deafKernel) {
	s := newScenario(t, 0, 0)
	s.converge(s.apply([]byte(manyServices(20))), false)
	deaf := &deafKernel{Kernel: s.memory, lost: lost}
	s.engine.kernel = deaf
	return s, deaf
}

func isVirtualServer(op dataplane.Op) bool {
	_, is := op.Object.(dataplane.VirtualServerObject)
	return is
}

// TestServiceGoesWhileInDoubt: a virtual server was made and nobody knows; its Service goes before the next try. It
// goes with it, at the cost of one look at it and none at the others.
func TestServiceGoesWhileInDoubt(t *testing.T) {
	s, deaf := newDeaf(t, isVirtualServer)
	more := s.apply([]byte(strings.NewReplacer("s0", "new", "10.96.0.1,", "10.96.9.9,", "10.96.0.1]",
		"10.96.9.9]").Replace(manyServices(1))))
	if r := s.engine.Pass(s.now, more, false); r.FailureCount() == 0 || len(s.memory.State().VirtualServers) != 21 {
		t.Fatalf("%d failures, %d virtual servers", r.FailureCount(), len(s.memory.State().VirtualServers))
	}
	deaf.lost = func(dataplane.Op) bool { return false }
	s.engine.Pass(s.now, s.delete("Service new"), false) // no time has passed
	if got := len(s.memory.State().VirtualServers); got != 20 || deaf.whole != 0 || deaf.single != 1 {
		t.Errorf("%d virtual servers, want 20; %d looks at all, %d at one", got, deaf.whole, deaf.single)
	}
	s.converge(nil, false)
	if text := s.memory.State().Text(); strings.Contains(text, "10.96.9.9") || deaf.whole != 0 {
		t.Errorf("%d looks at all; left:\n%s", deaf.whole, text)
	}
}

// TestNobodyKnows: where answers to other operations are lost, the next pass, whatever it is for, looks at the whole
// kernel first.
func TestNobodyKnows(t *testing.T) {
	s, deaf := newDeaf(t, func(op dataplane.Op) bool {
		return op.Object.Kind() == dataplane.KindEntry && op.Verb == dataplane.Delete
	})
	s.engine.Pass(s.now, s.delete("Service s3"), false)
	deaf.lost = func(dataplane.Op) bool { return false }
	r := s.engine.Pass(s.now, s.apply([]byte(sliceOf(5, 6))), false)
	if !r.Audit || deaf.whole != 1 || r.Error() != nil {
		t.Errorf("%d looks; %+v", deaf.whole, r)
	}
	s.now = s.engine.retries.next()
	if r := s.engine.Pass(s.now, nil, false); r.Audit || deaf.whole != 1 || r.Pending != 0 {
		t.Errorf("the next try looks again: %+v", r)
	}
}

// TestDoubtThatCannotBeSettled: where the one virtual server cannot be looked at nothing is done, as where the kernel
// cannot be read, and nothing is forgotten.
func TestDoubtThatCannotBeSettled(t *testing.T) {
	s, deaf := newDeaf(t, isVirtualServer)
	udp := strings.ReplaceAll(manyServices(1), "port: 80,", "port: 80, protocol: UDP,")
	s.engine.Pass(s.now, s.apply([]byte(udp)), false)
	deaf.unseen = syscall.EPERM
	writes := s.memory.Writes
	r := s.engine.Pass(s.now, s.apply([]byte(sliceOf(5, 6))), false)
	if r.Err == nil || s.memory.Writes != writes {
		t.Errorf("%d operations in a pass that cannot know; %v", s.memory.Writes-writes, r.Err)
	}
	deaf.unseen, deaf.lost = nil, func(dataplane.Op) bool { return false }
	s.converge(nil, false)
	s.converge(nil, true)
	if s.ops != 0 {
		t.Errorf("an audit finds %d operations more", s.ops)
	}
	want := cluster.Name{Namespace: "default", Name: "s5"}
	if row := s.rows[want]; len(row.FrontEnds) != 1 || len(row.FrontEnds[0].Front.VirtualServer.RealServers) != 6 {
		t.Errorf("the change that came meanwhile: %+v", row)
	}
}

// TestAVIPMayBeLocal: an address, or a route, was made and nobody knows, and the virtual server that is to take the
// place of the old one is refused. The old one stays: without a virtual server the node's own sockets would answer at
// the address.
func TestAVIPMayBeLocal(t *testing.T) {
	local := func(op dataplane.Op) bool {
		return op.Object.Kind() == dataplane.KindRoute || op.Object.Kind() == dataplane.KindAddress
	}
	for _, mode := range []dataplane.VIPMode{dataplane.ByAddress, dataplane.ByRoute} {
		s := newScenario(t, 0, 0)
		s.mode = mode
		s.restart()
		broken := &brokenKernel{Kernel: s.memory, refuse: local}
		deaf := &deafKernel{Kernel: broken, lost: func(dataplane.Op) bool { return false }}
		s.engine.kernel = deaf
		s.engine.Pass(s.now, s.apply([]byte(manyServices(1))), false)
		moved := strings.ReplaceAll(manyServices(1), "port: 80,", "port: 81,")
		s.now = s.now.Add(time.Hour)
		deaf.lost = local
		broken.refuse = func(op dataplane.Op) bool { return isVirtualServer(op) && op.Verb == dataplane.Create }
		s.engine.Pass(s.now, s.apply([]byte(moved)), false) // scenarios look after each operation
		if state := s.memory.State(); len(state.Addresses)+len(state.Routes) != 1 || len(state.VirtualServers) != 1 {
			t.Errorf("%s: %d addresses, %d routes, %d virtual servers; want the old one of these, local",
				mode, len(state.Addresses), len(state.Routes), len(state.VirtualServers))
		}
		broken.refuse, deaf.lost = func(dataplane.Op) bool { return false }, func(dataplane.Op) bool { return false }
		s.now = s.now.Add(time.Hour)
		s.converge(nil, false)
		if got := s.memory.State().ServiceText(); !strings.Contains(got, ":81") || strings.Contains(got, ":80 ") {
			t.Errorf("%s: in the end:\n%s", mode, got)
		}
	}
}

// tear takes away what kube-proxy --cleanup does: every virtual server, and with link the link with its addresses.
func (s *scenario) tear(link bool) {
	state := s.memory.State()
	clear(state.VirtualServers)
	if link {
		clear(state.Links)
		clear(state.Addresses)
	}
	s.tampered = true
}

// TestWhatIsGoneIsToldByOneChange: somebody has taken away everything of IPVS. The first change of one Service meets
// ESRCH, and the next pass, which comes after the first delay of a retry, brings back all Services, whatever the
// operation that met it. A pass that comes before that does the same.
func TestWhatIsGoneIsToldByOneChange(t *testing.T) {
	const n = 30
	services := manyServices(n)
	changes := map[string]func(s *scenario) []cluster.Name{
		"an endpoint more": func(s *scenario) []cluster.Name { return s.apply([]byte(sliceOf(3, 6))) },
		"an endpoint less": func(s *scenario) []cluster.Name { return s.apply([]byte(sliceOf(3, 4))) },
		"no endpoint":      func(s *scenario) []cluster.Name { return s.apply([]byte(sliceOf(3, 0))) },
		"another scheduler": func(s *scenario) []cluster.Name {
			return s.apply([]byte(strings.Replace(strings.Split(services, "---\n")[6], "{name: s3}",
				"{name: s3, annotations: {ipvs-proxier.io/scheduler: lc}}", 1)))
		},
		"a Service less": func(s *scenario) []cluster.Name { return s.delete("Service s3") },
	}
	for name, change := range changes {
		for _, link := range []bool{false, true} {
			for _, otherPass := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, link %t, other pass %t", name, link, otherPass), func(t *testing.T) {
					s := newScenario(t, 0, 0)
					s.converge(s.apply([]byte(services)), false)
					s.tear(link)
					if r := s.engine.Pass(s.now, change(s), false); r.FailureCount() == 0 {
						t.Fatal("the change has met nothing that is gone")
					}
					if !otherPass {
						due := s.engine.retries.next()
						if wait := due.Sub(s.now); wait > firstRetry {
							t.Errorf("it is tried again after %s, want %s", wait, firstRetry)
						}
						s.now = due
					}
					r := s.engine.Pass(s.now, nil, false)
					if !r.Audit || r.Error() != nil {
						t.Errorf("%+v, want an audit without an error", r)
					}
					want := newScenario(t, 0, 0)
					want.objects = s.objects
					want.restart()
					want.converge(nil, false)
					if diff := gocmp.Diff(want.memory.State().ServiceText(), s.memory.State().ServiceText()); diff != "" {
						t.Errorf("after one pass more (-want +got):\n%s", diff)
					}
				})
			}
		}
	}
}

// TestOneThatIsGoneAgainAndAgain: where somebody takes away what is ours as often as it comes, there is no pass more
// than there would be for another failure: audits come with passes, and by themselves with the delays of retries.
func TestOneThatIsGoneAgainAndAgain(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.converge(s.apply([]byte(manyServices(3))), false)
	broken := &brokenKernel{
		Kernel: s.memory, errno: syscall.ESRCH,
		refuse: func(op dataplane.Op) bool { return op.Object.Kind() == dataplane.KindRealServer },
	}
	s.engine.kernel = broken
	s.engine.Pass(s.now, s.apply([]byte(sliceOf(1, 6))), false)
	for delay := firstRetry; delay < lastRetry; delay *= 2 {
		due := s.engine.retries.next()
		if got := due.Sub(s.now); got != delay {
			t.Fatalf("tried again after %s, want %s", got, delay)
		}
		s.now = due
		if r := s.engine.Pass(s.now, nil, false); !r.Audit {
			t.Fatalf("after %s without an audit: %+v", delay, r)
		}
	}
}

// TestSchedulerThatIsMissingIsNoDoubt: ENOENT for a virtual server is Linux's word for a scheduler that it does not
// have, and says nothing of others.
func TestSchedulerThatIsMissingIsNoDoubt(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.converge(s.apply([]byte(manyServices(3))), false)
	s.engine.kernel = &brokenKernel{Kernel: s.memory, errno: syscall.ENOENT, refuse: isVirtualServer}
	s.engine.Pass(s.now, s.apply([]byte(strings.NewReplacer("s0", "new", "10.96.0.1,", "10.96.9.9,", "10.96.0.1]",
		"10.96.9.9]").Replace(manyServices(1)))), false)
	s.now = s.engine.retries.next()
	if r := s.engine.Pass(s.now, nil, false); r.Audit || r.FailureCount() == 0 {
		t.Errorf("%+v, want a failure and no audit", r)
	}
}

// TestTheLinksEnd: that our link is gone starts an audit at once, however long audits are to wait for their cost, or
// where there are none.
func TestTheLinksEnd(t *testing.T) {
	b := newBesideLoop(t)
	b.s.apply([]byte(manyServices(50)))
	b.pass(nil, nil, true)
	text := b.s.memory.State().ServiceText()
	b.audits.due = time.Now().Add(time.Hour)
	b.s.tear(true)
	b.auditNext()
	if wait := b.wait(time.Now()); wait > firstRetry {
		t.Errorf("the loop waits for %s, want %s at the most", wait, firstRetry)
	}
	if r := b.engine.Pass(b.engine.retries.next(), nil, false); !r.Audit || r.Error() != nil {
		t.Errorf("%+v, want an audit", r)
	}
	if diff := gocmp.Diff(text, b.s.memory.State().ServiceText()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if wait := b.wait(time.Now()); wait < time.Minute {
		t.Errorf("the loop waits for %s only, with nothing left to be done", wait)
	}
}
