package source

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

// listedAt and heardUpTo are the versions of the first list and of the last bookmark before the API server ends.
const (
	listedAt  = 30
	heardUpTo = 100
	namespace = "shop"
)

// write is what one write makes of an object.
type write struct {
	name    string
	port    int // 0: it is gone
	version int
}

func newRevisions(t *testing.T, seen string) *revisions {
	return &revisions{
		t: t, writes: writesOf(t, "a=1@10 b=1@20 c=1@30 "+seen), reached: heardUpTo, first: true,
		began: make(chan struct{}, 100), changed: make(chan struct{}),
	}
}

func writesOf(t *testing.T, text string) (writes []write) {
	t.Helper()
	for one := range strings.FieldsSeq(text) {
		what, at, _ := strings.Cut(one, "@")
		version, err := strconv.Atoi(at)
		name, is, found := strings.Cut(what, "=")
		port := 0
		if found {
			port, err = strconv.Atoi(is)
		}
		if err != nil {
			t.Fatal(err)
		}
		writes = append(writes, write{strings.TrimSuffix(name, "-"), port, version})
	}
	return writes
}

// revisions is an API server with the Services, or EndpointSlices, of a data store that keeps earlier versions, as etcd
// does. Its first list is of listedAt, its first watch sends the writes after it, and then a bookmark.
type revisions struct {
	t        *testing.T
	began    chan struct{} // a watch
	ofSlices bool

	mu                 sync.Mutex
	writes             []write // by version
	reached, compacted int
	first              bool
	restarted          bool
	changed            chan struct{}
	queries            []string
}

// restart changes the data, cuts off watches, and forgets the requests.
func (s *revisions) restart(h history) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.copied > 0 {
		s.writes = slices.DeleteFunc(s.writes, func(w write) bool { return w.version > h.copied })
	}
	for _, w := range writesOf(s.t, h.then) {
		if w.version <= h.reached {
			s.writes = append(s.writes, w)
		}
	}
	slices.SortStableFunc(s.writes, func(a, b write) int { return a.version - b.version })
	s.reached, s.compacted = h.reached, h.compacted
	s.first, s.restarted, s.queries = false, true, nil
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *revisions) write(w write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes, s.reached = append(s.writes, w), w.version
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *revisions) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

// count returns how many lists of all were requested, and how many of one object or of the version alone.
func (s *revisions) count() (lists, asks int) {
	for _, query := range s.asked() {
		switch {
		case strings.Contains(query, "watch="):
		case strings.Contains(query, "metadata.name%3D") || strings.Contains(query, "limit=1"):
			asks++
		default:
			lists++
		}
	}
	return lists, asks
}

func (s *revisions) isAgain() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restarted
}

// at returns the writes that made what is there at a version, by name.
func (s *revisions) at(version int) map[string]write {
	there := map[string]write{}
	for _, w := range s.writes {
		if w.version > version {
			break
		}
		if there[w.name] = w; w.port == 0 {
			delete(there, w.name)
		}
	}
	return there
}

func (s *revisions) ports() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	ports := map[string]int{}
	for name, w := range s.at(s.reached) {
		ports[name] = w.port
	}
	return ports
}

// object is what a write makes, as a Service or an EndpointSlice of a Service of that name.
func (s *revisions) object(w write) runtime.Object {
	about := metav1.ObjectMeta{Namespace: namespace, Name: w.name, ResourceVersion: strconv.Itoa(w.version)}
	port := int32(w.port)
	if s.ofSlices {
		about.Labels = map[string]string{discovery.LabelServiceName: w.name}
		return &discovery.EndpointSlice{
			TypeMeta:   metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
			ObjectMeta: about, Ports: []discovery.EndpointPort{{Port: &port}},
		}
	}
	return &v1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: about, Spec: v1.ServiceSpec{Ports: []v1.ServicePort{{Port: port}}},
	}
}

// listOf is a list of the objects.
func (s *revisions) listOf(version int, objects []runtime.Object) runtime.Object {
	about := metav1.ListMeta{ResourceVersion: strconv.Itoa(version)}
	if s.ofSlices {
		list := &discovery.EndpointSliceList{ListMeta: about}
		list.APIVersion, list.Kind = "discovery.k8s.io/v1", "EndpointSliceList"
		for _, o := range objects {
			list.Items = append(list.Items, *o.(*discovery.EndpointSlice))
		}
		return list
	}
	list := &v1.ServiceList{ListMeta: about}
	list.APIVersion, list.Kind = "v1", "ServiceList"
	for _, o := range objects {
		list.Items = append(list.Items, *o.(*v1.Service))
	}
	return list
}

// ServeHTTP implements http.Handler.
func (s *revisions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, _ := strconv.Atoi(q.Get("resourceVersion"))
	s.mu.Lock()
	s.queries = append(s.queries, r.URL.RawQuery)
	s.mu.Unlock()
	if q.Get("watch") != "" {
		s.watch(w, r, after)
		return
	}
	list, refused := s.list(after, q.Get("resourceVersionMatch"), q.Get("fieldSelector"))
	if refused != nil {
		status := refused.Status()
		status.APIVersion, status.Kind = "v1", "Status"
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		w.WriteHeader(int(status.Code))
		_, _ = w.Write(written(s.t, &status, runtime.ContentTypeJSON))
		return
	}
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
	_, _ = w.Write(written(s.t, list, runtime.ContentTypeProtobuf))
}

func (s *revisions) list(after int, match, selector string) (runtime.Object, *apierrors.StatusError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.reached
	switch {
	case s.first:
		at = listedAt
	case after > s.reached:
		refused := apierrors.NewTimeoutError("Too large resource version", 0)
		refused.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
		return nil, refused
	case match == string(metav1.ResourceVersionMatchExact) && after < s.compacted:
		return nil, apierrors.NewResourceExpired("The provided resource version is too old")
	case match == string(metav1.ResourceVersionMatchExact):
		at = after
	}
	chosen, err := fields.ParseSelector(selector)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	var objects []runtime.Object
	there := s.at(at)
	for _, name := range slices.Sorted(maps.Keys(there)) {
		of := fields.Set{"metadata.name": name, "metadata.namespace": namespace, "spec.clusterIP": "10.96.0.1"}
		if chosen.Matches(of) {
			objects = append(objects, s.object(there[name]))
		}
	}
	return s.listOf(at, objects), nil
}

// watch sends the writes after a version as they come, with a bookmark after those of the first watch.
func (s *revisions) watch(w http.ResponseWriter, r *http.Request, after int) {
	w.Header().Set("Content-Type", runtime.ContentTypeJSON+";stream=watch")
	send := func(what string, o runtime.Object) {
		_ = json.NewEncoder(w).Encode(map[string]any{"type": what, "object": o})
	}
	s.mu.Lock()
	first := s.first
	s.mu.Unlock()
	for caughtUp := false; ; caughtUp = true {
		s.mu.Lock()
		there := s.at(after)
		for _, one := range s.writes {
			_, known := there[one.name]
			switch {
			case one.version <= after || one.version > s.reached:
				continue
			case one.port == 0:
				send("DELETED", s.object(one))
				delete(there, one.name)
			case known:
				send("MODIFIED", s.object(one))
			default:
				send("ADDED", s.object(one))
				there[one.name] = one
			}
		}
		after = max(after, s.reached)
		changed := s.changed
		s.mu.Unlock()
		if !caughtUp {
			if first {
				send("BOOKMARK", s.object(write{version: heardUpTo}))
			}
			s.began <- struct{}{}
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		}
		s.mu.Lock()
		cut := first && s.restarted
		s.mu.Unlock()
		if cut {
			return
		}
	}
}

// soon has a reflector try again at once.
var soon = cache.ReflectorOptions{Backoff: &wait.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 1}}

// newNotifyingStore returns a store, and a channel that has an element after it has changed.
func newNotifyingStore() (*store, <-chan struct{}) {
	changed := make(chan struct{}, 1)
	return newStore(func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}), changed
}
