//go:build kernel

package kernel_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// TestBothReadersSeeTheSame: getsockopt and netlink list the same real servers in the same order, whatever their number
// and values.
func TestBothReadersSeeTheSame(t *testing.T) {
	kerneltest.Own(t)
	k, other := openLinux(t), openLinux(t)
	other.ByNetlink()
	var ops []dataplane.Op
	for i, n := range []int{0, 1, 31, 32, 33, 64, 150} {
		_, more := withRealServers(byte(i+1), "wrr", n)
		for j, op := range more {
			if o, is := op.Object.(dataplane.RealServerObject); is {
				o.RealServer.Weight, o.RealServer.Upper, o.RealServer.Lower = uint32(j*431), uint32(100+j), uint32(j)
				more[j].Object = o
			}
		}
		ops = append(ops, more...)
	}
	apply(t, k, ops)
	shell(t, "ipvsadm -a -t 10.96.0.2:80 -r 10.244.99.99:80 -g -w 5; ipvsadm -a -t 10.96.0.2:80 -r 10.244.99.98:80 -i -w 0")
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	want, err := other.Observe()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Foreign, seen.Foreign, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("netlink has -, getsockopt +:\n%s", diff)
	}
	if len(seen.Foreign) != 7 || !k.ByGetsockopt() || other.ByGetsockopt() {
		t.Errorf("%d virtual servers, by getsockopt: %v and %v", len(seen.Foreign), k.ByGetsockopt(), other.ByGetsockopt())
	}
	// One that is gone has none, by both, and getsockopt stays in use.
	id := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.9.9"), Port: 1, Protocol: 6}
	for _, k := range []interface {
		Connections(dataplane.VirtualServerID) ([]dataplane.Connections, error)
	}{k, other} {
		if counts, err := k.Connections(id); err != nil || len(counts) != 0 {
			t.Errorf("of a virtual server that there is not: %v, %v", counts, err)
		}
	}
	if !k.ByGetsockopt() {
		t.Error("a virtual server that is gone has ended the use of getsockopt")
	}
}

// BenchmarkObserve shows what getsockopt is worth: a look at 1,000 Services with 5 endpoints each, by netlink and by
// it, in the same run.
func BenchmarkObserve(b *testing.B) {
	kerneltest.Own(b)
	k, other := openLinux(b), openLinux(b)
	other.ByNetlink()
	const services = 1000
	apply(b, k, from(dataplane.NewState(), want(services, 5)))
	look := func(observe func() (dataplane.Observation, error)) time.Duration {
		began := time.Now()
		if seen, err := observe(); err != nil || len(seen.State.VirtualServers) != services {
			b.Fatal(err, len(seen.State.VirtualServers))
		}
		return time.Since(began)
	}
	var fast, slow time.Duration
	for b.Loop() {
		fast += look(k.Observe)
		slow += look(other.Observe)
	}
	b.ReportMetric(float64(fast.Microseconds())/float64(b.N)/services, "us/Service-getsockopt")
	b.ReportMetric(float64(slow.Microseconds())/float64(b.N)/services, "us/Service-netlink")
	b.ReportMetric(float64(slow)/float64(fast), "netlink/getsockopt")
}
