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
//	merge.go      Fragments of all Services become one State; of two that want the same front end, one wins here
//	drain.go      a real server that is no longer wanted leaves by way of weight 0
//	diff.go       have and want become operations
//	order.go      the order of operations, each with the kernel's reason, and what must never be true in between
//	text.go       a State as text, for people, tests and the plan
//
// The others by what they are about:
//
//	a Service compiled   virtualserver.go, vip.go (address or route), clients.go (source ranges), slowstart.go,
//	                     servicebudget.go (what one Service may have), fates.go (why an endpoint is left out)
//	the foundation       rule.go (a rule as a value), names.go (sets and chains)
//	what an operator and
//	the kernel say       config.go
//	all Services         contenders.go (the claims to one front end), ration.go (space in the sets that all share),
//	                     transition.go (big Services by steps)
//	real servers         arrange.go (the order of the kernel's list), tabledigest.go (what a hash table makes of it)
//	operations           split.go (keys in pieces), clip.go (a piece of operations), gate.go (what a failure leaves
//	                     out), holdback.go (what is left for later, and what needs it), guard.go (what keeps to
//	                     source ranges), applyall.go (what they make of a State), cutoff.go (whose connections end)
//	the kernel's side    kernel.go (the boundary), parts.go, summary.go (a State for comparing), listing.go (its
//	                     objects by name), glance.go, capture.go (rules of others)
//	values               entries.go (many set entries in little memory), compare.go (their order), identity.go (which object
//	                     it is, whatever it is like)
package dataplane
