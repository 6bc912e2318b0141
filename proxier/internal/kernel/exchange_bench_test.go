//go:build kernel

package kernel_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// BenchmarkExchange exchanges the schedulers of 40 virtual servers in one pass. Beside that it does so by one message
// each and nothing else, which is the least that the kernel can do it in. It reports how long a front end is held, from
// before the entry that holds it is sent until after its end is acknowledged. It also reports how long the bare message
// takes; for nearly all of that the kernel is without a scheduler.
func BenchmarkExchange(b *testing.B) {
	kerneltest.Own(b)
	k := openLinux(b)
	const servers = 40
	with := func(scheduler string) *dataplane.State {
		state := want(servers, 3)
		for id, v := range state.VirtualServers {
			v.Scheduler = scheduler
			state.SetVirtualServer(id, v)
		}
		return state
	}
	rr, lc := with("rr"), with("lc")
	apply(b, k, from(dataplane.NewState(), rr))
	var held, bare []time.Duration
	for b.Loop() {
		held = append(held, holds(b, k, from(rr, lc))...)
		for id := range rr.VirtualServers {
			began := time.Now()
			apply(b, k, []dataplane.Op{{Verb: dataplane.Update, Object: dataplane.VirtualServerObject{ID: id, Scheduler: "rr"}}})
			bare = append(bare, time.Since(began))
		}
	}
	if len(held) != len(bare) {
		b.Fatalf("%d front ends were held, %d schedulers exchanged", len(held), len(bare))
	}
	for _, of := range []struct {
		name string
		part float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		h, r := quantile(held, of.part), quantile(bare, of.part)
		b.ReportMetric(float64(h.Microseconds())/1000, "ms-held/"+of.name)
		b.ReportMetric(float64(r.Microseconds())/1000, "ms-bare/"+of.name)
		b.ReportMetric(float64(h)/float64(r), "held/bare/"+of.name)
	}
}

// holds applies the operations and returns for how long each front end was held. Those of one kind that follow each
// other go in one call, as Linux itself puts them together.
func holds(b *testing.B, k *kernel.Linux, ops []dataplane.Op) (times []time.Duration) {
	began := map[dataplane.SetEntry]time.Time{}
	kind := func(op dataplane.Op) string { return fmt.Sprintf("%s %T", op.Verb, op.Object) }
	for len(ops) > 0 {
		n := 1
		for n < len(ops) && kind(ops[n]) == kind(ops[0]) {
			n++
		}
		start := time.Now()
		if err := errors.Join(k.Apply(ops[:n])...); err != nil {
			b.Fatal(err)
		}
		end := time.Now()
		for _, op := range ops[:n] {
			if entry, is := op.Object.(dataplane.SetEntry); is && op.Verb == dataplane.Create {
				began[entry] = start
			} else if is {
				times = append(times, end.Sub(began[entry]))
			}
		}
		ops = ops[n:]
	}
	return times
}

func quantile(times []time.Duration, part float64) time.Duration {
	slices.Sort(times)
	return times[int(part*float64(len(times)-1))]
}
