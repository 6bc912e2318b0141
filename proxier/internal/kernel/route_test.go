//go:build kernel

package kernel_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// TestRoutesAreBatched: thousands of routes take few system calls, and one dump for each family reads them.
func TestRoutesAreBatched(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	foundation, w := dataplane.Foundation(kerneltest.Config), wantBy(dataplane.ByRoute, 5000, 0)
	apply(t, k, from(dataplane.NewState(), foundation))
	var ops []dataplane.Op
	for _, op := range from(foundation, w) {
		if _, is := op.Object.(dataplane.Route); is {
			ops = append(ops, op)
		}
	}
	before := k.Traffic()
	apply(t, k, ops)
	now := k.Traffic()
	if len(ops) != 5000 || now.Sends-before.Sends > 50 {
		t.Errorf("%d operations took %d sends", len(ops), now.Sends-before.Sends)
	}
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	if len(seen.State.Routes) != 5000 {
		t.Errorf("%d routes are seen", len(seen.State.Routes))
	}
}

// TestRouteGivesTheSource: what clients on the node have as their source, by an address, by routes, and while both are
// there.
func TestRouteGivesTheSource(t *testing.T) {
	kerneltest.Own(t)
	shell(t, "ip link add other type dummy; ip link set other up; ip addr add 192.168.50.1/24 dev other; ip -6 addr add fd00:50::1/64 dev other nodad")
	k := openLinux(t)
	apply(t, k, []dataplane.Op{{Verb: dataplane.Create, Object: dataplane.Link{Name: kerneltest.Config.Link}}})
	for vip, own := range map[string]string{"10.96.0.1": "192.168.50.1", "fd00:96::1": "fd00:50::1"} {
		addr := netip.MustParseAddr(vip)
		address, route := dataplane.Address{Addr: addr}, dataplane.Route{Addr: addr, Source: netip.MustParseAddr(own)}
		source := func() string {
			conn, err := net.Dial("udp", net.JoinHostPort(vip, "53"))
			if err != nil {
				return err.Error()
			}
			defer conn.Close()
			return conn.LocalAddr().(*net.UDPAddr).IP.String()
		}
		for _, step := range []struct {
			op   dataplane.Op
			want string
		}{
			{dataplane.Op{Verb: dataplane.Create, Object: address}, vip},
			{dataplane.Op{Verb: dataplane.Create, Object: route}, vip}, // the kernel's own has the lower metric
			{dataplane.Op{Verb: dataplane.Delete, Object: address}, own},
			{dataplane.Op{Verb: dataplane.Create, Object: address}, vip},
			{dataplane.Op{Verb: dataplane.Delete, Object: route}, vip},
		} {
			apply(t, k, []dataplane.Op{step.op})
			got := source()
			// The kernel's own route of an IPv6 address appears a little after the address; what takes something away
			// waits for that.
			for deadline := time.Now().Add(20 * time.Second); step.op.Verb == dataplane.Create && got != step.want &&
				time.Now().Before(deadline); {
				got = source()
			}
			if got != step.want {
				t.Errorf("after %s the source is %s, want %s", step.op, got, step.want)
			}
		}
	}
}

// TestAddressTakesThePlaceOfARoute: no sooner is the route of an IPv6 address deleted than the kernel's own is there;
// and the other way round.
func TestAddressTakesThePlaceOfARoute(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	apply(t, k, []dataplane.Op{{Verb: dataplane.Create, Object: dataplane.Link{Name: kerneltest.Config.Link}}})
	for i := range 200 {
		vip := netip.MustParseAddr(fmt.Sprintf("fd00:96::%x", i+1))
		address, route := dataplane.Address{Addr: vip}, dataplane.Route{Addr: vip}
		local := func(when string) {
			t.Helper()
			found, err := vnl.RouteGet(vip.AsSlice())
			if err != nil || len(found) != 1 || found[0].Type != unix.RTN_LOCAL {
				t.Fatalf("VIP %d, %s: it leads to %v, %v; want it local", i, when, found, err)
			}
		}
		apply(t, k, []dataplane.Op{{Verb: dataplane.Create, Object: route}})
		local("the route came")
		apply(t, k, []dataplane.Op{{Verb: dataplane.Create, Object: address}, {Verb: dataplane.Delete, Object: route}})
		local("the address took its place")
		apply(t, k, []dataplane.Op{{Verb: dataplane.Create, Object: route}, {Verb: dataplane.Delete, Object: address}})
		local("the route took its place")
	}
}

// TestTentativeAddressIsNoSource: while the kernel looks for duplicates of an IPv6 address it refuses routes that
// prefer it, with EINVAL. The engine tries again.
func TestTentativeAddressIsNoSource(t *testing.T) {
	kerneltest.Own(t)
	shell(t, "ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; ip -6 addr add fd00:50::1/64 dev v0")
	k := openLinux(t)
	op := dataplane.Op{Verb: dataplane.Create, Object: dataplane.Route{
		Addr: netip.MustParseAddr("fd00:96::1"), Source: netip.MustParseAddr("fd00:50::1"),
	}}
	if err := k.Apply([]dataplane.Op{op})[0]; !errors.Is(err, unix.EINVAL) { // that takes a second at least (RFC 4862)
		t.Fatalf("a tentative address: %v, want EINVAL\n%s", err, shell(t, "ip -6 addr show dev v0"))
	}
	deadline := time.Now().Add(20 * time.Second)
	for err := k.Apply([]dataplane.Op{op})[0]; err != nil; err = k.Apply([]dataplane.Op{op})[0] {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// BenchmarkVIPs compares addresses with routes, by the same number of both in one run.
func BenchmarkVIPs(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		for _, family := range []string{"IPv4", "IPv6"} {
			b.Run(fmt.Sprintf("%d-%s", n, family), func(b *testing.B) { benchmarkVIPs(b, n, family == "IPv6") })
		}
	}
}

func benchmarkVIPs(b *testing.B, n int, six bool) {
	kerneltest.Own(b)
	k := openLinux(b)
	apply(b, k, []dataplane.Op{{Verb: dataplane.Create, Object: dataplane.Link{Name: kerneltest.Config.Link}}})
	both := [2][]dataplane.Object{}
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})
		if six {
			addr = netip.MustParseAddr(fmt.Sprintf("fd00:96::%x", i+1))
		}
		both[0], both[1] = append(both[0], dataplane.Address{Addr: addr}), append(both[1], dataplane.Route{Addr: addr})
	}
	var took [2]struct{ up, down time.Duration }
	for b.Loop() {
		for i, objects := range both {
			began := time.Now()
			apply(b, k, each(dataplane.Create, objects))
			took[i].up += time.Since(began)
			began = time.Now()
			apply(b, k, each(dataplane.Delete, objects))
			took[i].down += time.Since(began)
		}
	}
	for i, kind := range []string{"address", "route"} {
		b.ReportMetric(float64(took[i].up.Nanoseconds())/1000/float64(b.N*n), "us/"+kind)
		b.ReportMetric(float64(took[i].down.Nanoseconds())/1000/float64(b.N*n), "us/"+kind+"-deleted")
	}
	b.ReportMetric(float64(took[0].up)/float64(took[1].up), "address/route")
}

func each(verb dataplane.Verb, objects []dataplane.Object) (ops []dataplane.Op) {
	for _, o := range objects {
		ops = append(ops, dataplane.Op{Verb: verb, Object: o})
	}
	return ops
}
