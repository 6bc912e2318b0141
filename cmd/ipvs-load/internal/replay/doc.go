// Package replay sends again what a Service proxy wrote to the kernel by netlink, as fast as the kernel takes it: the
// floor below which no proxy that makes the same dataplane can get. It also times the bare look at such a dataplane,
// which is the floor of a restart.
package replay
