package source

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

func TestTheViewIsAsOldAsTheResourceHeardOfLeastRecently(t *testing.T) {
	began := time.Unix(1e9, 0)
	now := began
	v := newView()
	v.now = func() time.Time { return now }
	v.hear("nodes", began)
	v.hear("services", began)
	if _, seen := v.Age(); seen {
		t.Error("EndpointSlices were not listed, and there is a view")
	}
	v.hear("endpointslices", began.Add(-time.Second)) // a list is as old as its request
	now = now.Add(10 * time.Second)
	if age, seen := v.Age(); !seen || age != 11*time.Second {
		t.Errorf("want 11 s, got %s, %t", age, seen)
	}
	v.hear("endpointslices", began.Add(-time.Minute)) // another list that took longer
	if age, _ := v.Age(); age != 11*time.Second {
		t.Errorf("want 11 s still, got %s", age)
	}
	for _, c := range []struct {
		event watch.Event
		age   time.Duration
	}{
		{watch.Event{Type: watch.Error, Object: &metav1.Status{}}, 11 * time.Second},
		{watch.Event{Type: watch.Bookmark, Object: &v1.Service{}}, 10 * time.Second}, // that of Services
		{watch.Event{Type: watch.Modified, Object: &v1.Service{}}, 10 * time.Second},
	} {
		v.hearEvent("endpointslices", c.event)
		if age, _ := v.Age(); age != c.age {
			t.Errorf("after %s want %s, got %s", c.event.Type, c.age, age)
		}
	}
}
