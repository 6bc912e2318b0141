package cluster

import "time"

// Change is a Service of which something has changed.
type Change struct {
	Name Name
	// Arrived is when the first of what has changed was seen here.
	Arrived time.Time
	// Triggered are the times, by the clock of the control plane, at which what led to changed endpoints happened: a pod
	// became ready, a Service got another selector. An EndpointSlice's annotation
	// endpoints.kubernetes.io/last-change-trigger-time tells (KEP-752); only those after the start of the watch are here.
	Triggered []time.Time
}
