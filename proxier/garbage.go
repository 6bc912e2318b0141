package proxier

import (
	"os"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
)

// garbage is the Observer that keeps down what memory a large cluster takes beside what is in use. By itself Go lets garbage grow to the size of what
// is in use, which is right for a small one; here what is in use is mostly the cluster, which stays, and a change leaves some 15 KiB.
type garbage struct {
	limit   int64
	settled bool
	// off says that the environment has settings of its own.
	off bool
}

func newGarbage() *garbage {
	return &garbage{off: os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != ""}
}

const (
	// garbageFree is how much memory of the program's is no matter; above it there may be a tenth of what is in use, and garbageRoom for stacks and the
	// collector's own.
	garbageFree = 40 << 20
	garbageRoom = 8 << 20
)

// memoryLimit returns the limit for so much in use.
func memoryLimit(live int64) int64 { return max(garbageFree, live+live/10+garbageRoom) }

// Observe implements Observer. What lists and first passes have left is given back when the start is over: it is not needed again soon.
func (g *garbage) Observe(r Report) {
	if g.off || r.Services == 0 {
		return
	}
	sample := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}} // after the last collection
	runtimemetrics.Read(sample)
	// To set it stops all goroutines for a moment: not for a trifle.
	if limit := memoryLimit(int64(sample[0].Value.Uint64())); limit > g.limit+g.limit/50 || limit < g.limit-g.limit/10 {
		g.limit = limit
		debug.SetMemoryLimit(limit)
	}
	if !g.settled && r.Err == nil && r.Backlog == 0 {
		g.settled = true
		go debug.FreeOSMemory()
	}
}
