package source

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// refusals are the requests that API servers answer with Unauthorized or Forbidden, by method and path: reflectors ask
// again and again, and log each time.
type refusals struct {
	mu   sync.Mutex
	said map[string]string
}

// meanings say what the answers mean, and what to do.
var meanings = map[int]string{
	http.StatusUnauthorized: "Unauthorized: it does not accept the token or certificate that the kubeconfig or the ServiceAccount has",
	http.StatusForbidden:    "Forbidden: the role of the account lacks the permission (deploy/ipvs-proxier.yaml has the ClusterRole)",
}

// answered records an answer. It returns what is to be logged: a refusal that is new, or the request that is no longer
// refused.
func (r *refusals) answered(method string, server, at *url.URL, status int) (refused, over string) {
	what := asked(method, at)
	if what == "" {
		return "", ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known := r.said[what]
	meaning := meanings[status]
	switch {
	case meaning != "":
		text := fmt.Sprintf("%s refuses to %s: %s", server, what, meaning)
		if r.said == nil {
			r.said = map[string]string{}
		}
		if r.said[what] = text; text != before {
			return text, ""
		}
	case known && status < http.StatusBadRequest:
		delete(r.said, what)
		return "", what
	}
	return "", ""
}

// all returns what is refused now.
func (r *refusals) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Values(r.said))
}

// asked returns the purpose of a request, such as "list or watch services"; "" where it is none of ours.
func asked(method string, at *url.URL) string {
	parts := strings.Split(strings.Trim(at.Path, "/"), "/")
	resource := parts[len(parts)-1]
	switch {
	case method == http.MethodGet && slices.Contains([]string{"services", "endpointslices", "nodes"}, resource):
		return "list or watch " + resource
	case method == http.MethodPost && resource == "events":
		return "create events"
	}
	return ""
}
