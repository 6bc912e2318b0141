// Package engine decides and applies: it brings the kernel in line with Services, and says in a Report what it did.
//
// A [Loop] waits for reasons to make a pass: changed Services, retries and drains that are due, an audit that has found
// something. An [Engine] makes it: it parses and compiles what has changed, compares that with its mirror of the
// kernel, and hands the difference to a [dataplane.Kernel]. Only what the kernel has accepted enters the mirror. One
// goroutine owns both.
//
// The package knows no API client, no kernel, no log and no metrics. A [Lister] has the objects, a [dataplane.Kernel]
// carries out operations, and who wants to know what was done is an [Observer].
package engine
