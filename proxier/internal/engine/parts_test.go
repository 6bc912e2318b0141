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
		audits:    newAuditor(l.s.engine, func() (dataplane.Reader, error) { return reader, nil }, time.Hour, &Stopwatch{}, noCost),
	}
	t.Cleanup(l.audits.close)
	l.s.apply([]byte(manyServices(5)))
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
		if due := l.audits.next(); due.Before(now.Add(time.Minute)) {
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
				t.Errorf("the report says audit %t, whole %t, %d operations; want true, false, 1", last.Audit, last.Whole, last.OpCount())
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
