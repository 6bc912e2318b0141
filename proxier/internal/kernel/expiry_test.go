//go:build kernel

package kernel_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// TestExpiryIsAsItWas: after real servers are renewed and deleted, whatever was set, here and in another namespace; the
// file is kept open meanwhile.
func TestExpiryIsAsItWas(t *testing.T) {
	id := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP}
	server := func(last byte) dataplane.RealServerObject {
		return dataplane.RealServerObject{VirtualServer: id, RealServer: dataplane.RealServer{
			Addr: netip.AddrFrom4([4]byte{10, 244, 0, last}), Port: 80, Weight: 1,
		}}
	}
	for _, values := range [][]string{{"1", "0", "1"}, {"0", "0", "1"}} { // each in a namespace of its own
		kerneltest.Own(t)
		k := openLinux(t)
		apply(t, k, []dataplane.Op{{
			Verb: dataplane.Create, Object: dataplane.VirtualServerObject{ID: id, Scheduler: "rr"},
		}, {Verb: dataplane.Create, Object: server(1)}})
		for _, value := range values {
			shell(t, "echo "+value+" >/proc/sys/net/ipv4/vs/expire_nodest_conn")
			apply(t, k, []dataplane.Op{{
				Verb: dataplane.Create, Object: server(2),
			}, {Verb: dataplane.Renew, Object: server(1)}, {Verb: dataplane.Delete, Object: server(2)}})
			if got := strings.TrimSpace(shell(t, "cat /proc/sys/net/ipv4/vs/expire_nodest_conn")); got != value {
				t.Errorf("it is %s, want %s", got, value)
			}
			if got, err := k.Sysctl("net.ipv4.vs.expire_nodest_conn"); err != nil || got != value {
				t.Errorf("it reads as %s, %v; want %s", got, err, value)
			}
		}
	}
}
