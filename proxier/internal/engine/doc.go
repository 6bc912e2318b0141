// Package engine decides and applies: it brings the kernel in line with Services, and says in a Report what it did.
//
// A [Loop] waits for reasons to make a pass: changed Services, retries and drains that are due, an audit that has found
// something. An [Engine] makes it: it parses and compiles what has changed, compares that with its mirror of the
// kernel, and hands the difference to a [dataplane.Kernel]. Only what the kernel has accepted enters the mirror. One
// goroutine owns both.
//
// The package knows no API client, no kernel, no log and no metrics. A [Lister] has the objects, a [dataplane.Kernel]
// carries out operations, and an [Observer] gets the Reports.
//
// The files by what they are about; each line begins with the one to read first:
//
//	the loop             loop.go, engine.go (one pass), apply.go (hands operations to the kernel), stopwatch.go
//	what a pass takes    backlog.go (which Services), pieces.go (how much of a big one), largeservices.go and
//	                     background.go (beside the passes)
//	one Service          service.go, frontends.go, conflict.go, losers.go (of a conflict), exposed.go (source ranges
//	                     that nothing keeps), ration.go, lastgood.go, sharedsettings.go, slowstart.go
//	this node            node.go, addresses.go, nodeclaims.go, listeners.go (its sockets), captures.go (rules of others)
//	what takes time      retries.go, tries.go (those of a big Service), drains.go, forget.go and cutoff.go (connection
//	                     tracking), unexpected.go (doubt), freeze.go
//	audits               auditor.go, round.go (one audit), drift.go (what it finds), driftpieces.go (of a big Service),
//	                     touches.go, audit.go (one that all waits for), glance.go, upgrade.go (rules of another
//	                     version), onlyin.go
//	what others undo     contests.go (again and again), heldback.go (what waits then)
//	what was done        mirror.go (a copy of what the kernel holds), report.go, operations.go (and why), owners.go (whose failure it is), refusals.go (the node's or
//	                     a Service's), inquiry.go (the fate of endpoints)
//	without a loop       dryrun.go, dryrunkernel.go, remove.go (cleanup)
package engine
