package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// contestScenario is an engine that goes by contests, with one Service of two endpoints.
type contestScenario struct {
	*scenario
	web dataplane.VirtualServerID
}

func newContestScenario(t *testing.T, services int) *contestScenario {
	s := newScenario(t, 0, 0)
	s.memory.AfterEach = nil
	s.engine.contests = newContests(5, 10*time.Minute)
	c := &contestScenario{
		s, dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP},
	}
	c.converge(s.apply([]byte(manyServices(services))), false)
	return c
}

// undo takes the object away.
func (c *contestScenario) undo(o dataplane.Object) {
	c.memory.State().Apply(dataplane.Op{Verb: dataplane.Delete, Object: o})
}

func (c *contestScenario) undoServer() { c.undo(dataplane.VirtualServerObject{ID: c.web}) }

// repair audits, and returns what the pass after it has done.
func (c *contestScenario) repair() Report {
	c.t.Helper()
	c.round(c.memory.Reader(), dataplane.AllParts, func() {})
	r := c.engine.repair(c.now, c.found)
	c.found = nil
	c.check(r)
	return r
}

// wake makes the pass for which the loop would wake up, and no other.
func (c *contestScenario) wake() Report {
	c.t.Helper()
	r := c.engine.Pass(c.now, nil, false)
	c.check(r)
	return r
}

func (c *contestScenario) check(r Report) {
	c.t.Helper()
	if err := r.Error(); err != nil || r.Pending > 0 {
		c.t.Errorf("a pass fails: %v; %d are to be tried again", err, r.Pending)
	}
}

func (c *contestScenario) present(o dataplane.Object) bool {
	return dataplane.IdentityOf(o).IsIn(c.memory.State())
}

func (c *contestScenario) served(want bool, when string) {
	c.t.Helper()
	if _, is := c.memory.State().VirtualServers[c.web]; is != want {
		c.t.Errorf("%s: the virtual server is there: %v, want %v", when, is, want)
	}
}

// contest undoes the virtual server until it is contested, ten seconds apart.
func (c *contestScenario) contest() {
	c.t.Helper()
	for i := range 5 {
		c.now = c.now.Add(10 * time.Second)
		c.undoServer()
		r := c.repair()
		c.served(true, fmt.Sprint("repair ", i+1))
		if n := r.Contested.Count(); n != i/4 {
			c.t.Errorf("after repair %d %d objects are contested", i+1, n)
		}
	}
}

// TestAContestedObjectIsRepairedOnceAMinute, whether an audit comes or not, until it stays as it is for ten minutes.
func TestAContestedObjectIsRepairedOnceAMinute(t *testing.T) {
	c := newContestScenario(t, 2)
	c.contest()
	writes := 0
	for range 20 { // every 10 s
		c.now = c.now.Add(10 * time.Second)
		c.undoServer()
		if r := c.repair(); r.OpCount() > 0 {
			writes++
			for o := range r.Drift() {
				if !o.Contested {
					t.Errorf("%s is not reported as contested", o.Op)
				}
			}
		}
	}
	if writes != 3 {
		t.Errorf("in 200 s it was repaired %d times, want 3", writes)
	}
	c.served(false, "undone after the last repair")
	due := c.engine.contests.next()
	if c.now = due.Add(-time.Millisecond); due.Before(c.now.Add(-time.Minute)) {
		t.Fatalf("it is due at %s", due)
	}
	c.wake()
	c.served(false, "a moment before it is due")
	c.now = due
	c.wake()
	c.served(true, "when it is due, without an audit")
	if c.engine.contests.waiting.Empty() != true {
		t.Error("something is held back all the same")
	}
	end := c.engine.contests.next()
	if want := c.now.Add(10 * time.Minute); !end.Equal(want) {
		t.Errorf("the contest ends at %s, want %s", end, want)
	}
	c.now = end.Add(-time.Millisecond)
	if r := c.wake(); r.Contested.Count() != 1 {
		t.Error("it has ended too soon")
	}
	c.now = end
	if r := c.wake(); r.Contested.Count() != 0 || len(r.NodeProblems) > 0 || !c.engine.contests.next().IsZero() {
		t.Errorf("it does not end: %+v", r.Contested)
	}
	c.undoServer()
	c.repair()
	c.served(true, "undone once after the end")
}

// TestOthersAreRepairedAtOnce: what is contested holds back nothing but itself and what needs it.
func TestOthersAreRepairedAtOnce(t *testing.T) {
	c := newContestScenario(t, 2)
	c.contest()
	c.now = c.now.Add(time.Second)
	other := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.2"), Port: 80, Protocol: cluster.TCP}
	c.undoServer()
	c.undo(dataplane.Address{Addr: c.web.Addr})
	c.undo(dataplane.VirtualServerObject{ID: other})
	c.undo(dataplane.Address{Addr: other.Addr})
	c.repair()
	c.served(false, "contested")
	if c.present(dataplane.Address{Addr: c.web.Addr}) {
		t.Error("an address is there without its virtual server: the node's own sockets would answer")
	}
	if !c.present(dataplane.VirtualServerObject{ID: other}) || !c.present(dataplane.Address{Addr: other.Addr}) {
		t.Error("another Service's objects are held back")
	}
	c.now = c.engine.contests.next()
	c.wake()
	c.served(true, "when it is due")
	if !c.present(dataplane.Address{Addr: c.web.Addr}) {
		t.Error("the address does not come with its virtual server")
	}
}

// TestWhatNeedsWhatWaits: a virtual server is taken away after its ledger entry is held back. It waits without a
// failure, and both come when the entry is due.
func TestWhatNeedsWhatWaits(t *testing.T) {
	c := newContestScenario(t, 1)
	entry := dataplane.SetEntry{}
	for e := range c.memory.State().Entries.All() {
		if e.Set == "IPVSP-FRONT-END" {
			entry = e
		}
	}
	for range 5 {
		c.now = c.now.Add(10 * time.Second)
		c.undo(entry)
		c.repair()
	}
	c.now = c.now.Add(time.Second)
	c.undo(entry)
	c.repair()
	c.now = c.now.Add(time.Second)
	c.undoServer()
	c.undo(dataplane.Address{Addr: c.web.Addr})
	c.repair()
	c.served(false, "without its entry")
	c.now = c.now.Add(time.Second)
	if r := c.wake(); r.OpCount() > 0 {
		t.Errorf("a pass between does %d operations", r.OpCount())
	}
	if next := c.engine.contests.next(); !next.After(c.now) {
		t.Errorf("the loop wakes up at %s, and it is %s", next, c.now)
	}
	c.now = c.engine.contests.next()
	c.wake()
	c.served(true, "when its entry is due")
	if !c.present(dataplane.Address{Addr: c.web.Addr}) || !c.engine.contests.waiting.Empty() {
		t.Error("something is left")
	}
}

// TestTwoThatNeedEachOther: an address and its virtual server are contested, and due at different times. The loop does
// not wake up in between for what cannot be done yet.
func TestTwoThatNeedEachOther(t *testing.T) {
	c := newContestScenario(t, 1)
	address := dataplane.Address{Addr: c.web.Addr}
	for range 5 {
		c.now = c.now.Add(5 * time.Second)
		c.undo(address)
		c.repair()
		c.now = c.now.Add(5 * time.Second)
		c.undoServer()
		c.repair()
	}
	c.now = c.now.Add(time.Second)
	c.undo(address)
	c.undoServer()
	c.repair()
	for wakes := 0; !c.present(address); wakes++ {
		next := c.engine.contests.next()
		if wakes > 2 || !next.After(c.now) {
			t.Fatalf("wake %d is at %s, and it is %s", wakes, next, c.now)
		}
		c.now = next
		c.wake()
	}
	c.served(true, "with its address")
}

// TestABlindContestEnds: while the kernel cannot be read a contest ends in time, and does not keep the loop busy.
func TestABlindContestEnds(t *testing.T) {
	c := newContestScenario(t, 1)
	c.contest()
	c.now = c.engine.contests.next()
	r := c.engine.abandonPass(Report{Start: c.now, Failures: map[cluster.Name][]Failure{}}, fmt.Errorf("blind"),
		dataplane.NewTouched(), nil)
	if r.Contested.Count() != 0 || !c.engine.contests.next().IsZero() {
		t.Errorf("contested are %+v, and the loop wakes up at %s", r.Contested, c.engine.contests.next())
	}
}

// TestAChangeOfAContestedServiceIsWrittenAtOnce, and with it what is held back of it. A Service that goes takes its
// contest along.
func TestAChangeOfAContestedServiceIsWrittenAtOnce(t *testing.T) {
	c := newContestScenario(t, 1)
	c.contest()
	c.now = c.now.Add(time.Second)
	c.undoServer()
	c.repair()
	c.served(false, "contested")
	r := c.engine.Pass(c.now, c.apply([]byte(sliceOf(0, 6))), false)
	c.check(r)
	c.served(true, "after a change")
	if n := len(c.memory.State().VirtualServers[c.web].RealServers); n != 6 {
		t.Errorf("%d real servers, want 6", n)
	}
	c.now = c.now.Add(time.Second)
	c.undoServer()
	c.repair()
	c.served(false, "undone again")
	delete(c.objects.services, cluster.Name{Namespace: "default", Name: "s0"})
	r = c.engine.Pass(c.now, []cluster.Name{{Namespace: "default", Name: "s0"}}, false)
	if c.check(r); r.Contested.Count() != 0 {
		t.Errorf("a contest is left of a Service that is gone: %+v", r.Contested)
	}
	if !c.engine.contests.next().IsZero() && c.engine.contests.any() {
		t.Errorf("the loop wakes up for it at %s", c.engine.contests.next())
	}
}

// TestWhoUndoesItGivesUp: what is put right by others is not held back any more.
func TestWhoUndoesItGivesUp(t *testing.T) {
	c := newContestScenario(t, 1)
	c.contest()
	before := c.memory.State().VirtualServers[c.web]
	c.now = c.now.Add(time.Second)
	c.undoServer()
	c.repair()
	c.memory.State().SetVirtualServer(c.web, before)
	c.now = c.now.Add(time.Second)
	c.repair()
	c.now = c.engine.contests.next()
	if r := c.wake(); r.OpCount() > 0 || r.Contested.Count() != 1 {
		t.Errorf("%d operations, %d contested", r.OpCount(), r.Contested.Count())
	}
	c.now = c.engine.contests.next()
	if r := c.wake(); r.Contested.Count() != 0 {
		t.Error("it does not end")
	}
}

// TestEachKindCanBeContested: what others take away, alter or add again and again.
func TestEachKindCanBeContested(t *testing.T) {
	stranger := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 9999, Protocol: cluster.TCP}
	for name, undo := range map[string]func(*contestScenario){
		"link kube-ipvs0": func(c *contestScenario) {
			c.undo(dataplane.Link{Name: "kube-ipvs0"})
			clear(c.memory.State().Addresses)
		},
		"sysctl net.ipv4.vs.conntrack": func(c *contestScenario) { c.memory.State().Sysctls["net.ipv4.vs.conntrack"] = "0" },
		"rules ipv4 nat": func(c *contestScenario) {
			for hook := range c.memory.State().Hooks {
				if hook.Chain.Table == "nat" && hook.Chain.Family == cluster.IPv4 {
					c.undo(hook)
					return
				}
			}
		},
		"address 10.96.0.1": func(c *contestScenario) { c.undo(dataplane.Address{Addr: c.web.Addr}) },
		"entry IPVSP-FRONT-END 10.96.0.1,tcp:80": func(c *contestScenario) {
			for e := range c.memory.State().Entries.All() {
				if e.Set == "IPVSP-FRONT-END" {
					c.undo(e)
					return
				}
			}
		},
		"virtual-server tcp 10.96.0.1:80": func(c *contestScenario) { c.undoServer() },
		"virtual-server tcp 10.96.0.1:9999": func(c *contestScenario) {
			c.memory.AddForeign(stranger,
				dataplane.VirtualServer{Scheduler: "rr"})
		},
		"real-server tcp 10.96.0.1:80 -> 10.244.0.1:8080": func(c *contestScenario) {
			state := c.memory.State()
			for _, r := range state.VirtualServers[c.web].RealServers {
				if r.Addr == netip.MustParseAddr("10.244.0.1") {
					r.Weight = 7
					state.Apply(dataplane.Op{
						Verb: dataplane.Update, Object: dataplane.RealServerObject{VirtualServer: c.web, RealServer: r},
					})
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContestScenario(t, 1)
			before := c.memory.State().Text()
			for range 12 {
				c.now = c.now.Add(5 * time.Second)
				undo(c)
				c.repair()
			}
			r := c.repair()
			if r.Contested.First != name || r.Contested.Count() != 1 {
				t.Fatalf("contested are %v, want %s: %v", r.Contested, name, slices.Collect(maps.Keys(c.engine.contests.tracked)))
			}
			if c.memory.State().Text() == before {
				t.Fatal("it is repaired before its time")
			}
			c.now = c.engine.contests.next()
			c.wake()
			if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(c.memory.State().Text(), "\n")); diff != "" {
				t.Errorf("when it was due (-before +now):\n%s", diff)
			}
		})
	}
}

// TestWipesThatRepeat: who takes thousands of objects away is recognized, though not each of them is remembered. The
// first wipe is repaired at once.
func TestWipesThatRepeat(t *testing.T) {
	c := newContestScenario(t, 1500)
	wipe := func() (repaired bool) {
		for _, id := range slices.Collect(maps.Keys(c.memory.State().VirtualServers)) {
			c.undo(dataplane.VirtualServerObject{ID: id})
		}
		c.repair()
		return len(c.memory.State().VirtualServers) == 1500
	}
	for i := range 5 {
		c.now = c.now.Add(20 * time.Second)
		if !wipe() {
			t.Fatalf("wipe %d is not repaired at once", i+1)
		}
	}
	c.now = c.now.Add(20 * time.Second)
	c.undoServer()
	if c.repair(); len(c.memory.State().VirtualServers) != 1500 {
		t.Error("one virtual server alone is held back")
	}
	if wipe() {
		t.Error("wipe 6 is repaired at once")
	}
	r := c.wake()
	if r.Contested.First != "many objects of kind virtual-server at once" || r.Contested.Count() != 1 {
		t.Errorf("contested are %+v", r.Contested)
	}
	if n := len(c.engine.contests.tracked); n > mostTracked {
		t.Errorf("%d objects are remembered", n)
	}
	c.now = c.engine.contests.next()
	if c.wake(); len(c.memory.State().VirtualServers) != 1500 {
		t.Errorf("when it was due %d virtual servers are there", len(c.memory.State().VirtualServers))
	}
}

// TestMoreIsUndoneThanIsRemembered: the oldest are forgotten, and what is contested is not.
func TestMoreIsUndoneThanIsRemembered(t *testing.T) {
	cs := newContests(2, time.Minute)
	now := time.Unix(1e9, 0)
	id := func(i int) dataplane.Identity {
		return dataplane.IdentityOf(dataplane.Address{Addr: netip.AddrFrom4([4]byte{10, 96, byte(i / 200), byte(i % 200)})})
	}
	cs.repaired(id(0), now, cluster.Name{}, true)
	cs.repaired(id(0), now, cluster.Name{}, true)
	for i := range 3 * mostTracked {
		cs.repaired(id(1+i), now.Add(time.Duration(i)), cluster.Name{}, true)
	}
	if len(cs.tracked) > mostTracked || !cs.is(id(0)) || cs.tracked[id(3*mostTracked)] == nil || cs.tracked[id(1)] != nil {
		t.Errorf("%d are remembered", len(cs.tracked))
	}
	for i := range mostTracked {
		cs.repaired(id(3*mostTracked-i), now, cluster.Name{}, true)
		cs.repaired(id(3*mostTracked-i), now, cluster.Name{}, true)
	}
	cs.name("somebody does", true)
	r := cs.report()
	if r.Count() != mostTracked || len(r.Problems) > 100 {
		t.Errorf("%d are contested, and %d problems reported", r.Count(), len(r.Problems))
	}
	cs.expire(now.Add(time.Hour), func(dataplane.Identity) bool { return true })
	if r = cs.report(); r.Count() != 0 || len(cs.tracked) != 0 {
		t.Errorf("%d are contested at last", r.Count())
	}
}

// TestRareRepairsAreNoContest: five in more than ten minutes are none, and 0 turns it off.
func TestRareRepairsAreNoContest(t *testing.T) {
	for after, pause := range map[int]time.Duration{5: 150 * time.Second, 0: time.Second} {
		c := newContestScenario(t, 1)
		c.engine.contests = newContests(after, 10*time.Minute)
		for i := range 20 {
			c.now = c.now.Add(pause)
			c.undoServer()
			r := c.repair()
			c.served(true, fmt.Sprintf("with %d, repair %d", after, i+1))
			if r.Contested.Count() > 0 {
				t.Fatalf("with %d, repair %d makes it contested", after, i+1)
			}
		}
	}
}

// TestTheWriterIsNamedOnce: the Problem comes with the answer, and stays word for word as it is; who is found later
// takes the place of nobody.
func TestTheWriterIsNamedOnce(t *testing.T) {
	c := newContestScenario(t, 1)
	c.contest()
	cs := &c.engine.contests
	if r := c.wake(); len(r.NodeProblems) > 0 || !cs.unasked() {
		t.Errorf("there are Problems before anybody was asked: %v", r.NodeProblems)
	}
	cs.name("nobody was found", false)
	r := c.wake()
	if len(r.NodeProblems) != 1 || cs.unasked() || r.Contested.Writer != "nobody was found" {
		t.Fatalf("%+v, to be asked: %v", r, cs.unasked())
	}
	p := r.NodeProblems[0]
	for _, words := range []string{
		"service default/s0", "5 times within 40s", "nobody was found", "once in 1m0s", "for 10m0s",
	} {
		if !strings.Contains(p.Message, words) {
			t.Errorf("the Problem does not say %q: %s", words, p.Message)
		}
	}
	again := func() Report {
		c.now = c.now.Add(time.Minute)
		c.undoServer()
		return c.repair()
	}
	if r := again(); !cs.unasked() || r.NodeProblems[0] != p {
		t.Errorf("after another repair: to be asked: %v, %v", cs.unasked(), r.NodeProblems)
	}
	cs.name("kube-proxy runs here (process 7)", true)
	if p = c.wake().NodeProblems[0]; !strings.Contains(p.Message, "process 7") {
		t.Errorf("it is not named: %s", p.Message)
	}
	if r := again(); cs.unasked() || r.NodeProblems[0] != p {
		t.Errorf("it is asked for again: %v", r.NodeProblems)
	}
}

// CheckContest shows observers a contest from the first undoing to its end, with eight repairs; its writer is named.
func CheckContest(t *testing.T, observers ...Observer) {
	c := newContestScenario(t, 1)
	show := func(r Report) {
		for _, o := range observers {
			o.Observe(r)
		}
	}
	for range 5 {
		c.now = c.now.Add(time.Second)
		c.undoServer()
		show(c.repair())
	}
	c.engine.contests.name("kube-proxy runs here (process 7)", true)
	show(c.wake())
	for range 3 {
		c.now = c.now.Add(10 * time.Second)
		c.undoServer()
		show(c.repair())
		c.now = c.engine.contests.next()
		show(c.wake())
	}
	for _, o := range observers {
		if m, is := o.(interface{ During() }); is {
			m.During()
		}
	}
	c.now = c.engine.contests.next()
	show(c.wake())
}
