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

// partsLoop is a loop with some Services and an audit in an hour. read are the parts that were read.
type partsLoop struct {
	*Loop
	s       *scenario
	reports []Report
	read    []string
}

func newPartsLoop(t *testing.T) *partsLoop {
	t.Helper()
	l := &partsLoop{s: newScenario(t, 0, 0)}
	reader := l.s.memory.Reader()
	reader.Before = func(part string) { l.read = append(l.read, part) }
	l.Loop = &Loop{
		engine: l.s.engine, work: &Stopwatch{}, waiting: map[cluster.Name]cluster.Change{}, ours: newAddressChanges(),
		observers: []Observer{observerFunc(func(r Report) { l.reports = append(l.reports, r) })},
		audits: newAuditor(l.s.engine, func() (dataplane.Reader, error) { return reader, nil }, time.Hour, &Stopwatch{},
			noCost),
	}
	t.Cleanup(l.audits.close)
	l.s.apply([]byte(manyServices(5)))
	l.s.apply([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: both}\nspec: {clusterIP: 10.96.7.7, clusterIPs: [10.96.7.7, 'fd00:96::7'], ports: [{port: 80}]}\n"))
	l.pass(nil, nil, true)
	return l
}

// finish waits for the reading, compares what was seen, and repairs.
func (l *partsLoop) finish() {
	<-l.audits.read
	for l.audit(); l.audits.round.comparing(); {
		l.audit()
	}
}

// address returns an address of our link.
func (l *partsLoop) address() netip.Addr {
	for addr := range l.s.memory.State().Addresses {
		return addr
	}
	l.s.t.Fatal("there is none")
	return netip.Addr{}
}

func (l *partsLoop) has(addr netip.Addr) bool {
	_, has := l.s.memory.State().Addresses[addr]
	return has
}

// TestAnAddressThatIsTakenAwayComesBack without an audit, by reading addresses and nothing else; what the program
// itself has taken away is not looked for. When that happens again and again, it is done once a second.
func TestAnAddressThatIsTakenAwayComesBack(t *testing.T) {
	for _, missed := range []bool{false, true} {
		l := newPartsLoop(t)
		l.s.tampered = true
		now := time.Now()
		l.ours.tell(AddressChange{Gone: netip.MustParseAddr("192.0.2.1")})
		l.missed()
		if due := l.audits.next(); due.Before(now.Add(sparingPeriod / 2)) {
			t.Fatalf("an address that is not missed has something read in %s", due.Sub(now))
		}
		for range 2 {
			addr := l.address()
			l.s.memory.State().Apply(dataplane.Op{Verb: dataplane.Delete, Object: dataplane.Address{Addr: addr}})
			change := AddressChange{Gone: addr}
			if missed {
				change = AddressChange{Missed: true}
			}
			l.ours.tell(change)
			l.missed()
			if !l.audits.start(now) {
				t.Fatalf("an address is missed, and nothing is read before %s", l.audits.next().Sub(now))
			}
			l.finish()
			if !l.has(addr) {
				t.Fatalf("%s is not back", addr)
			}
			if want := []string{"addresses"}; !slices.Equal(l.read, want) {
				t.Errorf("%q were read, want %q", l.read, want)
			}
			last := l.reports[len(l.reports)-1]
			if !last.Audit || last.Whole || last.OpCount() != 1 {
				t.Errorf("the report says audit %t, whole %t, %d operations; want true, false, 1",
					last.Audit, last.Whole, last.OpCount())
			}
			l.read = nil
			l.audits.want(dataplane.PartAddresses)
			if again := l.audits.next().Sub(now); again != partsRest {
				t.Errorf("it may be read again after %s, want %s", again, partsRest)
			}
			now = now.Add(partsRest)
			l.audits.start(now)
			l.finish()
			l.read, now = nil, now.Add(partsRest)
		}
	}
}

// TestPartsAreLookedAtAgainWhenPassesTouchThem: what differs while a pass is at work on it is known by the next look,
// which comes soon.
func TestPartsAreLookedAtAgainWhenPassesTouchThem(t *testing.T) {
	l := newPartsLoop(t)
	l.s.tampered = true
	now, addr := time.Now(), l.address()
	l.s.memory.State().Apply(dataplane.Op{Verb: dataplane.Delete, Object: dataplane.Address{Addr: addr}})
	l.audits.want(dataplane.PartAddresses)
	if !l.audits.start(now) {
		t.Fatal("nothing is read")
	}
	<-l.audits.read
	touched := dataplane.NewTouched()
	touched.Addresses[addr] = cluster.Name{}
	l.engine.touches.note(touched, nil)
	for l.audit(); l.audits.round.comparing(); {
		l.audit()
	}
	if l.has(addr) {
		t.Fatal("the test shows nothing: the address is back")
	}
	now = now.Add(partsRest)
	if !l.audits.start(now) {
		t.Fatalf("nothing is read again before %s", l.audits.next().Sub(now))
	}
	l.finish()
	if !l.has(addr) {
		t.Errorf("%s is not back", addr)
	}
}

// TestPartsThatCannotBeRead are tried again, and the audit of all stays due when it was.
func TestPartsThatCannotBeRead(t *testing.T) {
	l := newPartsLoop(t)
	now, due := time.Now(), l.audits.due
	l.audits.want(dataplane.PartAddresses)
	if !l.audits.start(now) {
		t.Fatal("nothing is read")
	}
	<-l.audits.read
	r := <-l.audits.results
	r.err = errors.New("no")
	l.audits.record(now, r)
	if again := l.audits.next().Sub(now); again != readAgain {
		t.Errorf("it is tried again after %s, want %s", again, readAgain)
	}
	if l.audits.due != due {
		t.Errorf("the audit of all is moved by %s", l.audits.due.Sub(due))
	}
}

// glanceAt has the loop glance at the kernel, and returns what is to be looked at.
func (l *partsLoop) glanceAt(now time.Time) (all bool, parts dataplane.Parts) {
	l.s.t.Helper()
	l.glances, l.count = now, deepGlance-1
	if !l.glance(now) {
		l.s.t.Fatal("it is not the time for a glance")
	}
	all, parts = l.audits.all, l.audits.wanted
	l.audits.all, l.audits.wanted = false, 0
	return all, parts &^ (dataplane.PartSysctls | dataplane.PartSockets)
}

// TestAGlanceTellsWhatIsToBeLookedAt: virtual servers and entries that come or go by the hand of others, a virtual
// server of IPv6, which nobody counts, and rules that have changed; not what passes do.
func TestAGlanceTellsWhatIsToBeLookedAt(t *testing.T) {
	foreign := dataplane.VirtualServerID{Addr: netip.MustParseAddr("192.0.2.1"), Port: 80, Protocol: cluster.TCP}
	for name, c := range map[string]struct {
		damage func(l *partsLoop)
		all    bool
		parts  dataplane.Parts
	}{
		"nothing":                  {damage: func(*partsLoop) {}},
		"a change of a Service":    {damage: func(l *partsLoop) { l.pass([]cluster.Change{{Name: l.s.delete("Service s3")[0]}}, nil, false) }},
		"virtual servers are gone": {damage: func(l *partsLoop) { clear(l.s.memory.State().VirtualServers) }, all: true},
		"those of IPv6 are gone": {damage: func(l *partsLoop) {
			for id := range l.s.memory.State().VirtualServers {
				if id.Addr.Is6() {
					l.s.memory.State().DropVirtualServer(id)
				}
			}
		}, all: true},
		"somebody else's comes": {damage: func(l *partsLoop) { l.s.memory.AddForeign(foreign, dataplane.VirtualServer{Scheduler: "lc"}) }, all: true},
		"entries are gone":      {damage: func(l *partsLoop) { l.s.memory.State().Entries.DropSets("IPVSP-FRONT-END") }, parts: dataplane.PartSets},
		"rules change":          {damage: func(l *partsLoop) { l.s.memory.RulesChanged++ }, parts: dataplane.PartRules},
	} {
		t.Run(name, func(t *testing.T) {
			l := newPartsLoop(t)
			l.glances = time.Now()
			l.recordSurplus()
			now := time.Now()
			if all, parts := l.glanceAt(now); all || parts != 0 {
				t.Fatalf("nothing has changed, and %b are to be looked at, all: %t", parts, all)
			}
			l.s.tampered = true
			c.damage(l)
			if all, parts := l.glanceAt(now); all != c.all || parts != c.parts {
				t.Errorf("%b are to be looked at, all: %t; want %b, %t", parts, all, c.parts, c.all)
			}
		})
	}
}

// TestAWipedTableIsMended by one audit, ahead of its time; then nothing is to be looked at any more.
func TestAWipedTableIsMended(t *testing.T) {
	l := newPartsLoop(t)
	l.glances = time.Now()
	l.recordSurplus()
	l.s.tampered = true
	text := l.s.memory.State().Text()
	clear(l.s.memory.State().VirtualServers)
	now := time.Now()
	l.glances = now
	l.glance(now)
	if !l.audits.start(now) {
		t.Fatalf("nothing is read before %s", l.audits.next().Sub(now))
	}
	l.finish()
	if now := l.s.memory.State().Text(); now != text {
		t.Errorf("the kernel is\n%s\nwant\n%s", now, text)
	}
	if all, parts := l.glanceAt(now); all || parts != 0 {
		t.Errorf("after the repair %b are to be looked at, all: %t", parts, all)
	}
}

// TestAWipedTableDoesNotWaitForParts: that rules are read often, which is dear, does not keep everything from being
// read once; then everything has to wait.
func TestAWipedTableDoesNotWaitForParts(t *testing.T) {
	l := newPartsLoop(t)
	now := time.Now()
	of := func(parts dataplane.Parts) {
		t.Helper()
		l.audits.want(parts)
		if !l.audits.start(now) {
			t.Fatalf("nothing is read before %s", l.audits.next().Sub(now))
		}
		<-l.audits.read
		r := <-l.audits.results
		r.cost.Programs = 100 * time.Millisecond
		l.audits.record(now, r)
		l.audits.drop()
		now = now.Add(partsRest)
	}
	of(dataplane.PartRules)
	of(dataplane.AllParts)
	l.audits.want(dataplane.AllParts)
	if wait := l.audits.next().Sub(now); wait != auditPart*100*time.Millisecond-partsRest {
		t.Errorf("everything is read again in %s", wait)
	}
}
