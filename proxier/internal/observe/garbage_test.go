package observe

import (
	"runtime/debug"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

// TestGarbage: how much there may be follows what is in use. It is never so little that the collector has no rest, and
// is left alone where the environment sets it.
func TestGarbage(t *testing.T) {
	for live, want := range map[int64][2]int{
		0: {100, 100}, 1 << 20: {100, 100}, 8 << 20: {100, 62}, 16 << 20: {50, 31}, 24 << 20: {33, 20}, 32 << 20: {25, 15}, 400 << 20: {25, 15}, 4 << 30: {25, 15},
	} {
		if percent := [2]int{startAllowance.percent(live), laterAllowance.percent(live)}; percent != want {
			t.Errorf("%d in use: %d percent during and after a start, want %d", live, percent, want)
		}
	}
	before := debug.SetGCPercent(73)
	defer debug.SetGCPercent(before)
	inForce := func() int {
		now := debug.SetGCPercent(73)
		debug.SetGCPercent(now)
		return now
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	g := NewGarbage()
	g.percent = 10
	if g.Observe(engine.Report{Services: 1}); inForce() != 73 {
		t.Errorf("the environment has a setting, and it is made %d", inForce())
	}
	t.Setenv("GOMEMLIMIT", "")
	t.Setenv("GOGC", "")
	g = NewGarbage()
	g.percent = 10
	if g.Observe(engine.Report{}); inForce() != 73 {
		t.Errorf("without a Service it is made %d", inForce())
	}
	if g.Observe(engine.Report{Services: 1, Backlog: 1}); inForce() != g.percent || g.percent == 10 || g.settled {
		t.Errorf("in force is %d, want %d; settled: %t", inForce(), g.percent, g.settled)
	}
}
