package events

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

var (
	wrong   = cluster.Problem{Reason: cluster.InvalidField, Field: "f", Message: "a 100% mistake"}
	clash   = cluster.Problem{Reason: cluster.Reason{Name: "FrontEndConflict"}, Field: "g", Message: "taken"}
	lacking = cluster.Problem{Reason: cluster.UnsupportedScheduler, Field: "scheduler", Message: "no lc"}
	inUse   = cluster.Problem{
		Reason: cluster.Reason{Name: "PortInUse", OfNode: true}, Field: "port", Message: "a program listens",
	}
)

// daemons are the observers of several nodes with one API and one time.
type daemons struct {
	t      *testing.T
	client *fake.Clientset
	now    time.Time
	// ready are the nodes that everybody knows; observers and sinks have only those that run a proxier.
	ready     []string
	observers map[string]*Observer
	counts    map[string]int
}

func newDaemons(t *testing.T, ready ...string) *daemons {
	d := &daemons{t: t, client: fake.NewClientset(), now: time.Unix(1e9,
		0), ready: ready, observers: map[string]*Observer{}, counts: map[string]int{}}
	for _, node := range ready {
		d.start(node)
	}
	return d
}

// start starts the node's proxier, anew if it runs.
func (d *daemons) start(node string) {
	sink := NewSink(typedEvents{d.client}, slog.New(slog.NewTextHandler(io.Discard, nil)),
		func(result string) { d.counts[result]++ })
	d.observers[node] = New(node, sink, func() []string { return d.ready })
}

// names returns the nodes that run a proxier, sorted.
func (d *daemons) names() []string {
	var names []string
	for name := range d.observers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// see shows the row to the nodes, all of them if none is named, and lets them send the Events that are due.
func (d *daemons) see(row engine.Row, nodes ...string) {
	if len(nodes) == 0 {
		nodes = d.names()
	}
	for _, node := range nodes {
		d.observers[node].Observe(engine.Report{Start: d.now, Changed: []engine.Row{row}})
	}
	d.pass(0)
}

// pass lets time pass, second by second.
func (d *daemons) pass(span time.Duration) {
	for end := d.now.Add(span); ; d.now = d.now.Add(time.Second) {
		for _, node := range d.names() {
			for d.observers[node].sink.step(d.t.Context(), d.now) == 0 {
			}
		}
		if !d.now.Before(end) {
			return
		}
	}
}

// events returns the Events that there are, sorted.
func (d *daemons) events() []string {
	d.t.Helper()
	all, err := d.client.EventsV1().Events("").List(d.t.Context(), metav1.ListOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	text := []string{}
	for _, e := range all.Items {
		o := e.Regarding
		namespace := o.Namespace
		if namespace == "" { // the Events of what has no namespace stand here
			namespace = "default"
		}
		if e.ReportingController != component || e.ReportingInstance == "" || e.Action == "" || e.EventTime.IsZero() ||
			e.Namespace != namespace ||
			len(validation.IsDNS1123Subdomain(e.Name)) > 0 {
			d.t.Errorf("the API would not take %+v", e)
		}
		text = append(text, fmt.Sprintf("%s %s/%s %s %q version %s: %s %s: %s",
			o.Kind, o.Namespace, o.Name, o.UID, o.FieldPath, o.ResourceVersion, e.Type, e.Reason, e.Note))
	}
	slices.Sort(text)
	return text
}

func (d *daemons) wants(want ...string) {
	d.t.Helper()
	want = append([]string{}, want...)
	slices.Sort(want)
	if diff := cmp.Diff(want, d.events()); diff != "" {
		d.t.Errorf("after %v (-want +got):\n%s", d.now.Sub(time.Unix(1e9, 0)), diff)
	}
}

// order returns the nodes in the order of their turns for the Service u1.
func (d *daemons) order() []string {
	order := slices.Clone(d.ready)
	slices.SortFunc(order, func(a, b string) int {
		if score(a, "u1") > score(b, "u1") {
			return -1
		}
		return 1
	})
	return order
}

func seen(version string, problems ...cluster.Problem) engine.Row {
	r := engine.Row{Name: cluster.Name{Namespace: "ns", Name: "web"}, Problems: problems}
	r.UID, r.Version = "u1", version
	return r
}

var gone = engine.Row{Name: cluster.Name{Namespace: "ns", Name: "web"}, Gone: true}

var five = []string{"n1", "n2", "n3", "n4", "n5"}

const (
	wrong7     = `Service ns/web u1 "f" version 7: Warning InvalidField: f: a 100% mistake`
	clash7     = `Service ns/web u1 "g" version 7: Warning FrontEndConflict: g: taken`
	recovered8 = `Service ns/web u1 "" version 8: Normal Recovered: all reported problems are resolved`
)

// TestSharedProblemsAreReportedOnce: five nodes see a Problem, and there is one Event. So it is when the Problem is
// resolved, and when it comes again.
func TestSharedProblemsAreReportedOnce(t *testing.T) {
	d := newDaemons(t, five...)
	d.see(seen("7"))
	d.wants()
	d.see(seen("7", wrong))
	d.wants(wrong7) // at once
	d.see(seen("7", wrong))
	d.pass(2 * time.Minute)
	d.wants(wrong7)
	if d.counts[created] != 1 || d.counts[exists] != turnCount-1 {
		t.Errorf("counted %v, want one that creates and two that find it", d.counts)
	}
	// One more; one less is nothing.
	d.see(seen("7", clash, wrong))
	d.see(seen("7", clash))
	d.pass(2 * time.Minute)
	d.wants(clash7, wrong7)
	d.see(seen("8"))
	d.wants(recovered8, clash7, wrong7)
	d.see(seen("8b")) // well as before
	d.pass(2 * time.Minute)
	d.wants(recovered8, clash7, wrong7)
	wrong9, recovered10 := strings.Replace(wrong7, "version 7", "version 9", 1), strings.Replace(recovered8, "version 8",
		"version 10", 1)
	d.see(seen("9", wrong))
	d.pass(2 * time.Minute)
	d.see(seen("10"))
	d.pass(2 * time.Minute)
	d.wants(recovered10, recovered8, wrong7, wrong9, clash7)
}

// TestNextNodeReports: without a proxier on the first node the second one reports after its delay, then the third; the
// others do not.
func TestNextNodeReports(t *testing.T) {
	d := newDaemons(t, five...)
	order := d.order()
	delete(d.observers, order[0])
	d.see(seen("7", wrong))
	d.pass(turnDelay - time.Second)
	d.wants()
	d.pass(time.Second)
	d.wants(wrong7)
	// A node that reported it reports that it is resolved, in its turn.
	d.pass(time.Minute)
	d.see(seen("8"))
	d.pass(turnDelay - time.Second)
	d.wants(wrong7)
	d.pass(time.Second)
	d.wants(recovered8, wrong7)

	d = newDaemons(t, five...)
	delete(d.observers, order[0])
	delete(d.observers, order[1])
	d.see(seen("7", wrong))
	d.pass(2*turnDelay - time.Second)
	d.wants()
	d.pass(time.Second)
	d.wants(wrong7)

	d = newDaemons(t, five...)
	for _, node := range order[:turnCount] {
		delete(d.observers, node)
	}
	d.see(seen("7", wrong))
	d.pass(10 * time.Minute)
	d.wants()
}

// TestWhatIsGoneIsNotReported: a Problem is not reported when it is resolved, or its Service gone or another one,
// before a node's turn comes. Nor is it reported as resolved.
func TestWhatIsGoneIsNotReported(t *testing.T) {
	for name, row := range map[string]engine.Row{
		"resolved": seen("8"), "gone": gone, "another": {Name: gone.Name, UID: "u2", Version: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemons(t, five...)
			delete(d.observers, d.order()[0])
			d.see(seen("7", wrong))
			d.pass(turnDelay - time.Second)
			d.see(row)
			d.pass(10 * time.Minute)
			d.wants()
		})
	}
	t.Run("gone after it was reported", func(t *testing.T) {
		d := newDaemons(t, five...)
		d.see(seen("7", wrong))
		d.see(gone)
		d.pass(10 * time.Minute)
		d.wants(wrong7)
		for node, o := range d.observers {
			if len(o.services) != 0 {
				t.Errorf("%s remembers %v", node, o.services)
			}
		}
	})
	t.Run("back before the end was reported", func(t *testing.T) {
		d := newDaemons(t, five...)
		delete(d.observers, d.order()[0])
		d.see(seen("7", wrong))
		d.pass(time.Minute)
		d.see(seen("8"))
		d.see(seen("9", clash))
		d.pass(10 * time.Minute)
		d.wants(strings.Replace(clash7, "version 7", "version 9", 1), wrong7)
		d.see(seen("10"))
		d.pass(time.Minute)
		d.wants(strings.Replace(recovered8, "version 8", "version 10", 1), strings.Replace(clash7, "version 7", "version 9",
			1), wrong7)
	})
	t.Run("back and resolved before either was reported", func(t *testing.T) {
		d := newDaemons(t, five...)
		delete(d.observers, d.order()[0])
		d.see(seen("7", wrong))
		d.pass(time.Minute)
		d.see(seen("8"))
		d.see(seen("9", clash))
		d.see(seen("10"))
		d.pass(time.Minute)
		recovered10 := strings.Replace(recovered8, "version 8", "version 10", 1)
		d.wants(recovered10, wrong7)
		// Its end has been reported. A Problem that comes and goes unreported has no end to report.
		d.see(seen("11", clash))
		d.see(seen("12"))
		d.pass(10 * time.Minute)
		d.wants(recovered10, wrong7)
	})
	t.Run("another of the same name, after it was reported", func(t *testing.T) {
		d := newDaemons(t, five...)
		d.see(seen("7", wrong))
		other := seen("7")
		other.UID = "u2"
		d.see(other)
		d.pass(10 * time.Minute)
		d.wants(wrong7)
		d.see(seen("7", wrong))
		other.Problems = []cluster.Problem{wrong}
		d.see(other)
		d.pass(10 * time.Minute)
		d.wants(wrong7, strings.Replace(wrong7, "u1", "u2", 1))
	})
	t.Run("a node's own, while the API refuses", func(t *testing.T) {
		d := newDaemons(t, "n1")
		asked := d.refuse(1)
		d.see(seen("7", lacking))
		d.see(gone)
		d.pass(10 * time.Minute)
		if d.wants(); *asked != 1 {
			t.Errorf("asked %d times, want 1", *asked)
		}
	})
}

// TestNodesReportTheirOwn: each node reports a Problem of its own at once, by its name, and then that it is resolved on
// this node. Such Problems do not mix with those that all share.
func TestNodesReportTheirOwn(t *testing.T) {
	d := newDaemons(t, five...)
	d.see(seen("7", lacking))
	var want []string
	for _, node := range five {
		want = append(want, `Service ns/web u1 "scheduler" version 7: Warning UnsupportedScheduler: node `+node+
			`: scheduler: no lc`)
	}
	d.wants(want...)
	d.see(seen("7", lacking, inUse, wrong), "n2")
	d.see(seen("7", lacking, wrong), "n1", "n3", "n4", "n5")
	d.see(seen("7"), "n1")
	d.pass(2 * time.Minute)
	want = append(want, wrong7, `Service ns/web u1 "port" version 7: Warning PortInUse: node n2: port: a program listens`,
		`Service ns/web u1 "" version 7: Normal Recovered: node n1: all reported problems are resolved`)
	slices.Sort(want)
	got := slices.DeleteFunc(
		d.events(), func(s string) bool { return strings.HasSuffix(s, "Recovered: all reported problems are resolved") },
	)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, asked := range d.client.Actions() {
		if verb := asked.GetVerb(); verb != "create" && verb != "list" { // the list is the test's own
			t.Errorf("asked the API to %s", verb)
		}
	}
}

// TestNodesTellOfTheirAnnotations: each of its own, once, and that it is over.
func TestNodesTellOfTheirAnnotations(t *testing.T) {
	d := newDaemons(t, "n1", "n2")
	heavy := cluster.Problem{
		Reason: cluster.InvalidAnnotation, Field: "metadata.annotations[ipvs-proxier.io/weight]",
		Message: `"heavy" is not allowed`, InForce: "1 (default)",
	}
	report := func(version string, problems ...cluster.Problem) {
		d.observers["n1"].Observe(engine.Report{Start: d.now, NodeVersion: version, NodeProblems: problems})
		d.observers["n2"].Observe(engine.Report{Start: d.now, NodeVersion: "9"})
		d.pass(0)
	}
	report("5", heavy)
	ofNode := `Node /n1 n1 "metadata.annotations[ipvs-proxier.io/weight]" version 5: Warning InvalidAnnotation: metadata.annotations[ipvs-proxier.io/weight]: "heavy" is not allowed; in force is 1 (default)`
	d.wants(ofNode)
	heavy.InForce = "3 (last good value)"
	report("6", heavy)
	d.wants(ofNode)
	report("7")
	d.wants(ofNode, `Node /n1 n1 "" version 7: Normal Recovered: all reported problems are resolved`)
}

// TestOtherNodesAreTold: what all nodes see of another one is reported on it once, and what one node alone sees by that
// node. So is its end.
func TestOtherNodesAreTold(t *testing.T) {
	d := newDaemons(t, "n1", "n2", "n3")
	seenByAll := cluster.Problem{
		Reason: cluster.Reason{Name: "NodeListsClusterIP"}, Field: "status.addresses", Message: "10.96.0.10 is a cluster IP",
	}
	seenByOne := cluster.Problem{Reason: cluster.Reason{
		Name: "NodeListsForeignAddress", OfNode: true,
	}, Field: "status.addresses", Message: "192.0.2.1 is an address of node n1"}
	report := func(ofN1, ofOthers []engine.Row) {
		d.observers["n1"].Observe(engine.Report{Start: d.now, OtherNodes: ofN1})
		d.observers["n2"].Observe(engine.Report{Start: d.now, OtherNodes: ofOthers})
		d.observers["n3"].Observe(engine.Report{Start: d.now, OtherNodes: ofOthers})
		d.pass(2 * time.Minute)
	}
	report([]engine.Row{{UID: "n9", Problems: []cluster.Problem{seenByAll, seenByOne}}},
		[]engine.Row{{UID: "n9", Problems: []cluster.Problem{seenByAll}}})
	ofNode := []string{
		`Node /n9 n9 "status.addresses" version : Warning NodeListsClusterIP: status.addresses: 10.96.0.10 is a cluster IP`,
		`Node /n9 n9 "status.addresses" version : Warning NodeListsForeignAddress: node n1: status.addresses: 192.0.2.1 is an address of node n1`,
	}
	d.wants(ofNode...)
	report(nil, nil)
	d.wants(append(ofNode, `Node /n9 n9 "" version : Normal Recovered: node n1: all reported problems are resolved`,
		`Node /n9 n9 "" version : Normal Recovered: all reported problems are resolved`)...)
}

// TestRestartTellsNothingAgain: neither that of one node nor that of all.
func TestRestartTellsNothingAgain(t *testing.T) {
	d := newDaemons(t, five...)
	d.see(seen("7", lacking, wrong))
	d.pass(2 * time.Minute)
	before := d.events()
	if len(before) != 6 {
		t.Fatalf("%d Events, want 6: %q", len(before), before)
	}
	for _, nodes := range [][]string{d.order()[:1], five} {
		for _, node := range nodes {
			d.start(node)
			d.see(seen("7", lacking, wrong), node)
		}
		d.pass(2 * time.Minute)
		d.wants(before...)
	}
	// The nodes that found it reported report that it is resolved.
	d.see(seen("8"))
	d.pass(2 * time.Minute)
	if after := d.events(); len(after) != 12 {
		t.Errorf("%d Events, want 6 more: %q", len(after), after)
	}
}

// TestUnknownNodes: where a node does not know the others each waits for a time of its own, and the first one reports.
func TestUnknownNodes(t *testing.T) {
	d := newDaemons(t, five...)
	d.ready = nil
	delays := map[time.Duration]bool{}
	for _, node := range five {
		delay, mine := turn(node, "u1", nil)
		if !mine || delay < 0 || delay >= turnDelay {
			t.Errorf("%s: %v, %v", node, delay, mine)
		}
		delays[delay] = true
	}
	if len(delays) != len(five) {
		t.Errorf("%d different delays", len(delays))
	}
	d.see(seen("7", wrong))
	d.pass(turnDelay)
	d.wants(wrong7)
	if d.counts[exists] != len(five)-1 {
		t.Errorf("counted %v", d.counts)
	}
}

// TestTurns: every Service has exactly one node for each turn, and all nodes have their share. A node that comes takes
// turns of a few.
func TestTurns(t *testing.T) {
	var nodes []string
	for i := range 50 {
		nodes = append(nodes, fmt.Sprintf("ip-10-0-0-%d.example.com", i))
	}
	first, moved := map[string]int{}, 0
	const services = 2000
	for i := range services {
		uid, turns, before := fmt.Sprintf("uid-%d", i), map[time.Duration]int{}, ""
		for _, node := range nodes {
			if delay, mine := turn(node, uid, nodes); mine {
				turns[delay]++
				if delay == 0 {
					before = node
					first[node]++
				}
			}
		}
		if diff := cmp.Diff(map[time.Duration]int{0: 1, turnDelay: 1, 2 * turnDelay: 1}, turns); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", uid, diff)
		}
		if delay, _ := turn(before, uid, append(nodes, "new")); delay != 0 {
			moved++
		}
	}
	for _, node := range nodes {
		if n := first[node]; n < 15 || n > 80 { // 40, and six standard deviations
			t.Errorf("%s is first for %d of %d", node, n, services)
		}
	}
	if moved > 80 {
		t.Errorf("one node more is first for %d of %d", moved, services)
	}
	if _, mine := turn("absent", "uid", nodes); mine {
		t.Error("a node that is not ready reports")
	}
}

// typedEvents creates Events by a typed client, the fake one.
type typedEvents struct{ kubernetes.Interface }

func (c typedEvents) Create(ctx context.Context, event *eventsv1.Event) error {
	_, err := c.EventsV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
	return err
}

// TestEventsAreValid: names are cut where the API takes no longer ones, and differ in everything that they are made of.
func TestEventsAreValid(t *testing.T) {
	names := map[string]bool{}
	for _, object := range []string{
		"web", strings.Repeat("a", 63), strings.Repeat("a", 253), strings.Repeat("a", 235) + "-.b" + strings.Repeat("c", 15),
	} {
		for _, identity := range [][]string{{"u", "1"}, {"u1"}, {"u", "2"}, {"u", "", "1"}, {"u", "1", ""}, {"u", `1", "`}} {
			name := eventName(object, identity...)
			if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 || names[name] {
				t.Errorf("%s %q: %s: %v, twice: %v", object, identity, name, wrong, names[name])
			}
			if name != eventName(object, identity...) {
				t.Errorf("%s %q has two names", object, identity)
			}
			names[name] = true
		}
	}
	long := newEvent(strings.Repeat("n", 253), v1.ObjectReference{Kind: "Node", Name: "n"}, v1.EventTypeNormal, "r", "a",
		strings.Repeat("ä", 2000))
	if len(long.ReportingInstance) > instanceLimit || len(long.Note) > noteLimit || long.Namespace != "default" {
		t.Errorf("%d bytes of instance, %d of note, namespace %q",
			len(long.ReportingInstance), len(long.Note), long.Namespace)
	}
}

// TestLongNotes: the API takes no longer ones; what differs behind the cut still makes another Event.
func TestLongNotes(t *testing.T) {
	d := newDaemons(t, five...)
	long := cluster.Problem{Reason: cluster.InvalidField, Field: "g", Message: strings.Repeat("long ", 500)}
	longer := long
	longer.Message += "more"
	d.see(seen("7", long, longer))
	text := `Service ns/web u1 "g" version 7: Warning InvalidField: ` + ("g: " + long.Message)[:1021] + "..."
	d.wants(text, text)
}

// TestNotesStayText: a note is cut between letters, because the API takes no others.
func TestNotesStayText(t *testing.T) {
	for _, c := range []struct{ note, want string }{
		{strings.Repeat("a", 1024), strings.Repeat("a", 1024)},
		{strings.Repeat("a", 1025), strings.Repeat("a", 1021) + "..."},
		{strings.Repeat("a", 1020) + "ééé", strings.Repeat("a", 1020) + "..."},
	} {
		if got := limited(c.note, noteLimit); got != c.want {
			t.Errorf("%d bytes that end in %q, want %d that end in %q",
				len(got), got[len(got)-5:], len(c.want), c.want[len(c.want)-5:])
		}
	}
}

// TestEventRate: a burst at once, then one each second; what is beyond the queue's capacity is counted and not
// reported.
func TestEventRate(t *testing.T) {
	d := newDaemons(t, "n1")
	var r engine.Report
	for i := range eventRoom + 10 {
		row := seen("7", wrong)
		row.Name, row.UID = cluster.Name{Namespace: fmt.Sprint("ns-", i%10), Name: fmt.Sprintf("web-%d", i)}, fmt.Sprint(i)
		r.Changed = append(r.Changed, row)
	}
	r.Start = d.now
	d.observers["n1"].Observe(r)
	if d.counts[dropped] != 10 {
		t.Errorf("counted %v, want 10 dropped", d.counts)
	}
	d.pass(0)
	if n := len(d.events()); n != eventBurst {
		t.Errorf("%d Events at once, want %d", n, eventBurst)
	}
	d.pass(time.Minute)
	if n := len(d.events()); n != eventBurst+60 {
		t.Errorf("%d Events after a minute, want %d", n, eventBurst+60)
	}
	d.pass(eventRoom * time.Second)
	if n := len(d.events()); n != eventRoom || d.counts[created] != eventRoom {
		t.Errorf("%d Events in the end, want %d; counted %v", n, eventRoom, d.counts)
	}
	// A Problem that was dropped was not reported, nor is it reported as resolved.
	last := r.Changed[len(r.Changed)-1]
	last.Problems = nil
	d.see(last)
	if n := len(d.events()); n != eventRoom {
		t.Errorf("%d Events after the end of what was not reported", n)
	}
}

// TestRoomForOthersEvents: a Service that has ever new Problems, and a namespace of such Services, leave capacity for
// the Events of others.
func TestRoomForOthersEvents(t *testing.T) {
	d := newDaemons(t, "n1")
	var hostile engine.Report
	for i := range 100 {
		for j := range 2 * budget.Problems {
			row := seen(fmt.Sprint(j))
			row.Name, row.UID = cluster.Name{Namespace: "hostile", Name: fmt.Sprint("s", i)}, fmt.Sprint(i)
			for k := range j + 1 {
				row.Problems = append(
					row.Problems, cluster.Problem{Reason: cluster.InvalidAnnotation, Field: fmt.Sprint(k), Message: "m"},
				)
			}
			hostile.Changed = append(hostile.Changed, row)
		}
	}
	hostile.Start = d.now
	sink := d.observers["n1"].sink
	d.observers["n1"].Observe(engine.Report{Start: d.now, Changed: hostile.Changed[:2*budget.Problems]})
	if n := len(sink.waiting); n == 0 || n > budget.Events {
		t.Errorf("%d Events of one Service wait, want some and at most %d", n, budget.Events)
	}
	d.observers["n1"].Observe(hostile)
	if n := len(sink.waiting); n != budget.NamespaceEvents {
		t.Errorf("%d Events of one namespace wait, want %d", n, budget.NamespaceEvents)
	}
	before := d.counts[dropped]
	for i := range eventRoom - budget.NamespaceEvents {
		row := seen("1", wrong)
		row.Name, row.UID = cluster.Name{Namespace: fmt.Sprint("ns-", i%5), Name: fmt.Sprint("web-", i)}, fmt.Sprint("u", i)
		d.observers["n1"].Observe(engine.Report{Start: d.now, Changed: []engine.Row{row}})
	}
	if d.counts[dropped] != before {
		t.Errorf("%d Events of others are dropped", d.counts[dropped]-before)
	}
	d.pass(2 * eventRoom * time.Second)
	if len(sink.waiting) != 0 || len(sink.about) != 0 {
		t.Errorf("when all are sent %d wait, and %v are counted", len(sink.waiting), sink.about)
	}
}

// refuse makes the API refuse that many creations.
func (d *daemons) refuse(times int) (asked *int) {
	asked = new(int)
	d.client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		*asked++
		return *asked <= times, nil, errors.New("no")
	})
	return asked
}

// TestAPIThatRefuses: an Event is tried again, less and less often; then it is lost, counted, and logged once.
func TestAPIThatRefuses(t *testing.T) {
	d := newDaemons(t, "n1")
	asked := d.refuse(eventAttempts - 1)
	d.see(seen("7", wrong))
	d.pass(2 * time.Minute)
	d.wants()
	d.pass(2 * time.Second)
	d.wants(wrong7)
	if *asked != eventAttempts || d.counts[created] != 1 || d.counts[failed] != 0 {
		t.Errorf("asked %d times, counted %v", *asked, d.counts)
	}

	d = newDaemons(t, "n1")
	log := &strings.Builder{}
	d.observers["n1"].sink.log = slog.New(slog.NewTextHandler(log, nil))
	asked = d.refuse(3 * eventAttempts)
	for i := range 3 {
		row := seen("7", wrong)
		row.UID, row.Name.Name = fmt.Sprint(i), fmt.Sprintf("web-%d", i)
		d.see(row)
	}
	d.pass(10 * time.Minute)
	d.wants()
	if *asked != 3*eventAttempts || d.counts[failed] != 3 || strings.Count(log.String(), "Events are lost") != 1 {
		t.Errorf("asked %d times, counted %v, logged\n%s", *asked, d.counts, log)
	}
	// What was not reported is not reported as resolved. The sink works again by itself.
	row := seen("8")
	row.UID, row.Name.Name = "0", "web-0"
	d.see(row)
	d.pass(time.Minute)
	d.wants()
	d.see(seen("7", wrong))
	d.wants(wrong7)
}

// TestResolvedBetweenAttempts: what is resolved while the API refuses its Event is not tried again.
func TestResolvedBetweenAttempts(t *testing.T) {
	d := newDaemons(t, "n1")
	asked := d.refuse(2)
	d.see(seen("7", wrong))
	d.pass(2 * time.Second)
	d.see(seen("8"))
	d.pass(10 * time.Minute)
	d.wants()
	if *asked != 2 {
		t.Errorf("asked %d times, want 2", *asked)
	}
}

// TestSinkRuns: by itself, when something is put and when it is due, while nobody waits for an API that does not
// answer.
func TestSinkRuns(t *testing.T) {
	client := fake.NewClientset()
	asked, answer := make(chan string), make(chan struct{})
	client.PrependReactor("create", "events", func(a clienttesting.Action) (bool, runtime.Object, error) {
		asked <- a.(clienttesting.CreateAction).GetObject().(metav1.Object).GetName()
		<-answer
		return false, nil, nil
	})
	results := make(chan string, 3)
	sink := NewSink(typedEvents{client}, slog.New(slog.NewTextHandler(io.Discard, nil)),
		func(result string) { results <- result })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { sink.Run(ctx); close(ended) }()
	event := func(name string) *message {
		e := newEvent("n1", serviceReference(cluster.Name{Namespace: "ns", Name: name}, "u"), v1.EventTypeNormal, "r", "a",
			"")
		return sink.put(time.Now().Add(map[string]time.Duration{"later": 100 * time.Millisecond}[name]), e)
	}
	first := event("first")
	if name := <-asked; !strings.HasPrefix(name, "first.") {
		t.Errorf("asked for %s", name)
	}
	event("later") // while the API does not answer
	if !sink.withdraw(first) {
		t.Error("what may have arrived counts as not sent")
	}
	answer <- struct{}{}
	if name := <-asked; !strings.HasPrefix(name, "later.") {
		t.Errorf("asked for %s", name)
	}
	answer <- struct{}{}
	for range 2 {
		if result := <-results; result != created {
			t.Errorf("result %s", result)
		}
	}
	cancel()
	<-ended
}

// TestTurnsAreFoundOnce: whose turn it is takes a look at all ready nodes. That is done once for each object, however
// many Problems it has, and not for an object without.
func TestTurnsAreFoundOnce(t *testing.T) {
	many := func(reason cluster.Reason) (problems []cluster.Problem) {
		for i := range 20 {
			problems = append(problems, cluster.Problem{Reason: reason, Field: "spec", Message: fmt.Sprint(i)})
		}
		return problems
	}
	d := newDaemons(t, "n1", "n2")
	o, asked := d.observers["n1"], map[string]int{}
	o.turn = func(_, uid string, _ []string) (time.Duration, bool) {
		asked[uid]++
		return 0, true
	}
	o.Observe(engine.Report{
		Start: d.now,
		Changed: []engine.Row{
			{Name: cluster.Name{Namespace: "default", Name: "web"}, UID: "service", Problems: many(cluster.InvalidAnnotation)},
			{Name: cluster.Name{Namespace: "default", Name: "well"}, UID: "well"},
		},
		OtherNodes: []engine.Row{{
			UID: "n8", Problems: many(cluster.Reason{Name: "NodeListsClusterIP"}),
		}, {UID: "n9", Problems: many(cluster.Reason{Name: "NodeListsForeignAddress", OfNode: true})}},
	})
	if diff := cmp.Diff(map[string]int{"service": 1, "n8": 1}, asked); diff != "" {
		t.Errorf("how often turns are found (-want +got):\n%s", diff)
	}
}
