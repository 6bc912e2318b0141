package source

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestARefusalIsToldOnceAndItsEndToo(t *testing.T) {
	server := &url.URL{Scheme: "https", Host: "one:6443"}
	var r refusals
	for i, c := range []struct {
		method, path  string
		status        int
		refused, over string
	}{
		{"GET", "/api/v1/services", 200, "", ""},
		{"GET", "/api/v1/services", 401, "Unauthorized", ""},
		{"GET", "/api/v1/services", 401, "", ""},
		{"GET", "/apis/discovery.k8s.io/v1/endpointslices", 403, "Forbidden", ""},
		{"GET", "/api/v1/services", 403, "Forbidden", ""}, // for another reason now
		{"GET", "/api/v1/services", 500, "", ""},          // says nothing of it
		{"GET", "/readyz", 401, "", ""},
		{"POST", "/apis/events.k8s.io/v1/namespaces/a/events", 403, "create events", ""},
		{"POST", "/apis/events.k8s.io/v1/namespaces/b/events", 403, "", ""},
		{"GET", "/api/v1/services", 200, "", "list or watch services"},
		{"GET", "/api/v1/services", 200, "", ""},
	} {
		refused, over := r.answered(c.method, server, &url.URL{Path: c.path}, c.status)
		if !strings.Contains(refused, c.refused) || (refused == "") != (c.refused == "") || over != c.over {
			t.Errorf("%d: %s %s %d: want %q, %q; got %q, %q", i, c.method, c.path, c.status, c.refused, c.over, refused, over)
		}
		if refused != "" && !strings.Contains(refused, "https://one:6443") {
			t.Errorf("%d: %q does not name the server", i, refused)
		}
	}
	if all := r.all(); len(all) != 2 || !slices.IsSorted(all) {
		t.Errorf("want the refusals of endpointslices and events, got %q", all)
	}
}
