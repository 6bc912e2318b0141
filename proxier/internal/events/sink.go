package events

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

const (
	// eventRoom is how many Events may wait: what mistakes a start finds in a large cluster, and a quarter of an hour
	// of the rate.
	eventRoom = 1000
	// eventBurst and eventRate, in a second, keep a DaemonSet of thousands from being a burden to the API server.
	eventBurst = 25
	eventRate  = 1
	// An Event that is refused is tried again after 1, 3, 9, 27 and 81 seconds, in which an API server fails over.
	eventAttempts = 6
	eventBackoff  = time.Second
	// eventPatience is how long one attempt may take.
	eventPatience = 30 * time.Second
)

// The results of Events, for counting.
const (
	created = "created"
	exists  = "exists"  // another node has reported it, or this one before a restart
	failed  = "failed"  // refused too often
	dropped = "dropped" // too many waited
)

// Results are all results of Events.
var Results = []string{created, exists, failed, dropped}

// Sink creates Events in the API, each when it is due. Its methods may be called from any goroutine and never wait for
// the API; only Run does.
type Sink struct {
	client  Client
	log     *slog.Logger
	count   func(result string)
	limiter *rate.Limiter
	wake    chan struct{}

	mu      sync.Mutex
	waiting []*message
	// about counts those that wait by the object they are about, and by its namespace.
	about map[cluster.Name]int
	// failing is set while what is lost has been logged.
	failing bool
}

// Client creates an Event in its namespace. An error is the API's, or one of the connection to it.
type Client interface {
	Create(context.Context, *eventsv1.Event) error
}

// REST is the API's group events.k8s.io/v1.
type REST struct{ rest.Interface }

func (c REST) Create(ctx context.Context, event *eventsv1.Event) error {
	return c.Post().Namespace(event.Namespace).Resource("events").Body(event).Do(ctx).Error()
}

// message is an Event on its way.
type message struct {
	event    *eventsv1.Event
	due      time.Time
	attempts int
	backoff  time.Duration
	// sent is set once the Event is in the API, and while it may be.
	sent, withdrawn bool
}

func NewSink(client Client, log *slog.Logger, count func(result string)) *Sink {
	return &Sink{
		client: client, log: log, count: count, limiter: rate.NewLimiter(eventRate, eventBurst),
		wake: make(chan struct{}, 1), about: map[cluster.Name]int{},
	}
}

// put queues the Event until it is due. Beyond the queue's capacity it is lost, and counted.
func (s *Sink) put(due time.Time, event *eventsv1.Event) *message {
	m := &message{event: event, due: due, backoff: eventBackoff}
	s.mu.Lock()
	full := !s.room(event)
	if !full {
		s.add(m)
	}
	s.mu.Unlock()
	if full {
		s.count(dropped)
		return m
	}
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
	return m
}

// room reports whether another Event may wait: neither one object nor one namespace takes all of the queue. mu is held,
// as below.
func (s *Sink) room(event *eventsv1.Event) bool {
	object, namespace := shares(event)
	return len(s.waiting) < eventRoom && s.about[object] < budget.Events && s.about[namespace] < budget.NamespaceEvents
}

func (s *Sink) add(m *message) {
	s.waiting = append(s.waiting, m)
	s.account(m, 1)
}

func (s *Sink) remove(m *message) {
	if at := slices.Index(s.waiting, m); at >= 0 {
		s.waiting = slices.Delete(s.waiting, at, at+1)
		s.account(m, -1)
	}
}

func (s *Sink) account(m *message, by int) {
	object, namespace := shares(m.event)
	for _, key := range []cluster.Name{object, namespace} {
		if s.about[key] += by; s.about[key] == 0 {
			delete(s.about, key)
		}
	}
}

// shares returns the keys whose share of the queue an Event takes: the object's, and the namespace's. A Node has no
// namespace; all Nodes have one share together.
func shares(event *eventsv1.Event) (object, namespace cluster.Name) {
	about := event.Regarding
	return cluster.Name{Namespace: about.Namespace, Name: about.Name}, cluster.Name{Namespace: about.Namespace}
}

// withdraw removes an Event from the queue; sent reports whether it has left already.
func (s *Sink) withdraw(m *message) (sent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.withdrawn = true
	s.remove(m)
	return m.sent
}

// Run sends Events until ctx ends. What is not due then is not sent.
func (s *Sink) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Reset(s.step(ctx, time.Now()))
	}
}

// step sends one Event that is due, and returns after how long there may be another.
func (s *Sink) step(ctx context.Context, now time.Time) time.Duration {
	m, wait := s.take(now)
	if m == nil {
		return wait
	}
	patience, cancel := context.WithTimeout(ctx, eventPatience)
	defer cancel()
	event := m.event.DeepCopy()
	event.EventTime = metav1.NewMicroTime(now)
	err := s.client.Create(patience, event)
	s.recordAnswer(now, m, err)
	return 0
}

// take returns what is due first, or how long to wait.
func (s *Sink) take(now time.Time) (*message, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return nil, time.Hour
	}
	first := slices.MinFunc(s.waiting, func(a, b *message) int { return a.due.Compare(b.due) })
	if first.due.After(now) {
		return nil, first.due.Sub(now)
	}
	if !s.limiter.AllowN(now, 1) {
		return nil, time.Second / eventRate
	}
	s.remove(first)
	first.sent = true
	return first, 0
}

// recordAnswer records what the API said to a message. One that it did not take waits for its next try.
func (s *Sink) recordAnswer(now time.Time, m *message, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.failing = false
		s.count(created)
		return
	case apierrors.IsAlreadyExists(err):
		s.failing = false
		s.count(exists)
		return
	}
	m.sent = false
	if m.withdrawn {
		return
	}
	if m.attempts++; m.attempts < eventAttempts {
		m.due = now.Add(m.backoff)
		m.backoff *= 3
		s.add(m)
		return
	}
	s.count(failed)
	if !s.failing {
		s.failing = true
		s.log.Warn("Events are lost: the API does not accept them", "event", m.event.Namespace+"/"+m.event.Name, "note",
			m.event.Note, "err", err)
	}
}
