// Package control measures what a Service proxy, given as a command line, costs the node that it programs: the time
// until the kernel has everything, the time for one change, processor time, memory, processes, netlink messages.
//
// What cannot be measured on a machine is absent, with the reason; it is never 0.
package control
