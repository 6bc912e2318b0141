// Package explain says what becomes of the first packet of a connection on this node: which rules of ours decide about
// it, hook by hook, which virtual server takes it, which real servers it may go to, and what the client sees.
//
// It is pure: everything that it knows of the kernel is an Observation. So it says what the kernel does now, whatever
// somebody wanted, and works without a running proxier. Rules of others are not followed, but for those that take
// packets away before IPVS, which an Observation has.
package explain
