package proxier

import (
	"runtime/debug"
	"testing"
)

// TestGarbage: the limit is never so low that what is in use does not fit, it follows what is in use, and it is left alone where the environment has one.
func TestGarbage(t *testing.T) {
	for _, live := range []int64{0, 1 << 20, 20 << 20, 40 << 20, 400 << 20, 4 << 30} {
		if limit := memoryLimit(live); limit < live+live/10+garbageRoom || limit < garbageFree || limit > max(garbageFree, live*2) {
			t.Errorf("%d in use: the limit is %d", live, limit)
		}
	}
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	t.Setenv("GOMEMLIMIT", "1GiB")
	newGarbage().Observe(Report{Services: 1})
	if now := debug.SetMemoryLimit(-1); now != before {
		t.Errorf("the environment has a limit, and it is made %d", now)
	}
	t.Setenv("GOMEMLIMIT", "")
	t.Setenv("GOGC", "")
	g := newGarbage()
	g.Observe(Report{})
	if now := debug.SetMemoryLimit(-1); now != before {
		t.Errorf("without a Service the limit is made %d", now)
	}
	g.Observe(Report{Services: 1, Backlog: 1})
	if now := debug.SetMemoryLimit(-1); now < garbageFree || now != g.limit || g.settled {
		t.Errorf("the limit is %d, settled: %t", now, g.settled)
	}
}
