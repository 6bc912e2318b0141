// Package budget is what one object may ask of a node. Whoever may write a Service or an EndpointSlice decides how
// large it is, and every node of the cluster reads it: so everything that grows with it ends somewhere.
//
// The bounds are far above what clusters have, and far below what makes one Service a burden to others. What is beyond
// a bound is left out, in an order that is the same on all nodes and at every look. One Problem reports it.
// docs/security.md explains each.
package budget

// What is read of one Service and its EndpointSlices, in the order in which they stand there; EndpointSlices by their
// names.
const (
	// Ports are the Service's ports.
	Ports = 4096
	// Addresses are external IPs, and as many addresses of load balancers.
	Addresses = 256
	// SourceRanges are the networks that may reach the load balancer's addresses.
	SourceRanges = 4096
	// Endpoints are those of one port, of both families: three for each of the 5,000 nodes that Kubernetes is made for.
	Endpoints = 16384
	// AllEndpoints are those of all ports together: each counts once for each port.
	AllEndpoints = 65536
	// ValueBytes is the length of an annotation's value: a weight for each of 2,500 nodes by name.
	ValueBytes = 65536
)

// What one Service may have on a node, in the order of its front ends: by port, family and kind. The first front end
// beyond the budget is left out as a whole, and so are those behind it.
const (
	// FrontEnds are virtual servers; one whose scheduler has a large table counts as [FrontEndsOfTable].
	FrontEnds = 4096
	// FrontEndsOfTable is what a table of mh counts: it takes 4,093 × 8 bytes of the kernel, as much as eight other
	// front ends.
	FrontEndsOfTable = 8
	// RealServers are those of all front ends together: 5,000 endpoints behind six addresses.
	RealServers = 32768
	// Entries are those of the kernel's sets for front ends and the networks of their clients.
	Entries = 65536
	// Hairpins are the set entries of endpoints on this node, which may reach themselves by way of the Service.
	Hairpins = 16384
)

// What is shared by all Services.
const (
	// SetEntries is how many entries one of our sets takes in any case (maxelem).
	SetEntries = 1 << 20
	// SetReserve is the part of them that is kept for Services that want few: when the others are taken, one that wants
	// more than SetShare of the set is refused what it wants there.
	SetReserve = SetEntries / 4
	SetShare   = 1024
)

// What is reported.
const (
	// Problems is how many of one object are reported, and as many again that are of the node alone. It is also how
	// many of one Reason are kept.
	Problems = 20
	// Lookups is for how many unknown words of one value the message names the word that was probably meant;
	// LookupWords is among how many words it is looked for.
	Lookups, LookupWords = 20, 256
	// Words is how many words a list in a message has.
	Words = 20
	// MessageBytes is the length of a message, which is what an Event takes; QuoteBytes that of a value in it.
	MessageBytes, QuoteBytes = 1024, 160
	// LineBytes is the length of what one line of the log says of failures, which may be those of many Services.
	LineBytes = 16384
	// Events is how many of one Service may wait to be sent, NamespaceEvents how many of one namespace.
	Events, NamespaceEvents = 50, 500
	// Changes is how many times are kept of a change that waits.
	Changes = 64
)
