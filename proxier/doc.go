// Package proxier carries Services into the kernel's IPVS. Data goes one way:
//
//	Kubernetes API, or a directory of manifests      internal/source: reflectors; the same path from here on
//	        |  keys only
//	        v
//	dirty set, coalesced --> one goroutine, the only writer (internal/engine)
//	        v
//	cluster.Service       parsed once; a user's mistake becomes a Problem, which is a value
//	        v
//	dataplane.Compile     one Service -> Fragment                      pure
//	        v
//	dataplane.Want        all Fragments -> want; one wins a conflict   pure
//	the mirror            what the kernel holds -> have
//	        v
//	dataplane.Drain       weight 0 instead of gone                      pure
//	        v
//	dataplane.Diff        have, want -> operations in order             pure
//	        v
//	Kernel.Apply          one result per operation; only what succeeded enters the mirror
//	        v
//	Kernel.Forget         UDP flows that the change has made stale
//	        v
//	Report                -> log, metrics, status, health, health check node ports, Events (internal/observe, events)
//	        ^
//	audit                 at start, or after an unexpected errno: Kernel.Observe -> the mirror -> the same Diff
//	                      by a timer, beside the passes: Reader.Summarize -> drift -> mirror -> the same Diff
//
// Cleanup is Diff(have, nothing). A restart is an audit before the first pass; with nothing changed it writes nothing.
// This package is the wiring: configuration, start, takeover, cleanup. Read internal/engine next, then
// internal/cluster, internal/dataplane and internal/kernel in this order.
package proxier
