package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// Reason is the kind of a Problem: a short CamelCase word that Events, metrics and status show.
type Reason string

// The reasons.
const (
	InvalidAnnotation       Reason = "InvalidAnnotation"       // the value of one of our annotations
	UnknownAnnotation       Reason = "UnknownAnnotation"       // a key under our prefix that does not exist
	InvalidField            Reason = "InvalidField"            // a field that the API server would not have let through
	ExternalIPNotAllowed    Reason = "ExternalIPNotAllowed"    // an external IP outside of the operator's networks
	SourceRangesOpen        Reason = "SourceRangesOpen"        // source ranges that leave a family open
	AddressInUse            Reason = "AddressInUse"            // an address that another machine, or the node, has
	BroadcastEndpoint       Reason = "BroadcastEndpoint"       // an endpoint at a broadcast address of the node's networks
	PortInUse               Reason = "PortInUse"               // a node port on which a program of the node listens
	NodeUnknown             Reason = "NodeUnknown"             // what depends on this Node, of which too little is known
	ForeignVirtualServer    Reason = "ForeignVirtualServer"    // somebody else's virtual server in an excluded network
	ForeignRule             Reason = "ForeignRule"             // somebody's rule takes packets before IPVS sees them
	RulesUnread             Reason = "RulesUnread"             // rules of others that could not be looked at
	FrontEndConflict        Reason = "FrontEndConflict"        // another Service has the same address, port and protocol
	UnsupportedScheduler    Reason = "UnsupportedScheduler"    // this node's kernel lacks the scheduler
	UnsuitableScheduler     Reason = "UnsuitableScheduler"     // a scheduler that hardly does what its author expects
	AnnotationConflict      Reason = "AnnotationConflict"      // an annotation of ours and its alias say different things
	ConnectionsLimited      Reason = "ConnectionsLimited"      // nearly as many connections as the node's kernel may have
	ConnectionTableSmall    Reason = "ConnectionTableSmall"    // a table that is too small for its connections
	NotListening            Reason = "NotListening"            // an address of the proxier's own on which it cannot serve
	AnnotationWithoutEffect Reason = "AnnotationWithoutEffect" // a good value that nothing goes by
	BeyondBudget            Reason = "BeyondBudget"            // more than one object may ask of a node
	BeyondNodeBudget        Reason = "BeyondNodeBudget"        // more than a Service may have here, or sets have room for
	KernelRefused           Reason = "KernelRefused"           // this node's kernel refuses an operation again and again
	NodeListsClusterIP      Reason = "NodeListsClusterIP"      // a Node that lists a cluster IP among its addresses
	NodeListsForeignAddress Reason = "NodeListsForeignAddress" // a Node that lists this node's address, or not its own
	MoreProblems            Reason = "MoreProblems"            // Problems that are not told one by one
	MoreNodeProblems        Reason = "MoreNodeProblems"        // such that are of one node alone
)

// OfNode tells that such a Problem is of one node alone: of its kernel, its programs, its addresses. The others come
// from what was written and from the configuration. Every node has them alike, word for word but for InForce.
func (r Reason) OfNode() bool {
	switch r {
	case AddressInUse, BroadcastEndpoint, PortInUse, NodeUnknown, ForeignVirtualServer, ForeignRule, RulesUnread,
		UnsupportedScheduler, ConnectionsLimited, ConnectionTableSmall, NotListening, BeyondNodeBudget, KernelRefused,
		NodeListsForeignAddress, MoreNodeProblems:
		return true
	}
	return false
}

// Problem is something a user wrote that could not be honoured, or that this node's kernel is not made for. It is a
// value: two equal Problems are the same Problem.
type Problem struct {
	Reason Reason
	// Field is the place in the Service or EndpointSlice: "metadata.annotations[ipvs-proxier.io/scheduler]".
	Field string
	// Message is one sentence or two: what was written, what is allowed, the nearest match.
	Message string
	// InForce is what this node has in force instead, where nodes may differ; the message of others says it.
	InForce string
}

// Text returns the message with what is in force now.
func (p Problem) Text() string {
	if p.InForce == "" {
		return p.Message
	}
	return p.Message + "; in force is " + p.InForce
}

// Shared returns what all nodes say of the Problem.
func (p Problem) Shared() Problem {
	p.InForce = ""
	return p
}

// String returns "reason: field: text".
func (p Problem) String() string { return fmt.Sprintf("%s: %s: %s", p.Reason, p.Field, p.Text()) }

// SortProblems sorts by reason, field and text and drops repetitions.
func SortProblems(problems []Problem) []Problem {
	slices.SortFunc(problems, func(a, b Problem) int {
		if c := strings.Compare(string(a.Reason), string(b.Reason)); c != 0 {
			return c
		}
		if c := strings.Compare(a.Field, b.Field); c != 0 {
			return c
		}
		return strings.Compare(a.Text(), b.Text())
	})
	return slices.Compact(problems)
}
