package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// manyServices returns n Services with 5 endpoints each.
func manyServices(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString("---\n")
		}
		fmt.Fprintf(&b, `apiVersion: v1
kind: Service
metadata: {name: s%[1]d}
spec: {clusterIP: 10.96.%[2]d.%[3]d, clusterIPs: [10.96.%[2]d.%[3]d], ports: [{name: http, port: 80, targetPort: 8080}]}
---
%[4]s`, i, i/200, 1+i%200, sliceOf(i, 5))
	}
	return b.String()
}

func sliceOf(service, endpoints int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s%[1]d-a, labels: {kubernetes.io/service-name: s%[1]d}}\naddressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints:\n", service)
	for e := range endpoints {
		fmt.Fprintf(&b, "- {addresses: [10.244.%d.%d], nodeName: n2}\n", service%250, 1+e)
	}
	return b.String()
}

// countingKernel counts what the engine asks of its kernel.
type countingKernel struct {
	dataplane.Kernel
	observed, counted, applied int
}

func (c *countingKernel) Observe() (dataplane.Observation, error) {
	c.observed++
	return c.Kernel.Observe()
}

func (c *countingKernel) Connections(id dataplane.VirtualServerID) ([]dataplane.Connections, error) {
	c.counted++
	return c.Kernel.Connections(id)
}

func (c *countingKernel) Apply(ops []dataplane.Op) []error {
	c.applied += len(ops)
	return c.Kernel.Apply(ops)
}

// TestOneChangeIsOneService: an endpoint more costs one operation and the few renewals that keep the seeded order, one
// Service looked at and no look at the kernel, among 10 Services as among 1,000.
func TestOneChangeIsOneService(t *testing.T) {
	operations := 0
	for _, n := range []int{10, 1000} {
		s := newScenario(t, 0, 0)
		s.memory.AfterEach = nil
		counting := &countingKernel{Kernel: s.memory}
		s.engine.kernel = counting
		s.converge(s.apply([]byte(manyServices(n))), false)
		if got := len(s.memory.State().VirtualServers); got != n {
			t.Fatalf("%d virtual servers, want %d", got, n)
		}
		*counting = countingKernel{Kernel: s.memory}
		r := s.engine.Pass(s.now, s.apply([]byte(sliceOf(3, 6))), false)
		created := r.Ops[OpLabel{dataplane.Create, dataplane.KindRealServer}]
		renewed := r.Ops[OpLabel{dataplane.Renew, dataplane.KindRealServer}]
		if operations == 0 {
			operations = r.OpCount()
		}
		if created != 1 || renewed > 4 || r.OpCount() != created+renewed || r.OpCount() != operations || r.Services != 1 ||
			len(r.Changed) != 1 || counting.applied != operations || counting.observed+counting.counted != 0 {
			t.Errorf("among %d Services: %d operations, %d Services, %d rows; the kernel was read %+v",
				n, r.OpCount(), r.Services, len(r.Changed), counting)
		}
	}
}

// brokenKernel refuses what refuse says.
type brokenKernel struct {
	dataplane.Kernel
	refuse func(dataplane.Op) bool
	errno  syscall.Errno // 0 is ENOMEM
	blind  bool
}

func (b *brokenKernel) Observe() (dataplane.Observation, error) {
	if b.blind {
		return dataplane.Observation{}, syscall.EPERM
	}
	return b.Kernel.Observe()
}

func (b *brokenKernel) Apply(ops []dataplane.Op) []error {
	errs := make([]error, len(ops))
	for i, op := range ops {
		if b.refuse(op) {
			errs[i] = fmt.Errorf("%s: %w", op, cmp.Or(b.errno, syscall.ENOMEM))
		} else {
			errs[i] = b.Kernel.Apply([]dataplane.Op{op})[0]
		}
	}
	return errs
}

// TestOneServiceFailsAlone: what the kernel refuses one Service does no harm to another, is tried again ever more
// rarely, is shown, and succeeds by itself in the end.
func TestOneServiceFailsAlone(t *testing.T) {
	s := newScenario(t, 0, 0)
	broken := &brokenKernel{
		Kernel: s.memory, refuse: func(op dataplane.Op) bool { return strings.Contains(op.String(), "10.96.0.2:80") },
	}
	s.engine.kernel = broken
	start := s.now
	r := s.engine.Pass(start, s.apply([]byte(manyServices(3))), false)
	if got := len(s.memory.State().VirtualServers); got != 2 || r.Pending != 1 {
		t.Fatalf("%d virtual servers and %d pending, want 2 and 1: %v", got, r.Pending, r.Error())
	}
	if _, bound := s.memory.State().Addresses[netip.MustParseAddr("10.96.0.2")]; bound {
		t.Error("the address came up without its virtual server")
	}
	var row Row
	for _, row = range r.Changed {
		if row.Name.Name == "s1" {
			break
		}
	}
	if len(row.Errors) == 0 {
		t.Errorf("the row of s1 shows no error: %+v", row)
	}
	if err := r.Error(); err == nil || !strings.Contains(err.Error(), "default/s1") {
		t.Errorf("the report does not name the Service: %v", err)
	}
	delay := firstRetry
	for range 16 {
		due := s.engine.retries.next()
		if got := due.Sub(s.now); got != delay {
			t.Fatalf("tried again after %s, want %s", got, delay)
		}
		if r := s.engine.Pass(due.Add(-time.Nanosecond), nil, false); r.OpCount() != 0 || r.FailureCount() != 0 {
			t.Fatalf("tried before its time: %v", r.Error())
		}
		s.now = due
		s.engine.Pass(s.now, nil, false)
		delay = min(2*delay, lastOfOne)
	}
	broken.refuse = func(dataplane.Op) bool { return false }
	s.now = s.engine.retries.next()
	r = s.engine.Pass(s.now, nil, false)
	if len(s.memory.State().VirtualServers) != 3 || r.Pending != 0 || len(r.Changed) != 1 ||
		len(r.Changed[0].Errors) != 0 {
		t.Errorf("not repaired: %+v", r)
	}
}

// TestSetsThatRefuseSome: a set that is full refuses entries by chance. Each costs its own Service only, whichever
// stand before and behind it, and is tried again.
func TestSetsThatRefuseSome(t *testing.T) {
	const n = 60
	s := newScenario(t, 0, 0)
	refused := func(number int) bool { return number%7 == 3 || number == 1 || number == n }
	broken := &brokenKernel{Kernel: s.memory, errno: syscall.ENOSPC, refuse: func(op dataplane.Op) bool {
		e, is := op.Object.(dataplane.SetEntry)
		return is && e.Set == dataplane.SetFrontEnd && refused(int(e.Entry.Addr.As4()[3]))
	}}
	s.engine.kernel = broken
	r := s.engine.Pass(s.now, s.apply([]byte(manyServices(n))), false)
	failed := 0
	for number := 1; number <= n; number++ {
		id := dataplane.VirtualServerID{
			Addr: netip.AddrFrom4([4]byte{10, 96, 0, byte(number)}), Port: 80, Protocol: cluster.TCP,
		}
		if _, served := s.memory.State().VirtualServers[id]; served == refused(number) {
			t.Errorf("%s is served: %t", id, served)
		}
		if refused(number) {
			failed++
		}
	}
	if r.Pending != failed {
		t.Errorf("%d Services are to be tried again, want %d", r.Pending, failed)
	}
	broken.refuse = func(dataplane.Op) bool { return false }
	s.now = s.engine.retries.next()
	if r := s.engine.Pass(s.now, nil, false); r.Pending != 0 || len(s.memory.State().VirtualServers) != n {
		t.Errorf("after there was room: %d virtual servers, %d to be tried again",
			len(s.memory.State().VirtualServers), r.Pending)
	}
}

// TestBlindEngineWritesNothing: while the kernel cannot be read nothing is written, and nothing is forgotten.
func TestBlindEngineWritesNothing(t *testing.T) {
	s := newScenario(t, 0, 0)
	broken := &brokenKernel{Kernel: s.memory, refuse: func(dataplane.Op) bool { return false }, blind: true}
	s.engine.kernel = broken
	for range 3 {
		r := s.engine.Pass(s.now, s.apply([]byte(manyServices(2))), false)
		if r.Error() == nil || s.memory.Writes != 0 {
			t.Fatalf("%d writes, error %v", s.memory.Writes, r.Error())
		}
		s.now = s.engine.retries.next()
	}
	broken.blind = false
	s.converge(nil, false)
	if got := len(s.memory.State().VirtualServers); got != 2 {
		t.Errorf("%d virtual servers, want 2", got)
	}
}

// TestMissingSchedulerIsAProblem: a scheduler that this node's kernel lacks leaves what is programmed in force.
func TestMissingSchedulerIsAProblem(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.engine.settings.Dataplane.Facts.Schedulers = []string{"rr"}
	s.converge(s.apply([]byte(manyServices(1))), false)
	name := cluster.Name{Namespace: "default", Name: "s0"}
	changed := s.objects.services[name].DeepCopy()
	changed.Annotations = map[string]string{"ipvs-proxier.io/scheduler": "lc"}
	s.objects.services[name] = changed
	s.converge([]cluster.Name{name}, false)
	problems := s.rows[name].Problems
	if len(problems) != 1 || problems[0].Reason != cluster.UnsupportedScheduler {
		t.Fatalf("problems: %v", problems)
	}
	for id, v := range s.memory.State().VirtualServers {
		if v.Scheduler != "rr" {
			t.Errorf("%s has scheduler %s, want rr", id, v.Scheduler)
		}
	}
}

var _ Lister = (*objects)(nil)

// forgetless is a kernel that cannot forget flows.
type forgetless struct{ dataplane.Kernel }

func (forgetless) Forget(map[dataplane.VirtualServerID][]netip.AddrPort) (int, error) {
	return 0, syscall.EPROTONOSUPPORT
}

// TestFlowsThatCannotBeForgotten are reported and tried again, and are no reason to call the node unhealthy: the kernel
// is in line.
func TestFlowsThatCannotBeForgotten(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.engine.kernel = forgetless{s.memory}
	udp := strings.ReplaceAll(manyServices(1), "port: 80,", "port: 80, protocol: UDP,")
	r := s.engine.Pass(s.now, s.apply([]byte(udp)), false)
	if r.Error() != nil || len(r.Warnings) != 1 {
		t.Fatalf("errors %v, warnings %v", r.Error(), r.Warnings)
	}
	if due := s.engine.stale.next(); !due.Equal(s.now.Add(forgetAgain)) {
		t.Errorf("tried again at %v, want after %s", due, forgetAgain)
	}
	s.engine.kernel = s.memory
	if r := s.engine.Pass(s.now, nil, false); len(r.Warnings) != 1 {
		t.Error("a pass before it is due does not report it any more")
	}
	if r := s.engine.Pass(s.now.Add(forgetAgain), nil, false); len(r.Warnings) != 0 || !s.engine.stale.next().IsZero() {
		t.Errorf("after a try that did it: %v, next %v", r.Warnings, s.engine.stale.next())
	}
}

// TestPrimaryAddressesUnknown: node ports that are limited to unknown addresses are reported.
func TestPrimaryAddressesUnknown(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.engine.settings.Dataplane.NodePortsOnPrimary = true
	service := strings.ReplaceAll(manyServices(1), "targetPort: 8080", "targetPort: 8080, nodePort: 30080")
	s.converge(s.apply([]byte(service)), false)
	if text := s.problems(); !strings.Contains(text, "NodeUnknown") || !strings.Contains(text, "Node n1") {
		t.Errorf("problems %q", text)
	}
	s.converge(s.apply([]byte("apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: 192.168.50.1}]}\n")), false)
	if text := s.problems(); text != "" {
		t.Errorf("problems %q", text)
	}
	if _, served := s.memory.State().VirtualServers[dataplane.VirtualServerID{
		Addr: netip.MustParseAddr("192.168.50.1"), Port: 30080, Protocol: cluster.TCP,
	}]; !served {
		t.Error("the node port is not served on the primary address")
	}
}
