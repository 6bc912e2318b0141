package observe

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// fewObjects is a lister of Services "ns/sN", each with so many endpoints.
type fewObjects map[cluster.Name]int

func (o fewObjects) Service(name cluster.Name) *v1.Service {
	if _, is := o[name]; !is {
		return nil
	}
	return &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, UID: "u"},
		Spec: v1.ServiceSpec{ClusterIP: o.address(name), ClusterIPs: []string{
			o.address(name),
		}, Ports: []v1.ServicePort{{Port: 80, Protocol: v1.ProtocolTCP}}},
	}
}

func (o fewObjects) address(name cluster.Name) string {
	var n int
	_, _ = fmt.Sscanf(name.Name, "s%d", &n)
	return fmt.Sprintf("10.96.%d.%d", n/200, 1+n%200)
}

func (o fewObjects) Slices(name cluster.Name) []*discovery.EndpointSlice {
	slice := &discovery.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Name: name.Name,
	}, AddressType: discovery.AddressTypeIPv4, Ports: []discovery.EndpointPort{{Name: new(""), Port: new(int32(8080))}}}
	for i := range o[name] {
		slice.Endpoints = append(slice.Endpoints,
			discovery.Endpoint{Addresses: []string{fmt.Sprintf("10.244.%d.%d", i/200, 1+i%200)}, NodeName: new("n2")})
	}
	return []*discovery.EndpointSlice{slice}
}

func (o fewObjects) Size(cluster.Name) (service, slices int)      { return 0, 0 }
func (o fewObjects) Names() []cluster.Name                        { return slices.Collect(maps.Keys(o)) }
func (o fewObjects) Node() *v1.Node                               { return nil }
func (o fewObjects) NodeAt(netip.Addr) string                     { return "" }
func (o fewObjects) NodeWeight(string) (weight uint32, said bool) { return 0, false }
func (o fewObjects) NodeWeightsVersion() uint64                   { return 1 }
func (o fewObjects) NodesVersion() uint64                         { return 1 }

// refusing is a kernel that refuses some operations.
type refusing struct {
	*kernel.Memory
	refuse func(dataplane.Op) bool
}

func (k refusing) Apply(ops []dataplane.Op) []error {
	errs := make([]error, len(ops))
	for i, op := range ops {
		if k.refuse(op) {
			errs[i] = fmt.Errorf("%s: %w", op, errors.New("no buffer space"))
		} else {
			errs[i] = k.Memory.Apply([]dataplane.Op{op})[0]
		}
	}
	return errs
}

// journaled is an engine whose passes a Journal observes.
type journaled struct {
	t       *testing.T
	objects fewObjects
	memory  *kernel.Memory
	refuse  func(dataplane.Op) bool
	engine  *engine.Engine
	journal *Journal
	now     time.Time
}

func newJournaled(t *testing.T, services int) *journaled {
	j := &journaled{
		t: t, objects: fewObjects{}, memory: kernel.NewMemory(), journal: NewJournal("n1"), now: time.Unix(1e9, 0),
	}
	for i := range services {
		j.objects[serviceNamed(i)] = 2
	}
	j.refuse = func(dataplane.Op) bool { return false }
	settings := engine.Settings{NodeName: "n1", Dataplane: dataplane.Config{
		Link: "kube-ipvs0", Families: []cluster.Family{cluster.IPv4}, Facts: dataplane.Facts{Schedulers: []string{"rr"}},
	}}
	j.engine = engine.New(settings, refusing{j.memory, func(op dataplane.Op) bool { return j.refuse(op) }}, j.objects)
	return j
}

func serviceNamed(n int) cluster.Name {
	return cluster.Name{Namespace: "ns", Name: fmt.Sprintf("s%d", n)}
}

// pass makes passes until nothing waits, and returns what the journal has then.
func (j *journaled) pass(audit bool, dirty ...cluster.Name) []JournalEntry {
	for more := true; more; {
		j.now = j.now.Add(time.Second)
		r := j.engine.Pass(j.now, dirty, audit)
		r.Duration, r.Compile, r.Kernel = 3*time.Millisecond, time.Millisecond, 2*time.Millisecond
		for _, name := range dirty {
			r.Changes = append(r.Changes, engine.ChangeTimes{Name: name, Queue: time.Millisecond, Total: 4 * time.Millisecond})
		}
		j.journal.Observe(r)
		more, dirty = r.Backlog > 0, nil
	}
	return j.journal.Status(nil).Entries
}

// said writes entries shortly: "CAUSE OWNER DONE/FAILED operations".
func said(entries []JournalEntry) string {
	var lines []string
	for _, e := range entries {
		line := fmt.Sprintf("%s %s/%s %d %d/%d", e.Cause, e.Namespace, e.Name, e.Services, e.Count, e.Failed)
		for _, o := range e.Operations {
			line += "; " + o.String()
			if o.Error != "" {
				line += " FAILS"
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// TestJournalSaysWhatChangedAndWhy: a start is one entry; then each pass has one for each Service, with its cause, its
// operations, their results and how long it took.
func TestJournalSaysWhatChangedAndWhy(t *testing.T) {
	j := newJournaled(t, 300)
	started := j.pass(false)
	if len(started) != 1 || started[0].Cause != "start" || started[0].Services < 300 || started[0].Count < 1200 ||
		started[0].Failed != 0 {
		t.Fatalf("a start:\n%s", said(started))
	}
	if after := j.pass(false); len(after) != 1 {
		t.Errorf("a pass that does nothing is written down:\n%s", said(after))
	}

	name := serviceNamed(7)
	j.objects[name] = 3
	last := func(entries []JournalEntry) JournalEntry { return entries[len(entries)-1] }
	e := last(j.pass(false, name))
	if got, want := said([]JournalEntry{
		e,
	}), "; create real-server tcp 10.96.0.8:80 -> 10.244.0.3:8080 weight 1"; !strings.HasPrefix(
		got, "change ns/s7 1 ",
	) || !strings.Contains(got, want) || e.Failed != 0 || e.Count != len(e.Operations) {
		t.Errorf("a change: %s, want %s", got, want)
	}
	if e.QueueSeconds != 0.001 || e.CompileSeconds != 0.001 || e.KernelSeconds != 0.002 || e.TotalSeconds != 0.004 ||
		!e.Time.Equal(j.now.Add(3*time.Millisecond)) {
		t.Errorf("its times: %+v", e)
	}

	id := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.8"), Port: 80, Protocol: cluster.TCP}
	j.memory.State().DropVirtualServer(id)
	e = last(j.pass(true))
	if e.Cause != "drift" || e.Name != "s7" || e.Count != 4 || e.TotalSeconds != 0 {
		t.Errorf("what somebody has taken away: %s", said([]JournalEntry{e}))
	}

	j.objects[name] = 40
	j.refuse = func(op dataplane.Op) bool { return strings.Contains(op.String(), "10.244.0.39:") }
	e = last(j.pass(false, name))
	if e.Count < 37 || e.Failed != 1 || len(e.Operations) != journalOperations ||
		!strings.Contains(said([]JournalEntry{e}), "10.244.0.39:8080 weight 1 FAILS") {
		t.Errorf("of many operations that which fails: %s", said([]JournalEntry{e}))
	}
	j.refuse = func(dataplane.Op) bool { return false }
	j.now = j.now.Add(time.Minute)
	if e = last(j.pass(false)); e.Cause != "retry" || e.Failed != 0 || e.Name != "s7" {
		t.Errorf("its retry: %s", said([]JournalEntry{e}))
	}

	var dirty []cluster.Name
	for i := range 200 {
		j.objects[serviceNamed(100+i)] = 3
		dirty = append(dirty, serviceNamed(100+i))
	}
	before := len(j.journal.Status(nil).Entries)
	at, services := map[time.Time]int{}, 0
	for _, e := range j.pass(false, dirty...)[before:] {
		services += e.Services
		if at[e.Time]++; at[e.Time] > journalServices+1 {
			t.Errorf("one pass is %d entries", at[e.Time])
		}
	}
	if services != 200 {
		t.Errorf("the entries of 200 Services are of %d", services)
	}
}

// TestJournalIsBounded: the oldest entries are forgotten, and counted.
func TestJournalIsBounded(t *testing.T) {
	j := newJournaled(t, 1)
	j.pass(false)
	name := serviceNamed(0)
	for i := range journalEntries + 10 {
		j.objects[name] = 1 + i%2
		j.pass(false, name)
	}
	s := j.journal.Status(nil)
	if len(s.Entries) != journalEntries || s.Forgotten != 11 {
		t.Errorf("%d entries, %d forgotten; want %d and 11", len(s.Entries), s.Forgotten, journalEntries)
	}
	if !slices.IsSortedFunc(s.Entries, func(a, b JournalEntry) int { return a.Time.Compare(b.Time) }) {
		t.Error("the entries are not the oldest first")
	}
	if s.Entries[0].Cause == "start" {
		t.Error("the oldest one is there still")
	}
}

// TestJournalIsServed: as JSON, and of one Service where the request names it.
func TestJournalIsServed(t *testing.T) {
	j := newJournaled(t, 2)
	j.pass(false)
	for i := range 2 {
		j.objects[serviceNamed(i)] = 1
	}
	j.pass(false, serviceNamed(0), serviceNamed(1))
	ask := func(query string) (status int, s JournalStatus) {
		w := httptest.NewRecorder()
		j.journal.ServeHTTP(w, httptest.NewRequest("GET", "/journal"+query, nil))
		if w.Code == 200 {
			if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
				t.Fatal(err)
			}
		}
		return w.Code, s
	}
	if _, s := ask(""); len(s.Entries) != 3 || s.Node != "n1" {
		t.Errorf("all: %s", said(s.Entries))
	}
	if _, s := ask("?service=ns/s1"); len(s.Entries) != 1 || s.Entries[0].Name != "s1" ||
		len(s.Only("ns/s0").Entries) != 0 {
		t.Errorf("one Service: %s", said(s.Entries))
	}
	if code, _ := ask("?service=s1"); code != 400 {
		t.Errorf("a name without a namespace: %d", code)
	}
}
