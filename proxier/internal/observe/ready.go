package observe

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// readyBody is the answer of /readyz.
type readyBody struct {
	Ready bool `json:"ready"`
	// Reasons say what is still awaited, and what is wrong; empty while the node is ready.
	Reasons []string `json:"reasons,omitempty"`
	// ViewAge is the age of what is known from the API, and MaxViewAge its bound. ViewAge is empty with manifests,
	// MaxViewAge where there is no bound.
	ViewAge    string `json:"viewAge,omitempty"`
	MaxViewAge string `json:"maxViewAge,omitempty"`
}

// Readyz is 200 while this node's dataplane is what the API wants now: the API was listed, the first sync over all
// Services is done, what is known of the API is not too old, and the node is sound. A rollout waits for it. Load
// balancers and the kubelet's liveness do not: a node without API goes on serving.
func (h *Health) Readyz(w http.ResponseWriter, _ *http.Request) {
	body := h.ready(h.Board.Now())
	status := http.StatusOK
	if !body.Ready {
		status = http.StatusServiceUnavailable
	}
	h.Answered("readyz", status)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// Unready returns why /readyz is bad now; empty while it is good.
func (h *Health) Unready() []string { return h.ready(h.Board.Now()).Reasons }

func (h *Health) ready(now time.Time) readyBody {
	var body readyBody
	bad := func(format string, args ...any) { body.Reasons = append(body.Reasons, fmt.Sprintf(format, args...)) }
	sound, serving, passed := h.Board.sound(now, healthGrace)
	if h.View != nil {
		age, seen := h.View.Age()
		switch {
		case !seen:
			bad("the API's Services and EndpointSlices have not been listed yet")
		case h.MaxViewAge > 0 && age > h.MaxViewAge:
			bad("what is known of the API is %s old, %s is allowed (--max-view-age)", age.Round(time.Second), h.MaxViewAge)
		}
		if seen {
			body.ViewAge = age.Round(time.Second).String()
		}
		if h.MaxViewAge > 0 {
			body.MaxViewAge = h.MaxViewAge.String()
		}
	}
	if h.Frozen != nil {
		if f := h.Frozen(); !f.Until.IsZero() {
			bad("%s", frozenReason(f))
		}
	}
	if passed.IsZero() {
		bad("the first sync over all Services is not done yet")
	}
	if !sound {
		bad("the foundation is incomplete, or the kernel cannot be read: ipvs-proxier status has the errors")
	}
	if !serving {
		bad("the kernel refuses half of the Services that have changed, of more than one namespace")
	}
	if reason := h.Board.contested(); reason != "" {
		bad("%s", reason)
	}
	if h.hung(now) {
		bad("a sync has taken more than %s", hangGrace)
	}
	if h.Waits != nil {
		if reason := h.Waits(); reason != "" {
			bad("%s", reason)
		}
	}
	body.Ready = len(body.Reasons) == 0
	return body
}

// NewViewAge is the metric of the view's age. It has no value before the first lists.
func NewViewAge(view *source.View) prometheus.Collector { return viewAge{view} }

type viewAge struct{ view *source.View }

var viewAgeDesc = prometheus.NewDesc("ipvs_proxier_api_view_age_seconds",
	"How old what is known of the API's Services and EndpointSlices is: the time since the API server last said that nothing is missing.", nil, nil)

// Describe implements prometheus.Collector.
func (viewAge) Describe(to chan<- *prometheus.Desc) { to <- viewAgeDesc }

// Collect implements prometheus.Collector.
func (v viewAge) Collect(to chan<- prometheus.Metric) {
	if age, seen := v.view.Age(); seen {
		to <- prometheus.MustNewConstMetric(viewAgeDesc, prometheus.GaugeValue, age.Seconds())
	}
}
