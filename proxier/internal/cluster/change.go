package cluster

import "time"

// Change is a Service of which something has changed.
type Change struct {
	Name Name
	// Arrived is when the first of what has changed was seen here.
	Arrived time.Time
	// Triggered are the times, by the clock of the control plane, of what led to changed endpoints: a pod became ready,
	// a Service got another selector. They come from an EndpointSlice's annotation
	// endpoints.kubernetes.io/last-change-trigger-time (KEP-752). Only those after the start of the watch are here.
	Triggered []time.Time
}
