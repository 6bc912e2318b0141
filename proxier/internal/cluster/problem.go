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
	InvalidAnnotation Reason = "InvalidAnnotation" // the value of one of our annotations
	UnknownAnnotation Reason = "UnknownAnnotation" // a key under our prefix that does not exist
	InvalidField      Reason = "InvalidField"      // a field that the API server would not have let through
	UnsupportedField  Reason = "UnsupportedField"  // a field that this version does not carry out
	FrontEndConflict  Reason = "FrontEndConflict"  // another Service has the same address, port and protocol
	SchedulerMissing  Reason = "SchedulerMissing"  // this node's kernel lacks the scheduler
)

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
