//go:build kernel

package kernel_test

import (
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// withRealServers creates a virtual server with n real servers.
func withRealServers(last byte, name string, n int) (dataplane.VirtualServerID, []dataplane.Op) {
	id := dataplane.VirtualServerID{Addr: netip.AddrFrom4([4]byte{10, 96, 0, last}), Port: 80, Protocol: cluster.TCP}
	ops := []dataplane.Op{{Verb: dataplane.Create, Object: dataplane.VirtualServerObject{
		ID: id, Scheduler: name, Flags: scheduler.Fallback, Timeout: 60,
	}}}
	for i := range n {
		r := dataplane.RealServer{Addr: netip.AddrFrom4([4]byte{10, 244, last, byte(i + 1)}), Port: 80, Weight: 1}
		ops = append(
			ops, dataplane.Op{Verb: dataplane.Create, Object: dataplane.RealServerObject{VirtualServer: id, RealServer: r}},
		)
	}
	return id, ops
}

// TestTableIsBuiltOnce: virtual servers whose scheduler comes last are created as wanted, also several at once in more
// than one send.
func TestTableIsBuiltOnce(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	var ops []dataplane.Op
	for i, n := range []int{0, 1, 2, 5, 200} {
		for j, name := range []string{"mh", "rr"} {
			_, more := withRealServers(byte(10*i+j), name, n)
			ops = append(ops, more...)
		}
	}
	apply(t, k, ops)
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	want := map[dataplane.VirtualServerID]int{}
	for _, op := range ops {
		switch o := op.Object.(type) {
		case dataplane.VirtualServerObject:
			want[o.ID] = 0
			if v := seen.Foreign[o.ID]; v.Scheduler != o.Scheduler || v.Flags != o.Flags || v.Timeout != o.Timeout {
				t.Errorf("%v is %+v", o, v)
			}
		case dataplane.RealServerObject:
			want[o.VirtualServer]++
		}
	}
	for id, n := range want {
		if got := len(seen.Foreign[id].RealServers); got != n {
			t.Errorf("%s has %d real servers, want %d", id, got, n)
		}
	}
}

// TestSchedulerThatComesLastFails: of a virtual server that cannot get its scheduler nothing is left, and the others
// are not touched.
func TestSchedulerThatComesLastFails(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	defer kernel.SetCostlyTable("nosuch", true)()
	_, bad := withRealServers(1, "nosuch", 3)
	_, good := withRealServers(2, "mh", 3)
	errs := k.Apply(append(bad, good...))
	for i, err := range errs {
		switch {
		case i == 0 && !errors.Is(err, syscall.ENOENT), i > 0 && i < len(bad) && !errors.Is(err, syscall.ESRCH):
			t.Errorf("operation %d of the virtual server without a scheduler: %v", i, err)
		case i >= len(bad) && err != nil:
			t.Errorf("operation %d, of the other one: %v", i, err)
		}
	}
	if seen := shell(t, "ipvsadm -Sn"); strings.Contains(seen, "10.96.0.1:") ||
		strings.Count(seen, "-a -t 10.96.0.2:80") != 3 {
		t.Error(seen)
	}
}

// BenchmarkMaglev shows what it is worth to build the table of mh once: the same virtual server of 50 real servers with
// a table for each of them, in the same run.
func BenchmarkMaglev(b *testing.B) {
	kerneltest.Own(b)
	k := openLinux(b)
	id, up := withRealServers(1, "mh", 50)
	down := []dataplane.Op{{Verb: dataplane.Delete, Object: dataplane.VirtualServerObject{ID: id}}}
	measure := func() time.Duration {
		began := time.Now()
		apply(b, k, up)
		took := time.Since(began)
		apply(b, k, down)
		return took
	}
	var once, each time.Duration
	for b.Loop() {
		once += measure()
		back := kernel.SetCostlyTable("mh", false)
		each += measure()
		back()
	}
	b.ReportMetric(float64(once.Microseconds())/float64(b.N), "us/one-table")
	b.ReportMetric(float64(each.Microseconds())/float64(b.N), "us/table-for-each")
	b.ReportMetric(float64(each)/float64(once), "each/one")
}
