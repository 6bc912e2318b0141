package observe

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/freeze"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

const (
	// healthGrace is how long the foundation may be incomplete, or the kernel unread, before /healthz turns bad, and
	// with it the health check node ports. A busy kernel recovers sooner.
	healthGrace = 10 * time.Second
	// liveGrace is the same for /livez. To start anew does not help a kernel that refuses, so that it comes later.
	liveGrace = time.Minute
	// refusedGrace is how long the kernel may refuse half of the Services that change ([engine.Report.MostRefused])
	// before /healthz turns bad. What it refuses of one Service, or of one tenant's, is a Problem of theirs: whoever
	// writes an EndpointSlice must not take the nodes out of all load balancers. /livez does not hang on it.
	refusedGrace = time.Minute
	// hangGrace is how long one pass, or the reading of an audit beside it, may take before /livez takes it for hung.
	// The first one on a slow machine with thousands of Services takes a minute. A program of iptables that hangs is
	// ended after two.
	hangGrace = 5 * time.Minute
)

// autoscalerTaint says that the cluster autoscaler is about to delete the node: load balancers should leave it
// (KEP-3836).
const autoscalerTaint = "ToBeDeletedByClusterAutoscaler"

// Health answers load balancers and the kubelet, as kube-proxy does.
type Health struct {
	Board    *Board
	Families []cluster.Family
	// Node returns this Node and whether it has to be there; nil where there are no Nodes, as with manifests.
	Node func() (node *v1.Node, expected bool)
	// View is nil with manifests. MaxViewAge is how old it may be for /readyz; 0 is no bound.
	View       *source.View
	MaxViewAge time.Duration
	// Waits says what of another proxy is waited for; "" is nothing.
	Waits func() string
	// Frozen returns the freeze that is in force, the zero State for none; nil is none.
	Frozen func() freeze.State
	// Works time what must not take longer than hangGrace.
	Works []*engine.Stopwatch
	// Answered is called with the name of the path and the status of each answer.
	Answered func(path string, status int)
}

// Healthy reports whether the node is sound, or has not been for less than the grace, and no pass hangs.
func (h *Health) Healthy() bool {
	now := h.Board.Now()
	sound, serving, _ := h.Board.sound(now, healthGrace)
	return sound && serving && !h.hung(now)
}

// eligible reports whether load balancers may send traffic to this node.
func (h *Health) eligible() bool {
	node, expected := h.Node()
	if node == nil {
		return !expected
	}
	for _, taint := range node.Spec.Taints {
		if taint.Key == autoscalerTaint {
			return false
		}
	}
	return node.DeletionTimestamp.IsZero()
}

// hung reports whether some work has taken too long.
func (h *Health) hung(now time.Time) bool {
	return slices.ContainsFunc(h.Works, func(w *engine.Stopwatch) bool { return w.Elapsed(now) > hangGrace })
}

// familyHealth is the state of one family; both are programmed by one loop and share it.
type familyHealth struct {
	LastUpdated time.Time `json:"lastUpdated"`
	Healthy     bool      `json:"healthy"`
}

// healthBody has kube-proxy's fields.
type healthBody struct {
	LastUpdated  time.Time               `json:"lastUpdated"`
	CurrentTime  time.Time               `json:"currentTime"`
	NodeEligible *bool                   `json:"nodeEligible,omitempty"`
	Healthy      bool                    `json:"healthy"`
	Status       map[string]familyHealth `json:"status"`
}

// Healthz is 200 while the dataplane is up to date and the node is one that load balancers may use.
func (h *Health) Healthz(w http.ResponseWriter, _ *http.Request) {
	eligible := h.eligible()
	h.answer(w, "healthz", healthGrace, &eligible)
}

// Livez is 200 as long as a restart of the process would not help.
func (h *Health) Livez(w http.ResponseWriter, _ *http.Request) { h.answer(w, "livez", liveGrace, nil) }

func (h *Health) answer(w http.ResponseWriter, path string, grace time.Duration, eligible *bool) {
	now := h.Board.Now()
	sound, serving, passed := h.Board.sound(now, grace)
	ok := sound && (serving || path == "livez") && !h.hung(now)
	if ok {
		passed = now // as kube-proxy has it: what is healthy is so now
	}
	body := healthBody{
		LastUpdated: passed, CurrentTime: now, NodeEligible: eligible, Healthy: ok, Status: map[string]familyHealth{},
	}
	for _, family := range h.Families {
		name := "IPv4"
		if family == cluster.IPv6 {
			name = "IPv6"
		}
		body.Status[name] = familyHealth{passed, ok}
	}
	status := http.StatusOK
	if !ok || eligible != nil && !*eligible {
		status = http.StatusServiceUnavailable
	}
	h.Answered(path, status)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
