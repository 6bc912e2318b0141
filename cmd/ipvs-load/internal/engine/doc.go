// Package engine sends the requests of a run and measures them.
//
// A run has a few workers. Each is a single goroutine with an epoll set of its own, and owns its connections, its place
// in the schedule and its tally. Nothing is shared while the run goes on, so nothing is locked. A request is a slot
// that walks through a small state machine as its socket becomes ready. The sockets are raw ones and not package net's.
// So a request costs its system calls and little else, and the kernel's error numbers arrive unchanged. The same loop
// reads a reply and stamps it, with no goroutine to be scheduled in between.
//
// A worker's loop is: expire what timed out, start what is due, sleep until the next of the two, a reply or the end.
// What the loop does to the measurement is measured as well: how late it wakes, and how long it keeps a reply waiting.
package engine
