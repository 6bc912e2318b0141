package engine

import (
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// trace remembers the last operations on a kernel and what came of them.
type trace struct {
	dataplane.Kernel
	answers []answer // a ring once it is full
	next    int
	// all, when set, sums up every answer.
	all hash.Hash
}

// answer is what came of an operation, the first of a batch or not.
type answer struct {
	op    dataplane.Op
	err   error
	first bool
}

// traced is how many operations are remembered: those of the last few passes.
const traced = 300

func (t *trace) Apply(ops []dataplane.Op) []error {
	errs := t.Kernel.Apply(ops)
	for i, err := range errs {
		a := answer{ops[i], err, i == 0}
		if t.all != nil {
			fmt.Fprintln(t.all, a)
		}
		if len(t.answers) < traced {
			t.answers = append(t.answers, a)
			continue
		}
		t.answers[t.next] = a
		t.next = (t.next + 1) % traced
	}
	return errs
}

func (a answer) String() string {
	place := map[bool]string{true: "phase ", false: "      "}[a.first]
	if a.err != nil {
		return place + a.op.String() + ": " + a.err.Error()
	}
	return place + a.op.String()
}

// last returns what is remembered, one operation a line.
func (t *trace) last() string {
	var b strings.Builder
	for _, a := range slices.Concat(t.answers[t.next:], t.answers[:t.next]) {
		fmt.Fprintln(&b, a)
	}
	return b.String()
}

// TestTheSameSeedGivesTheSameWalk: what a walk has found can be looked at again. So no order of operations, and of
// looks at the kernel, is that of a map.
func TestTheSameSeedGivesTheSameWalk(t *testing.T) {
	seed := anySeed(t)
	walk := func() (text string) {
		a := author{rand.New(rand.NewPCG(seed, 4))}
		s := newScenario(t, 0.1, seed)
		s.faulty.Burst = 20
		s.trace.all = fnv.New64a()
		for range 10 {
			s.objects.nodes = a.node()
			s.objects.version++
			s.walkTo(a.place(*s.objects))
			if a.IntN(5) == 0 {
				s.restart()
				s.converge(nil, true)
			}
			s.now = s.now.Add(25 * time.Hour)
			s.converge(nil, false)
			text += fmt.Sprintf("%x after %d faults\n", s.trace.all.Sum(nil), s.faulty.Faults)
		}
		return text
	}
	if first, again := walk(), walk(); first != again {
		t.Errorf("two walks with one seed:\n%s\n%s", first, again)
	}
}
