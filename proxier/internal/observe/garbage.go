package observe

import (
	"os"
	"runtime/debug"
	runtimemetrics "runtime/metrics"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

// Garbage is the Observer that keeps down what memory a large cluster takes beside what is in use. By itself Go lets
// garbage grow to the size of what is in use, which is right for a small one; here what is in use is mostly the
// cluster, which stays, and a change leaves some 15 KiB.
//
// It is a percentage of what is in use, and no limit: near a limit the collector runs without end, and at 10,000
// Services took six seconds for an audit.
type Garbage struct {
	percent int
	settled bool
	// off says that the environment has settings of its own.
	off bool
}

func NewGarbage() *Garbage {
	return &Garbage{off: os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "", percent: 100}
}

// allowance is how much garbage there may be before it is collected: so many bytes, and at least so many percent of
// what is in use. Less would take more processor time than the memory is worth: much while a start makes garbage
// without a pause, little after it, when 5 MiB are some 300 changes.
type allowance struct {
	bytes int64
	least int
}

var startAllowance, laterAllowance = allowance{8 << 20, 25}, allowance{5 << 20, 15}

// percent is the garbage that there may be where so much is in use (GOGC).
func (a allowance) percent(live int64) int {
	if live <= a.bytes {
		return 100
	}
	return max(a.least, int(100*a.bytes/live))
}

// Observe implements Observer. What lists and first passes have left is given back when the start is over: it is not
// needed again soon.
func (g *Garbage) Observe(r engine.Report) {
	if g.off || r.Services == 0 {
		return
	}
	sample := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}} // after the last collection
	runtimemetrics.Read(sample)
	allowed, settles := startAllowance, !g.settled && r.Err == nil && r.Backlog == 0
	if g.settled = g.settled || settles; g.settled {
		allowed = laterAllowance
	}
	// To set it stops all goroutines for a moment: not for a trifle.
	if percent := allowed.percent(int64(sample[0].Value.Uint64())); percent > g.percent+g.percent/10 ||
		percent < g.percent-g.percent/10 {
		g.percent = percent
		debug.SetGCPercent(percent)
	}
	if settles {
		go debug.FreeOSMemory()
	}
}
