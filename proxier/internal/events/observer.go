package events

import (
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/servicehealth"
)

// The reasons of Events that are no Problems.
const (
	reasonStarting    = "Starting"
	reasonRecovered   = "Recovered"
	reasonHealthCheck = "FailedToStartServiceHealthcheck" // kube-proxy's word
)

// Observer reports Problems where users look: in Events of their Services. What all nodes see alike is reported
// once, by the node whose turn it is. What is of a node is reported by that node. Whoever reported a Problem reports
// its end.
type Observer struct {
	node string
	sink *Sink
	// ready returns the names of the nodes that take turns, none when they are not known.
	ready func() []string
	// turn is turn, but for tests.
	turn     func(node, uid string, ready []string) (delay time.Duration, mine bool)
	services map[cluster.Name]*serviceEvents
	// own are those of this Node, others those of other Nodes by their names.
	own    *serviceEvents
	others map[string]*serviceEvents
}

// serviceEvents are the Events about one Service or Node. What all nodes see is kept apart from what is of this node: a
// node knows nothing of the Problems of other nodes, and all nodes have to report the same of those that they share.
type serviceEvents struct {
	uid            string
	shared, ofNode problemEvents
}

// problemEvents are Problems with their Events.
type problemEvents struct {
	// problems are the present Problems, in the form that all nodes share, with their Events; nil for those that other
	// nodes report.
	problems map[cluster.Problem]*message
	// reported is set from the report of a Problem to the report that all are gone. delay is that of the last Problem.
	reported bool
	delay    time.Duration
	// recovered says that all are gone.
	recovered *message
}

func New(node string, sink *Sink, ready func() []string) *Observer {
	return &Observer{
		node: node, sink: sink, ready: ready, turn: turn, services: map[cluster.Name]*serviceEvents{},
		others: map[string]*serviceEvents{}, own: newServiceEvents(node),
	}
}

func newServiceEvents(uid string) *serviceEvents {
	s := &serviceEvents{uid: uid}
	s.shared.problems, s.ofNode.problems = map[cluster.Problem]*message{}, map[cluster.Problem]*message{}
	return s
}

// Observe implements Observer.
func (o *Observer) Observe(r engine.Report) {
	ready := sync.OnceValue(o.ready)
	if r.Err == nil {
		node := engine.Row{UID: o.node, Version: r.NodeVersion, Problems: r.NodeProblems}
		o.follow(&o.own.shared, r.Start, node, false, atOnce)
		o.follow(&o.own.ofNode, r.Start, node, true, atOnce)
		o.otherNodes(r, ready)
	}
	for _, row := range r.Changed {
		s := o.services[row.Name]
		if s != nil && (row.Gone || row.UID != s.uid) {
			s.shared.withdraw(o.sink)
			s.ofNode.withdraw(o.sink)
			delete(o.services, row.Name)
			s = nil
		}
		if s == nil && len(row.Problems) == 0 {
			continue
		}
		if s == nil {
			s = newServiceEvents(row.UID)
			o.services[row.Name] = s
		}
		o.follow(&s.shared, r.Start, row, false, o.turnOf(row.UID, ready))
		o.follow(&s.ofNode, r.Start, row, true, atOnce)
	}
}

// turnOf returns the turn for an object. It goes through all ready nodes, so it does that once, and only if called.
func (o *Observer) turnOf(uid string, ready func() []string) func() (delay time.Duration, mine bool) {
	return sync.OnceValues(func() (time.Duration, bool) { return o.turn(o.node, uid, ready()) })
}

// otherNodes reports Problems of other Nodes, as Events of those Nodes.
func (o *Observer) otherNodes(r engine.Report, ready func() []string) {
	rows := map[string]engine.Row{}
	for name := range o.others {
		rows[name] = engine.Row{UID: name} // all is well, unless the Report says otherwise
	}
	for _, row := range r.OtherNodes {
		rows[row.UID] = row
	}
	for name, row := range rows {
		s := o.others[name]
		if s == nil {
			s = newServiceEvents(name)
			o.others[name] = s
		}
		o.follow(&s.shared, r.Start, row, false, o.turnOf(name, ready))
		o.follow(&s.ofNode, r.Start, row, true, atOnce)
		if len(row.Problems) == 0 {
			delete(o.others, name)
		}
	}
}

// atOnce is the turn of a node that says what nobody else knows.
func atOnce() (time.Duration, bool) { return 0, true }

// follow brings the Events in line with the row's Problems that are, or are not, of the node. turn returns after what
// delay this node reports a Problem, and whether it does.
func (o *Observer) follow(
	e *problemEvents, now time.Time, row engine.Row, ofNode bool, turn func() (time.Duration, bool),
) {
	present := make(map[cluster.Problem]struct{}, len(row.Problems))
	for _, p := range row.Problems {
		present[p.Shared()] = struct{}{}
	}
	for p, m := range e.problems {
		if _, still := present[p]; !still {
			e.reported = m != nil && o.sink.withdraw(m) || e.reported
			delete(e.problems, p)
		}
	}
	for _, p := range row.Problems {
		if _, known := e.problems[p.Shared()]; known || p.Reason.OfNode != ofNode {
			continue
		}
		if e.recovered != nil {
			e.reported = !o.sink.withdraw(e.recovered)
			e.recovered = nil
		}
		e.problems[p.Shared()] = nil
		if delay, mine := turn(); mine {
			e.delay = delay
			e.problems[p.Shared()] = o.sink.put(now.Add(delay), o.problem(row, p))
		}
	}
	if len(e.problems) == 0 && e.reported {
		e.reported = false
		e.recovered = o.sink.put(now.Add(e.delay), o.recovered(row, ofNode))
	}
}

func (e *problemEvents) withdraw(sink *Sink) {
	for _, m := range e.problems {
		if m != nil {
			sink.withdraw(m)
		}
	}
	if e.recovered != nil {
		sink.withdraw(e.recovered)
	}
}

func (o *Observer) problem(row engine.Row, p cluster.Problem) *eventsv1.Event {
	identity := []string{row.UID, p.Reason.Name, p.Field, p.Message, row.Version}
	return o.event(row, p.Reason.OfNode, v1.EventTypeWarning, p.Reason.Name, p.Field, p.Field+": "+p.Text(), identity)
}

func (o *Observer) recovered(row engine.Row, ofNode bool) *eventsv1.Event {
	identity := []string{row.UID, reasonRecovered, row.Version}
	return o.event(row, ofNode, v1.EventTypeNormal, reasonRecovered, "", "all reported problems are resolved", identity)
}

// event returns an Event of the Service; with ofNode its note names this node.
func (o *Observer) event(
	row engine.Row, ofNode bool, kind, reason, field, note string, identity []string,
) *eventsv1.Event {
	about := serviceReference(row.Name, row.UID)
	if row.Name == (cluster.Name{}) {
		about = nodeReference(row.UID)
	}
	about.FieldPath, about.ResourceVersion = field, row.Version
	if ofNode {
		identity, note = append(identity, o.node), "node "+o.node+": "+note
	}
	return newEvent(o.node, about, kind, reason, "Programming", note, identity...)
}

// Started reports the start of the proxier, as an Event of the Node.
func Started(sink *Sink, now time.Time, nodeName, version string) {
	sink.put(now, newEvent(nodeName, nodeReference(nodeName), v1.EventTypeNormal, reasonStarting, "Starting",
		"ipvs-proxier "+version, now.String()))
}

// WithHealthChecks adds an Event to what is done when a health check node port cannot be opened.
func WithHealthChecks(
	sink *Sink, node string, also func(servicehealth.Service, uint16, error),
) func(servicehealth.Service, uint16, error) {
	return func(s servicehealth.Service, port uint16, err error) {
		also(s, port, err)
		if err != nil {
			note := fmt.Sprintf("node %s: health check node port %d cannot be opened: %v; it is tried again", node, port, err)
			sink.put(time.Now(), newEvent(node, serviceReference(s.Name, s.UID), v1.EventTypeWarning, reasonHealthCheck,
				"Listening", note, s.UID, reasonHealthCheck, note))
		}
	}
}
