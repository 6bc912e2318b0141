// Package dataplane says what this node's kernel should hold, as values, and how to get there. It is pure: no kernel,
// no log, no clock, no randomness.
//
// Read in this order:
//
//	state.go      State: what a kernel holds for us (have) or should hold (want)
//	object.go     the single things of which a State consists, and Op = verb + object
//	compile.go    one Service becomes a Fragment: the front ends and set entries it wants
//	endpoints.go  which endpoints a front end uses
//	foundation.go the part that no Service changes: link, sysctls, sets, chains, hooks
//	merge.go      Fragments of all Services become one State; two that want the same front end are settled here
//	drain.go      a real server that is no longer wanted leaves by way of weight 0
//	diff.go       have and want become operations
//	order.go      the order of operations, each with the kernel's reason, and what must never be true in between
//	text.go       a State as text, for people, tests and the plan
package dataplane
