package source

import (
	"context"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// history is what befalls the data of an API server that is followed.
type history struct {
	name string
	// seen are the writes after the list, each "NAME=PORT@VERSION", or "NAME-@VERSION" for a deletion.
	seen string
	// copied is the last version of the copy; 0 is for the same data.
	copied int
	// then are writes that are not seen: on the copy where there is one. The API server has reached a version when it
	// answers again, and has forgotten those before another one.
	then               string
	reached, compacted int
	// lists and asks are how many lists of all there have to be, and of one object at most.
	lists, asks int
}

// TestAPIServersThatGoOnAreNotListedAgain: where nothing was lost, a watch goes on after one question, two at most.
func TestAPIServersThatGoOnAreNotListedAgain(t *testing.T) {
	for _, h := range []history{
		{name: "nothing new", reached: 100, asks: 1},
		{name: "other writes", reached: 150, asks: 1},
		{name: "a change was seen", seen: "a=2@60", reached: 150, asks: 1},
		{name: "its last object has changed", seen: "a=2@60", then: "a=3@120", reached: 150, asks: 2},
		{name: "its last object is gone", seen: "a=2@60", then: "a-@120", reached: 150, asks: 2},
		{name: "its last object has come again", seen: "a=2@60", then: "a-@120 a=3@130", reached: 150, asks: 2},
		{name: "a deletion was seen", seen: "a-@60", reached: 150, asks: 2},
		{name: "what was deleted has come again", seen: "a-@60", then: "a=3@120", reached: 150, asks: 2},
		{name: "all is gone", seen: "a-@60 b-@61 c-@62", reached: 150, asks: 2},
		{name: "others have changed", seen: "a=2@60", then: "b-@120 c=3@121 d=4@122", reached: 150, asks: 1},
		{name: "versions are forgotten", seen: "a=2@60", reached: 150, compacted: 110, asks: 1},
		{name: "an older copy that has all", copied: 50, reached: 100, asks: 1},
		{name: "an older copy that has all, other writes", copied: 50, reached: 150, asks: 1},
		{name: "an older copy that has all, and goes on", seen: "a=2@40", copied: 50, then: "b=5@120", reached: 150, asks: 1},
	} {
		t.Run(h.name, func(t *testing.T) { t.Parallel(); h.isFollowed(t) })
	}
}

// TestDataThatIsOlderIsListedAgain: an API server that starts on an older copy of its data may have any version by the
// time that a watch goes on after the last one that was seen. What the copy lacks, and what it has instead, is listed
// anew, once. So it is where the data no longer shows it.
func TestDataThatIsOlderIsListedAgain(t *testing.T) {
	for _, h := range []history{
		{name: "nothing", copied: 50, reached: 70},
		{name: "the data no longer shows it", seen: "a=2@60", then: "a=3@120", reached: 150, compacted: 110},
	} {
		h.lists, h.asks = 1, 2
		t.Run(h.name, func(t *testing.T) { t.Parallel(); h.isFollowed(t) })
	}
	for _, h := range []history{
		{name: "a new object", seen: "d=4@60"},
		{name: "a change", seen: "a=2@60"},
		{name: "a deletion", seen: "b-@60"},
		{name: "a deletion after a change", seen: "a=2@60 b-@70"},
		{name: "the deletion alone", seen: "a=2@60 b-@70", copied: 65},
		{name: "one of two deletions", seen: "a=2@60 b-@70 c-@80", copied: 75},
		{name: "a change before a deletion", seen: "a=2@60 d=4@65 d-@70"},
		{name: "an object that went, and there is another", seen: "a=2@60 d=4@65 d-@70", copied: 62, then: "a=9@66"},
		{name: "what was listed", copied: 15},
		{name: "all", copied: 5},
		{name: "all deletions", seen: "a-@60 b-@61 c-@62"},
		{name: "two, and the last is written later", seen: "b=2@60 a=2@65", then: "a=3@120"},
		{name: "two, and the last is written earlier", seen: "b=2@60 a=2@65", then: "a=3@56"},
		{name: "two, and the last is written as it was", seen: "b=2@60 a=2@65", then: "a=2@66"},
		{name: "two, and the last one goes", seen: "b=2@60 a=2@65", then: "a-@56"},
		{name: "two, and the last one goes later", seen: "b=2@60 a=2@65", then: "a-@120"},
		{name: "two, and the deleted one goes again", seen: "b=2@60 a-@65", then: "a-@56"},
		{name: "more than is remembered",
			seen: "d=1@60 e=1@61 f=1@62 g=1@63 h=1@64 i=1@65 j=1@66 k=1@67 l=1@68 l-@69 k-@70"},
	} {
		if h.copied == 0 {
			h.copied = 50
		}
		h.lists, h.asks = 1, 3
		for _, r := range []struct {
			name               string
			reached, compacted int
		}{
			{"a lower version", 80, 0}, {"the same version", 100, 0}, {"a higher version", 150, 0},
			{"a higher version, earlier ones are forgotten", 150, 125},
		} {
			h.reached, h.compacted = r.reached, r.compacted
			t.Run(h.name+", "+r.name, func(t *testing.T) { t.Parallel(); h.isFollowed(t) })
		}
	}
}

// isFollowed has a reflector list and watch, and the API server end and come again. What is known in the end has to be
// what there is.
func (h history) isFollowed(t *testing.T) {
	api := newRevisions(t, h.seen)
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	client, err := NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	store, changed := newNotifyingStore()
	r := cache.NewReflectorWithOptions(client.Source(Selection{}).Services, &v1.Service{}, store.ofServices(), soon)
	over := make(chan struct{})
	go func() { defer close(over); r.RunWithContext(ctx) }()
	t.Cleanup(func() { end(); <-over })
	<-api.began
	for version := strconv.Itoa(heardUpTo); r.LastSyncResourceVersion() != version; time.Sleep(time.Millisecond) {
		if t.Context().Err() != nil {
			return
		}
	}
	api.restart(h)
	<-api.began
	api.write(write{name: "last", port: 1, version: max(h.reached, heardUpTo) + 1})
	patience := time.After(30 * time.Second)
	for store.service(cluster.Name{Namespace: namespace, Name: "last"}) == nil {
		select {
		case <-changed:
		case <-patience:
			t.Fatalf("what was written last has not arrived; the requests were\n%s", strings.Join(api.asked(), "\n"))
		}
	}
	got := map[string]int{}
	for _, name := range store.serviceNames() {
		got[name.Name] = int(store.service(name).Spec.Ports[0].Port)
	}
	if want := api.ports(); !reflect.DeepEqual(got, want) {
		t.Errorf("Services have ports %v, want %v", got, want)
	}
	lists, asks := api.count()
	if lists != h.lists || asks > h.asks {
		t.Errorf("%d lists and %d questions, want %d and at most %d:\n%s",
			lists, asks, h.lists, h.asks, strings.Join(api.asked(), "\n"))
	}
}
