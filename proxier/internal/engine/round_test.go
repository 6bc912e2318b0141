package engine

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// audit compares the whole kernel, and brings it in line.
func (s *scenario) audit() {
	s.t.Helper()
	whole := !s.beside || s.engine.have == nil // the first audit is a whole one
	if !whole {
		s.round(s.memory.Reader(), dataplane.AllParts, func() {})
	}
	s.converge(nil, whole)
}

// round makes a round of an audit of these parts, up to where the next pass of converge repairs. between is called
// between its pieces.
func (s *scenario) round(reader *kernel.MemoryReader, parts dataplane.Parts, between func()) {
	s.t.Helper()
	of := s.engine.newRound()
	defer of.end()
	seen, err := s.faulty.Reader(reader).Summarize(parts)
	for err != nil {
		seen, err = s.faulty.Reader(reader).Summarize(parts)
	}
	for of.startComparing(seen); of.comparing() && s.found == nil; {
		between()
		if of.comparing() {
			s.found = of.step()
		}
	}
}

// places returns the objects of every step of every scenario.
func places(t *testing.T) (all []objects) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if has(archive, "walk: off") {
			continue
		}
		s := newScenario(t, 0, 0)
		s.after = func(o objects) { all = append(all, o) }
		s.run(archive, false)
	}
	if len(all) < 30 {
		t.Fatalf("only %d places to go to", len(all))
	}
	return all
}

// tamper damages the kernel at random, as others might.
func (s *scenario) tamper(r *rand.Rand) {
	s.tampered = true
	state := s.memory.State()
	drop := func(o dataplane.Object) { state.Apply(dataplane.Op{Verb: dataplane.Delete, Object: o}) }
	ids := slices.SortedFunc(maps.Keys(state.VirtualServers),
		func(a, b dataplane.VirtualServerID) int { return strings.Compare(a.String(), b.String()) })
	switch kind := r.IntN(8); {
	case kind == 0:
		for _, e := range state.Entries.Sorted() {
			// In an excluded network a virtual server that has lost its entry is somebody else's, and keeps its Service
			// off.
			if !s.engine.excluded(e.Entry.Addr) {
				drop(e)
				return
			}
		}
	case kind == 1:
		for addr := range state.Addresses {
			drop(dataplane.Address{Addr: addr})
			return
		}
	case kind == 2:
		for hook := range state.Hooks {
			drop(hook)
			return
		}
	case kind == 3:
		state.Sysctls["net.ipv4.vs.conntrack"] = "0"
	case kind == 4:
		id := dataplane.VirtualServerID{
			Addr: netip.AddrFrom4([4]byte{10, 96, 200, byte(r.IntN(4))}), Port: 80, Protocol: cluster.TCP,
		}
		s.foreign[id] = true
		s.memory.AddForeign(id, dataplane.VirtualServer{Scheduler: "lc"})
	case len(ids) == 0:
	case kind == 5:
		drop(dataplane.VirtualServerObject{ID: ids[r.IntN(len(ids))]})
	default:
		id := ids[r.IntN(len(ids))]
		list := state.VirtualServers[id].RealServers
		if len(list) == 0 {
			return
		}
		server := list[0]
		if kind == 6 {
			drop(dataplane.RealServerObject{VirtualServer: id, RealServer: server})
			return
		}
		server.Weight += 7
		state.Apply(dataplane.Op{
			Verb: dataplane.Update, Object: dataplane.RealServerObject{VirtualServer: id, RealServer: server},
		})
	}
}

// TestRoundsWalk: whatever changes and drifts while audits read and compare, faults included, the kernel is in the end
// as it would be had these objects been the first; an audit that makes everything wait finds nothing more to do; and
// the mirror is the kernel.
func TestRoundsWalk(t *testing.T) {
	all := places(t)
	seed := anySeed(t)
	t.Logf("TEST_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	s := newScenario(t, 0.05, seed)
	s.faulty.Burst = 20
	s.converge(nil, true)
	mended, abandoned := 0, 0
	for range 200 {
		happen := func() {
			switch r.IntN(6) {
			case 0:
				s.walkOnce(all[r.IntN(len(all))].clone())
			case 1:
				s.tamper(r)
			case 2:
				s.now = s.now.Add(time.Duration(r.IntN(5000)) * time.Millisecond)
				s.engine.Pass(s.now, nil, false)
			}
		}
		reader := s.memory.Reader()
		reader.Before = func(string) { happen() }
		reader.Overlooks = func(dataplane.VirtualServerID) bool { return r.IntN(20) == 0 }
		happen()
		parts := dataplane.AllParts
		if r.IntN(2) == 0 {
			parts = dataplane.Parts(r.IntN(int(dataplane.AllParts))) | dataplane.PartAddresses
		}
		s.round(reader, parts, happen)
		if s.found != nil {
			mended++
		} else {
			abandoned++
		}
		damaged := s.tampered
		s.converge(nil, false)
		s.tampered = damaged
		s.beside = true
		s.audit() // what drifted where a pass was at work at the same time is found by the next round
		s.tampered = damaged
		s.now = s.now.Add(20 * time.Minute)
		s.converge(nil, false)
		s.faulty.Rate = 0
		s.converge(nil, true)
		if s.ops != 0 {
			t.Fatalf("a whole audit finds %d operations more", s.ops)
		}
		s.faulty.Rate = 0.05
		s.sameAsFresh()
	}
	if mended < 50 {
		t.Errorf("%d rounds came to their end, %d were abandoned", mended, abandoned)
	}
}

// walkOnce changes all objects at once, and makes one pass.
func (s *scenario) walkOnce(to objects) {
	dirty := map[cluster.Name]struct{}{}
	for _, o := range []objects{*s.objects, to} {
		for name := range o.services {
			dirty[name] = struct{}{}
		}
		for name, slice := range o.slices { // which may be there without its Service
			dirty[cluster.Name{Namespace: name.Namespace, Name: slice.Labels[discovery.LabelServiceName]}] = struct{}{}
		}
	}
	s.objects.services, s.objects.slices = to.services, to.slices
	s.engine.Pass(s.now, slices.Collect(maps.Keys(dirty)), false)
}

// sameAsFresh holds the kernel, and the mirror, against those of an engine that begins with these objects.
func (s *scenario) sameAsFresh() {
	s.t.Helper()
	fresh := newScenario(s.t, 0, 0)
	fresh.objects.services, fresh.objects.slices = s.objects.services, s.objects.slices
	fresh.converge(nil, true)
	ours := s.memory.State()
	for id := range ours.VirtualServers {
		if !ours.Owns(id) { // made by others, or one whose set entry others have taken away just before its Service went
			ours.DropVirtualServer(id)
		}
	}
	if diff := gocmp.Diff(fresh.memory.State().Text(), ours.Text()); diff != "" {
		s.t.Fatalf("(-fresh +walked):\n%s", diff)
	}
	if diff := gocmp.Diff(ours.Text(), s.engine.have.Text()); diff != "" {
		s.t.Fatalf("(-kernel +mirror):\n%s", diff)
	}
}

// besideLoop is a loop with a Reader that waits before it reads virtual servers.
type besideLoop struct {
	*Loop
	s       *scenario
	reports []Report
	waits   chan struct{} // has an element when the Reader waits
	read    chan struct{} // lets it read on
	fails   error
}

func newBesideLoop(t *testing.T) *besideLoop {
	s := newScenario(t, 0, 0)
	b := &besideLoop{s: s, waits: make(chan struct{}), read: make(chan struct{})}
	reader := s.memory.Reader()
	reader.Before = func(part string) {
		if part == "virtual servers" {
			b.waits <- struct{}{}
			<-b.read
		}
	}
	b.Loop = &Loop{
		engine: s.engine, work: &Stopwatch{}, waiting: map[cluster.Name]cluster.Change{},
		observers: []Observer{observerFunc(func(r Report) { b.reports = append(b.reports, r) })},
		audits: newAuditor(s.engine, func() (dataplane.Reader, error) {
			if b.fails != nil {
				return nil, b.fails
			}
			return reader, nil
		}, 30*time.Second, &Stopwatch{}, noCost),
	}
	t.Cleanup(b.audits.close)
	return b
}

// noCost is a processor on which all goes at once.
func noCost() (thread, programs time.Duration) { return 0, 0 }

func (b *besideLoop) last() Report { return b.reports[len(b.reports)-1] }

// finish waits for the reading, compares what was seen, and repairs.
func (b *besideLoop) finish() {
	<-b.audits.read
	for b.audit(); b.audits.round.comparing(); {
		b.audit()
	}
}

// TestChangesDoNotWaitForAudits: while an audit reads, a change comes to the kernel; the audit, which has seen the half
// of it, does not undo it, repairs what has drifted beside it, and counts as one.
func TestChangesDoNotWaitForAudits(t *testing.T) {
	b := newBesideLoop(t)
	b.s.apply([]byte(manyServices(50)))
	b.pass(nil, nil, true)
	b.s.memory.State().Sysctls["net.ipv4.vs.conntrack"] = "0"
	now := time.Now()
	if b.audits.start(now.Add(29*time.Second)) || !b.audits.start(now.Add(31*time.Second)) {
		t.Fatal("an audit is due after 30 seconds, and not before")
	}
	if b.audits.start(now.Add(time.Hour)) || !b.audits.next().IsZero() {
		t.Error("another one begins while the first one reads")
	}
	<-b.waits
	// Sets have been read. A Service comes, one goes, one gets another endpoint.
	var changes []cluster.Change
	for _, name := range slices.Concat(b.s.apply([]byte(strings.NewReplacer("s0", "new", "10.96.0.1,", "10.96.9.9,",
		"10.96.0.1]", "10.96.9.9]").Replace(manyServices(1)))),
		b.s.delete("Service s7"), b.s.apply([]byte(sliceOf(8, 6)))) {
		changes = append(changes, cluster.Change{Name: name, Arrived: now})
	}
	b.pass(changes, nil, false)
	id := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.9.9"), Port: 80, Protocol: cluster.TCP}
	if _, there := b.s.memory.State().VirtualServers[id]; !there || len(b.last().Changes) == 0 || b.last().Audit {
		t.Fatalf("the change is not in the kernel while the audit reads: %+v", b.last())
	}
	text := b.s.memory.State().ServiceText()
	b.read <- struct{}{}
	b.finish()
	if r := b.last(); !r.Audit || r.Error() != nil || r.OpCount() != 1 ||
		r.Ops[OpLabel{dataplane.Update, dataplane.KindSysctl}] != 1 || r.Foreign != 0 {
		t.Errorf("the audit's pass: %+v, want the sysctl alone", r)
	}
	if diff := gocmp.Diff(text, b.s.memory.State().ServiceText()); diff != "" {
		t.Errorf("the audit has undone a change (-before +after):\n%s", diff)
	}
	if b.audits.next().Before(now.Add(time.Minute)) {
		t.Errorf("the next one is due at %v, want 30 s after this one began", b.audits.next())
	}
}

// TestAuditInPieces: comparing ten thousand keys goes in pieces, and a virtual server that the kernel's dump has left
// out is looked at for itself and no drift.
func TestAuditInPieces(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.memory.AfterEach = nil
	s.converge(s.apply([]byte(manyServices(2000))), false)
	reader := s.memory.Reader()
	overlooked := 0
	reader.Overlooks = func(id dataplane.VirtualServerID) bool {
		if id.Addr.As4()[3] == 77 {
			overlooked++
			return true
		}
		return false
	}
	counting := &countingKernel{Kernel: s.memory}
	s.engine.kernel = counting
	pieces := 0
	s.round(reader, dataplane.AllParts, func() { pieces++ })
	if keys := 2 * (2000 + s.memory.State().Entries.Len() + 2000); pieces < keys/pieceKeys || overlooked != 10 {
		t.Errorf("%d pieces for %d keys; %d virtual servers were overlooked", pieces, keys, overlooked)
	}
	r := s.engine.repair(s.now, s.found)
	if !r.Audit || r.OpCount() != 0 || counting.observed != 0 {
		t.Errorf("%d operations, %d looks at the whole kernel: %+v", r.OpCount(), counting.observed, r)
	}
}

// TestHungReader: passes go on, no second reading begins, and it can be seen how long the reading takes.
func TestHungReader(t *testing.T) {
	b := newBesideLoop(t)
	b.pass(nil, nil, true)
	now := time.Now().Add(31 * time.Second)
	if !b.audits.start(now) {
		t.Fatal("no audit begins")
	}
	<-b.waits
	b.pass(nil, nil, false)
	if got := b.audits.work.Elapsed(now.Add(time.Hour)); got != time.Hour {
		t.Errorf("the reading has taken %s, want an hour", got)
	}
	if got := b.work.Elapsed(now.Add(time.Hour)); got != 0 {
		t.Errorf("the loop has been at work for %s, and rests", got)
	}
	if b.audits.start(now.Add(time.Hour)) {
		t.Error("a second reading begins")
	}
	b.read <- struct{}{}
	b.finish()
	if got := b.audits.work.Elapsed(now.Add(time.Hour)); got != 0 {
		t.Errorf("a reading that has ended has taken %s", got)
	}
}

// TestUnreadableBeside: that audits cannot read the kernel is reported until they can, and tried again soon. That it
// changes too fast is not, at first.
func TestUnreadableBeside(t *testing.T) {
	b := newBesideLoop(t)
	b.pass(nil, nil, true)
	now := time.Now().Add(31 * time.Second)
	b.fails = syscall.EPERM
	begin := func() {
		t.Helper()
		if !b.audits.start(now) {
			t.Fatal("no audit begins")
		}
	}
	begin()
	b.finish()
	if r := b.last(); r.Audit || !errors.Is(r.Error(), syscall.EPERM) {
		t.Errorf("%+v, want EPERM", r)
	}
	if b.pass(nil, nil, false); b.last().Error() == nil {
		t.Error("the next pass does not report it")
	}
	if wait := time.Until(b.audits.next()); wait > readAgain {
		t.Errorf("tried again after %s", wait)
	}
	b.fails = nil
	begin()
	<-b.waits
	b.read <- struct{}{}
	b.finish()
	if r := b.last(); !r.Audit || r.Error() != nil {
		t.Errorf("%+v, want an audit", r)
	}

	var err error
	for i := range tooFast {
		if err != nil {
			t.Errorf("reported after %d", i)
		}
		err = b.audits.ended(now, reading{err: fmt.Errorf("dump: %w", syscall.EINTR)})
	}
	if err == nil {
		t.Error("a kernel that always changes too fast is not reported")
	}
}

// TestAuditsTakeAHundredth: audits come as often as a thousandth of a core allows, at least each period, unless that
// would take more than a hundredth, and unless the configured period is short.
func TestAuditsTakeAHundredth(t *testing.T) {
	for _, c := range []struct{ period, cost, wait time.Duration }{
		{10 * time.Minute, 0, 30 * time.Second},
		{10 * time.Minute, 100 * time.Millisecond, 200 * time.Second},
		{10 * time.Minute, time.Second, 10 * time.Minute},
		{10 * time.Minute, 4 * time.Second, 800 * time.Second},
		{30 * time.Second, 100 * time.Millisecond, 30 * time.Second},
		{30 * time.Second, 2 * time.Second, 400 * time.Second},
		{time.Minute, 250 * time.Millisecond, time.Minute},
		{time.Second, 2 * time.Second, time.Second},
	} {
		s := newScenario(t, 0, 0)
		s.converge(nil, false)
		var looks time.Duration
		a := newAuditor(s.engine, func() (dataplane.Reader, error) { return s.memory.Reader(), nil }, c.period, &Stopwatch{},
			func() (thread, programs time.Duration) {
				looks++
				return looks * c.cost / 2, looks * (c.cost - c.cost/2)
			})
		t.Cleanup(a.close)
		var told AuditCost
		a.cost = func(c AuditCost) { told = c }
		now := time.Now().Add(time.Hour)
		if !a.start(now) {
			t.Fatal("no audit begins")
		}
		if err := a.ended(now, <-a.results); err != nil {
			t.Fatal(err)
		}
		if wait := a.next().Sub(now); wait != c.wait {
			t.Errorf("with a period of %s and a cost of %s the next one comes after %s, want %s", c.period, c.cost, wait, c.wait)
		}
		if want := (AuditCost{c.cost / 2, c.cost / 2}); told != want {
			t.Errorf("of an audit that took %s the cost is reported as %+v, want %+v", c.cost, told, want)
		}
	}
}

// TestNoAudits: period 0 is never.
func TestNoAudits(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.converge(nil, false)
	a := newAuditor(s.engine, nil, 0, &Stopwatch{}, noCost)
	defer a.close()
	if !a.next().IsZero() || a.start(time.Now().Add(1000*time.Hour)) {
		t.Error("an audit is due")
	}
}

// orderKernel notes which virtual servers are looked at.
type orderKernel struct {
	dataplane.Kernel
	looked *[]dataplane.VirtualServerID
}

func (k orderKernel) VirtualServer(id dataplane.VirtualServerID) (dataplane.VirtualServer, bool, error) {
	*k.looked = append(*k.looked, id)
	return k.Kernel.VirtualServer(id)
}

// TestRoundsAskInOrder: a round asks the kernel about what differs in the order of the virtual servers, so that a seed
// repeats what a fault meets.
func TestRoundsAskInOrder(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.converge(s.apply([]byte(manyServices(40))), false)
	s.tampered = true
	state, random := s.memory.State(), rand.New(rand.NewPCG(1, 1))
	for id, v := range state.Clone().VirtualServers {
		switch random.IntN(3) {
		case 0:
			state.DropVirtualServer(id)
		case 1:
			v.Timeout = 77
			state.SetVirtualServer(id, v)
		}
	}
	var looked []dataplane.VirtualServerID
	s.engine.kernel = orderKernel{s.engine.kernel, &looked}
	s.round(s.memory.Reader(), dataplane.AllParts, func() {})
	if len(looked) < 10 || !slices.IsSortedFunc(looked, dataplane.VirtualServerID.Compare) {
		t.Errorf("looked at %v", looked)
	}
}
