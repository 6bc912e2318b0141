package observe

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/events"
)

// manyRows is a Report of n Services with all Problems that one may have, and of as many failures of one Service.
func manyRows(n int, message string) engine.Report {
	r := engine.Report{Start: time.Unix(1e9, 0), Served: n, Failures: map[cluster.Name][]engine.Failure{}}
	for i := range n {
		row := testRow(fmt.Sprint("s", i), "rr")
		row.UID = row.Name.Name
		for j := range budget.Problems {
			p := cluster.Problem{Reason: cluster.BeyondBudget, Field: fmt.Sprint(j), Message: message}
			row.Problems = append(row.Problems, p)
		}
		r.Changed = append(r.Changed, row)
		op := dataplane.Op{Verb: dataplane.Create, Object: dataplane.VirtualServerObject{ID: row.FrontEnds[0].Front.ID}}
		r.Failures[r.Changed[0].Name] = append(r.Failures[r.Changed[0].Name], engine.Failure{Op: op, Err: syscall.EPERM})
	}
	return r
}

// TestObserversAreLinear: what observers do with a Report takes four times as much when it is of four times as many
// Services, and no more when it is of one Service among four times as many.
func TestObserversAreLinear(t *testing.T) {
	for name, made := range map[string]func() engine.Observer{
		"log":     func() engine.Observer { return NewLog(slog.New(slog.NewTextHandler(io.Discard, nil))) },
		"metrics": func() engine.Observer { return NewMetrics(nil, "v") },
		"status": func() engine.Observer {
			return NewBoard("n1", "v", func() (ConnectionCounter, error) { return stubCounter{}, nil }, Origin{})
		},
		"events": func() engine.Observer {
			sink := events.NewSink(nil, slog.New(slog.DiscardHandler), func(string) {})
			return events.New("n1", sink, func() []string { return []string{"n1", "n2"} })
		},
	} {
		t.Run(name, func(t *testing.T) {
			cost := func(n int) (all, one float64) {
				o := made()
				first, second := manyRows(n, "first"), manyRows(n, "second")
				o.Observe(first)
				all = allocatedBytes(func() { o.Observe(second); o.Observe(first) })
				second.Changed, first.Changed = second.Changed[:1], first.Changed[:1]
				first.Failures, second.Failures = nil, nil
				one = allocatedBytes(func() { o.Observe(second); o.Observe(first) })
				return all, one
			}
			all, one := cost(100)
			all4, one4 := cost(400)
			if all4 > 6*all+4096 || one4 > 1.5*one+4096 {
				t.Errorf("%.0f bytes become %.0f, of one Service among the others %.0f become %.0f", all, all4, one, one4)
			}
		})
	}
}

// allocatedBytes returns how many bytes are allocated; the least, since those of others are counted as well.
func allocatedBytes(run func()) float64 {
	bytes := math.Inf(1)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run()
		runtime.ReadMemStats(&after)
		bytes = min(bytes, float64(after.TotalAlloc-before.TotalAlloc))
	}
	return bytes
}
