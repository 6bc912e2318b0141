// Package engine sends the requests of a run and measures them.
//
// A run has a few workers, each a single goroutine with an epoll set of its own, which owns its connections, its place in
// the schedule and its tally; nothing is shared while the run goes on, so nothing is locked. A request is a slot that
// walks through a small state machine as its socket becomes ready. Raw sockets rather than package net: a request then
// costs its system calls and little else, the kernel's error numbers arrive unchanged, and a reply is stamped by the
// same loop that reads it, with no goroutine to be scheduled in between.
//
// A worker's loop is: expire what timed out, start what is due, sleep until the next of the two, a reply or the end.
// What the loop does to the measurement is measured as well: how late it wakes, and how long it keeps a reply waiting.
package engine
