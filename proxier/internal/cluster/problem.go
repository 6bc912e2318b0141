package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is something a user wrote that is rejected, or that this node's kernel does not support. It is a value: two
// equal Problems are the same Problem.
type Problem struct {
	Reason Reason
	// Field is the place in the Service or EndpointSlice: "metadata.annotations[ipvs-proxier.io/scheduler]".
	Field string
	// Message is one sentence or two: what was written, what is allowed, the nearest match.
	Message string
	// InForce is what this node has in force instead, where nodes may differ. Where they cannot, the message says it.
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
		if c := strings.Compare(a.Reason.Name, b.Reason.Name); c != 0 {
			return c
		}
		if c := strings.Compare(a.Field, b.Field); c != 0 {
			return c
		}
		return strings.Compare(a.Text(), b.Text())
	})
	return slices.Compact(problems)
}
