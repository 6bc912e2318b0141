package source_test

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// TestTimesOfChanges: a change has the time of the first that came, and the triggers of all new ones; what was before
// the start, what cannot be read and what a deleted slice said of earlier changes is none.
func TestTimesOfChanges(t *testing.T) {
	api := newAPI(t)
	triggered := func(s *discovery.EndpointSlice, text string) *discovery.EndpointSlice {
		s.Annotations = map[string]string{v1.EndpointsLastChangeTriggerTime: text}
		return s
	}
	began := time.Now().Truncate(time.Second)
	first, second := began.Add(time.Hour), began.Add(2*time.Hour)
	api.put(service("a", "10.96.0.1"))
	api.put(triggered(slice("a-1", "a", "10.0.0.1"), began.Add(-time.Hour).Format(time.RFC3339)))
	w := source.NewWatcher(api.source(), "n1")
	go w.Run(t.Context())
	if !w.WaitForSync(t.Context()) {
		t.Fatal("not synced")
	}
	api.watched()
	// seen takes what has changed once the last of it is there.
	seen := func(there func() bool) cluster.Change {
		t.Helper()
		for deadline := time.After(20 * time.Second); !there(); {
			select {
			case <-w.Changed():
			case <-time.After(time.Millisecond): // the store notifies after it has put it
			case <-deadline:
				t.Fatal("the change has not come")
			}
		}
		var changes []cluster.Change
		for deadline := time.Now().Add(20 * time.Second); len(changes) == 0 && time.Now().Before(deadline); {
			changes = w.Take()
		}
		if len(changes) != 1 || changes[0].Name.Name != "a" || changes[0].Arrived.Before(began) ||
			changes[0].Arrived.After(time.Now()) {
			t.Fatalf("changes %+v", changes)
		}
		return changes[0]
	}
	name := seen(func() bool { return true }).Name
	slicesNow := func(n, endpoints int) func() bool {
		return func() bool {
			all := w.Slices(name)
			return len(all) == n && len(all[0].Endpoints) == endpoints
		}
	}
	for _, c := range []struct {
		what string
		do   func()
		is   func() bool
		want []time.Time
	}{
		{"a new trigger", func() { api.put(triggered(slice("a-1", "a", "10.0.0.1", "10.0.0.2"), first.Format(time.RFC3339Nano))) }, slicesNow(1, 2), []time.Time{first}},
		{"another slice", func() { api.put(triggered(slice("a-2", "a", "10.0.0.3"), second.Format(time.RFC3339Nano))) }, slicesNow(2, 2), []time.Time{second}},
		{"not a time", func() { api.put(triggered(slice("a-1", "a", "10.0.0.1"), "yesterday")) }, slicesNow(2, 1), nil},
		{"a slice goes", func() { api.remove(slice("a-2", "a")) }, slicesNow(1, 1), nil},
	} {
		c.do()
		got := seen(c.is).Triggered
		if len(got) != len(c.want) || len(got) == 1 && !got[0].Equal(c.want[0]) {
			t.Errorf("%s: triggered %v, want %v", c.what, got, c.want)
		}
	}
}
