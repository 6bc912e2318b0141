//go:build kernel

package kernel_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// TestConnectionTable: what this kernel reports is what is there, in the test's own network namespace. Audits count the
// connections on every kernel.
func TestConnectionTable(t *testing.T) {
	const connections = 50
	kerneltest.Own(t)
	shell(t, "ip link add out type dummy; ip link set out up; ip route add 10.244.0.0/16 dev out; ip route add local 10.96.0.0/16 dev lo; ip route add local 172.16.0.0/12 dev lo")
	k := openLinux(t)
	var ops []dataplane.Op
	for i := range 3 {
		id := dataplane.VirtualServerID{Addr: netip.AddrFrom4([4]byte{10, 96, 0, byte(i)}), Port: 53, Protocol: cluster.UDP}
		ops = append(ops, dataplane.Op{
			Verb: dataplane.Create, Object: dataplane.VirtualServerObject{ID: id, Scheduler: "rr"},
		},
			dataplane.Op{Verb: dataplane.Create, Object: dataplane.RealServerObject{
				VirtualServer: id, RealServer: dataplane.RealServer{Addr: netip.MustParseAddr("10.244.0.1"), Port: 53, Weight: 1},
			}})
	}
	apply(t, k, ops)
	for i := range connections {
		send(t, netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, 0, byte(i + 1)}), 4000),
			netip.MustParseAddrPort("10.96.0.1:53"))
	}
	table, err := kernel.ReadConnectionTable()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", table)
	if table.MaxBuckets < 256 || table.MaxBuckets&(table.MaxBuckets-1) != 0 {
		t.Errorf("the table can have %d buckets, want a power of 2", table.MaxBuckets)
	}
	_, err = os.Stat("/proc/thread-self/net/ip_vs_status")
	if table.Grows != (err == nil) {
		t.Errorf("the table grows: %v; the kernel's file: %v", table.Grows, err)
	}
	if table.Grows && (table.Connections != connections || table.Services != 3 || table.Buckets == 0 ||
		table.Buckets > table.MaxBuckets || table.ServiceBuckets == 0) {
		t.Errorf("%+v, want %d connections and 3 services", table, connections)
	}
	limit, err := os.ReadFile("/proc/sys/net/ipv4/vs/conn_max")
	if table.Limited != (err == nil) || table.Limited && fmt.Sprintln(table.MaxConnections) != string(limit) {
		t.Errorf("%+v; the kernel's limit is %q, %v", table, limit, err)
	}
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	if seen.Connections != connections {
		t.Errorf("an audit sees %d connections, want %d", seen.Connections, connections)
	}
}
