package cluster

import (
	"fmt"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
)

// The reasons that stand for Problems which are not listed one by one.
var (
	// MoreProblems: those that all nodes have.
	MoreProblems = Reason{Name: "MoreProblems"}
	// moreNodeProblems: those of one node alone.
	moreNodeProblems = Reason{Name: "MoreNodeProblems", OfNode: true}
)

// Problems are those of one object, as many as its budget allows. Those that all nodes see and those of this node are
// counted apart, because all nodes must report the same of what they share. The zero value has none.
type Problems struct {
	list []Problem
	// more are how many were added beyond those of the list; of counts them by their Reason.
	more, moreOfNode int
	of               map[Reason]int
}

// Add adds Problems, of each Reason as many as the budget allows. The others are counted.
func (ps *Problems) Add(problems ...Problem) {
	for _, p := range problems {
		if ps.room(p.Reason) {
			ps.put(p)
		}
	}
}

// Addf is Add for a Problem whose message is formatted only if it is kept.
func (ps *Problems) Addf(reason Reason, field, format string, args ...any) {
	if ps.room(reason) {
		ps.put(Problem{Reason: reason, Field: field, Message: fmt.Sprintf(format, args...)})
	}
}

func (ps *Problems) put(p Problem) {
	p.Field, p.Message, p.InForce = budget.Cut(p.Field), budget.Cut(p.Message), budget.Cut(p.InForce)
	ps.list = append(ps.list, p)
}

// room counts a Problem of the Reason and reports whether it can be added.
func (ps *Problems) room(reason Reason) bool {
	if ps.of == nil {
		ps.of = map[Reason]int{}
	}
	if ps.of[reason]++; ps.of[reason] <= budget.Problems {
		return true
	}
	ps.leaveOut(reason)
	return false
}

func (ps *Problems) leaveOut(reason Reason) {
	if reason.OfNode {
		ps.moreOfNode++
	} else {
		ps.more++
	}
}

// Join adds those of others, and how many they have left out.
func (ps *Problems) Join(others Problems) {
	ps.Add(others.list...)
	ps.more += others.more
	ps.moreOfNode += others.moreOfNode
}

// Kept returns the Problems to report, after the last Add: sorted, and without what only adding needs.
func (ps Problems) Kept() Problems {
	kept := Problems{list: SortProblems(slices.Clone(ps.list)), more: ps.more, moreOfNode: ps.moreOfNode}
	shared, ofNode := 0, 0
	urgentFirst(kept.list)
	kept.list = slices.DeleteFunc(kept.list, func(p Problem) bool {
		n := &shared
		if p.Reason.OfNode {
			n = &ofNode
		}
		if *n++; *n <= budget.Problems {
			return false
		}
		kept.leaveOut(p.Reason)
		return true
	})
	kept.list = SortProblems(kept.list)
	return kept
}

// None says that there are none.
func (ps Problems) None() bool { return len(ps.list) == 0 && ps.more == 0 && ps.moreOfNode == 0 }

// urgentFirst puts the urgent ones ahead of those that may be left out.
func urgentFirst(problems []Problem) {
	urgent := func(p Problem) int {
		if p.Reason.Urgent {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return urgent(a) - urgent(b) })
}

// Reported returns what is to be reported: the Problems in order, and behind them how many there are more.
func (ps Problems) Reported() []Problem {
	kept := ps.Kept()
	reported := kept.list
	for _, rest := range []struct {
		reason Reason
		n      int
	}{{MoreProblems, kept.more}, {moreNodeProblems, kept.moreOfNode}} {
		if rest.n > 0 {
			reported = append(reported,
				Problem{Reason: rest.reason, Field: "metadata", Message: fmt.Sprintf("and %d more, which are not listed", rest.n)})
		}
	}
	return reported
}
