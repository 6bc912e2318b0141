package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// turns returns what the kernel's wrr gets for weights.
func turns(t testing.TB, weights ...uint32) []uint32 {
	t.Helper()
	s, known := scheduler.Lookup("wrr")
	if !known {
		t.Fatal("there is no wrr")
	}
	endpoints := make([]scheduler.Endpoint, len(weights))
	for i, w := range weights {
		endpoints[i].Weight = w
	}
	return s.Weigh(scheduler.Place{}, endpoints)
}

// TestTurns: examples with their numbers, and the longest run that one endpoint has.
func TestTurns(t *testing.T) {
	for _, c := range []struct {
		weights, want []uint32
		run           int
	}{
		{weights: []uint32{}, want: []uint32{}},
		{weights: []uint32{0, 0}, want: []uint32{0, 0}},
		{[]uint32{1, 1, 1}, []uint32{1, 1, 1}, 1},
		{[]uint32{65535, 65535}, []uint32{1, 1}, 1},
		{[]uint32{7, 0, 7}, []uint32{1, 0, 1}, 1},
		{[]uint32{65535, 32767}, []uint32{2, 1}, 2},
		{[]uint32{65534, 32767}, []uint32{2, 1}, 2},
		{[]uint32{65535, 32767, 21845}, []uint32{6, 3, 2}, 4},
		{[]uint32{3, 7, 2}, []uint32{3, 7, 2}, 4},
		{[]uint32{100, 99}, []uint32{67, 66}, 2},
		{[]uint32{1000, 999}, []uint32{1, 1}, 1},
		{[]uint32{999, 1}, []uint32{995, 1}, 995},               // a share that has to be
		{[]uint32{65535, 32767, 1}, []uint32{996, 498, 1}, 499}, // 1 counts as a thousandth of 65535
		{[]uint32{65535, 1}, []uint32{996, 1}, 996},
	} {
		t.Run(fmt.Sprint(c.weights), func(t *testing.T) {
			got := turns(t, c.weights...)
			if !slices.Equal(got, c.want) {
				t.Errorf("numbers %v, want %v", got, c.want)
			}
			if run := longestRun(got); run != c.run {
				t.Errorf("the longest run is %d, want %d", run, c.run)
			}
		})
	}
}

// TestTurnsKeepShares: for any weights the numbers are at most 1,000 and keep every weight, beside the heaviest, and
// every share, as docs/schedulers.md says; no smaller ones do; 0 stays 0; the longest run does not grow.
func TestTurnsKeepShares(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		weights := make([]uint32, 1+r.IntN(6))
		for i := range weights {
			weights[i] = r.Uint32N(1 << (1 + r.IntN(16)))
		}
		got := turns(t, weights...)
		var heaviest, lightest, most uint32
		for i, w := range weights {
			if (w == 0) != (got[i] == 0) || got[i] > 1000 {
				t.Fatalf("%v becomes %v", weights, got)
			}
			heaviest, most = max(heaviest, w), max(most, got[i])
			if w > 0 && (lightest == 0 || w < lightest) {
				lightest = w
			}
		}
		if heaviest == 0 {
			continue
		}
		allowed := 0.005
		if !fits(weights, heaviest, 1000) {
			allowed = min(float64(heaviest)/float64(lightest), 1000) / 2000
		}
		if off := worst(weights, got, heaviest, most); off > allowed+1e-6 {
			t.Fatalf("%v becomes %v: off by %.4f, want %.4f at most", weights, got, off, allowed)
		}
		if allowed == 0.005 && most > 1 && fits(weights, heaviest, most-1) {
			t.Fatalf("%v becomes %v: smaller numbers would do", weights, got)
		}
		if before, after := longestRun(weights), longestRun(got); len(weights) > 1 && (after > 1001 || after > before+1) {
			t.Fatalf("%v becomes %v: the longest run was %d and is %d", weights, got, before, after)
		}
	}
}

// fits reports whether numbers up to most keep the weights to half a hundredth.
func fits(weights []uint32, heaviest, most uint32) bool {
	for n := uint32(1); n <= most; n++ {
		got := make([]uint32, len(weights))
		for i, w := range weights {
			if w > 0 {
				got[i] = max(1, uint32(float64(w)*float64(n)/float64(heaviest)+0.5))
			}
		}
		if worst(weights, got, heaviest, n) <= 0.005 {
			return true
		}
	}
	return false
}

// worst returns the greatest error of a weight beside the heaviest, as a part of it. What is below a thousandth counts
// as one.
func worst(weights, got []uint32, heaviest, most uint32) (off float64) {
	for i, w := range weights {
		if w == 0 {
			continue
		}
		should := max(float64(w)/float64(heaviest), 0.001)
		is := float64(got[i]) / float64(most)
		off = max(off, max(is, should)/should-1, 1-is/should)
	}
	return off
}

// longestRun returns how many connections in a row one real server gets at most, by the kernel's rule: the count goes
// from the greatest weight down to 1 in steps of the greatest common divisor, and at each everyone whose weight is not
// below it has a turn.
func longestRun(weights []uint32) (longest int) {
	step, most := uint32(0), uint32(0)
	for _, w := range weights {
		most = max(most, w)
		for a := w; a > 0; {
			step, a = a, step%a
		}
	}
	last, run := -1, 0
	for range 2 { // a run may go from the end of a round into the next one
		for count := int(most); count > 0; count -= int(step) {
			for i, w := range weights {
				if int(w) < count {
					continue
				}
				if i != last {
					last, run = i, 0
				}
				run++
				longest = max(longest, run)
			}
		}
	}
	return longest
}
