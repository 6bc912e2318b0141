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
	InvalidAnnotation    Reason = "InvalidAnnotation"    // the value of one of our annotations
	UnknownAnnotation    Reason = "UnknownAnnotation"    // a key under our prefix that does not exist
	InvalidField         Reason = "InvalidField"         // a field that the API server would not have let through
	ExternalIPNotAllowed Reason = "ExternalIPNotAllowed" // an external IP outside of the operator's networks
	SourceRangesOpen     Reason = "SourceRangesOpen"     // source ranges that leave a family open
	AddressInUse         Reason = "AddressInUse"         // an address of a Service that another machine, or the node itself, has
	PortInUse            Reason = "PortInUse"            // a node port on which a program of the node listens
	NodeUnknown          Reason = "NodeUnknown"          // something that depends on this Node, of which too little is known
	ForeignVirtualServer Reason = "ForeignVirtualServer" // somebody else's virtual server in an excluded network
	FrontEndConflict     Reason = "FrontEndConflict"     // another Service has the same address, port and protocol
	SchedulerMissing     Reason = "SchedulerMissing"     // this node's kernel lacks the scheduler
)

// OfNode tells that such a Problem is of one node alone: of its kernel, its programs, its addresses. The others come from what was
// written and from the configuration, and every node has them alike, word for word.
func (r Reason) OfNode() bool {
	switch r {
	case AddressInUse, PortInUse, NodeUnknown, ForeignVirtualServer, SchedulerMissing:
		return true
	}
	return false
}

// Problem is something a user wrote that could not be honoured. It is a value: two equal Problems are the same Problem.
type Problem struct {
	Reason Reason
	// Field is the place in the Service or EndpointSlice: "metadata.annotations[ipvs-proxier.io/scheduler]".
	Field string
	// Message is one sentence or two: what was written, what is allowed, the nearest match, and what is in force now.
	Message string
}

// String returns "reason: field: message".
func (p Problem) String() string { return fmt.Sprintf("%s: %s: %s", p.Reason, p.Field, p.Message) }

// SortProblems sorts by reason, field and message and drops repetitions.
func SortProblems(problems []Problem) []Problem {
	slices.SortFunc(problems, func(a, b Problem) int {
		if c := strings.Compare(string(a.Reason), string(b.Reason)); c != 0 {
			return c
		}
		if c := strings.Compare(a.Field, b.Field); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	return slices.Compact(problems)
}
