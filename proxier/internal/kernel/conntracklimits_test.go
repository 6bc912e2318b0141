package kernel

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestConntrackLimits: what is written for what the node has.
func TestConntrackLimits(t *testing.T) {
	kubeProxy := ConntrackLimits{
		MaxPerCore: 32768, Min: 131072, TCPEstablishedTimeout: 24 * time.Hour, TCPCloseWaitTimeout: time.Hour,
	}
	node := map[string]string{
		conntrackMax: "65536", hashSize: "16384", establishedName: "432000", closeWaitName: "60", beLiberalName: "0",
		udpTimeoutName: "30", udpStreamName: "120",
	}
	with := func(changes ...string) map[string]string {
		present := map[string]string{}
		for name, value := range node {
			present[name] = value
		}
		for i := 0; i < len(changes); i += 2 {
			present[changes[i]] = changes[i+1]
		}
		return present
	}
	for _, c := range []struct {
		name    string
		limits  ConntrackLimits
		cpus    int
		present map[string]string
		want    []dataplane.SysctlChange
	}{
		{"nothing is wanted", ConntrackLimits{}, 8, node, nil},
		{"a minimum alone is nothing", ConntrackLimits{Min: 1 << 30}, 8, node, nil},
		{"the defaults on two cores come to the minimum", kubeProxy, 2, node, []dataplane.SysctlChange{
			{Name: conntrackMax, Old: "65536", New: "131072"}, {Name: hashSize, Old: "16384", New: "32768"}, {Name: establishedName, Old: "432000", New: "86400"}, {Name: closeWaitName, Old: "60", New: "3600"},
		}},
		{"cores count above the minimum", kubeProxy, 8, with(establishedName, "86400", closeWaitName, "3600"),
			[]dataplane.SysctlChange{
				{Name: conntrackMax, Old: "65536", New: "262144"}, {Name: hashSize, Old: "16384", New: "65536"},
			}},
		{"exactly a million is no more than a million", kubeProxy, 32, with(establishedName, "86400", closeWaitName, "3600"),
			[]dataplane.SysctlChange{
				{Name: conntrackMax, Old: "65536", New: "1048576"}, {Name: hashSize, Old: "16384", New: "262144"},
			}},
		{"many cores end at a million", kubeProxy, 256, with(establishedName, "86400", closeWaitName, "3600"),
			[]dataplane.SysctlChange{
				{Name: conntrackMax, Old: "65536", New: "1048576"}, {Name: hashSize, Old: "16384", New: "262144"},
			}},
		{"the end holds against the minimum, too", ConntrackLimits{MaxPerCore: 32768, Min: 4 << 20}, 256, node,
			[]dataplane.SysctlChange{
				{Name: conntrackMax, Old: "65536", New: "1048576"}, {Name: hashSize, Old: "16384", New: "262144"},
			}},
		{"a minimum above a million holds where the product is below", ConntrackLimits{MaxPerCore: 1, Min: 4 << 20}, 2, node,
			[]dataplane.SysctlChange{
				{Name: conntrackMax, Old: "65536", New: "4194304"}, {Name: hashSize, Old: "16384", New: "1048576"},
			}},
		{"nothing is lowered", ConntrackLimits{MaxPerCore: 1000, Min: 1000}, 8, node, nil},
		{"all is well already", kubeProxy, 2, with(conntrackMax, "131072", hashSize, "32768", establishedName, "86400", closeWaitName, "3600"), nil},
		{"the table is large enough, and has too few buckets", ConntrackLimits{MaxPerCore: 32768}, 8, with(conntrackMax,
			"262144"), []dataplane.SysctlChange{
			{Name: hashSize, Old: "16384", New: "65536"},
		}},
		{"all the rest", ConntrackLimits{UDPTimeout: time.Minute, UDPStreamTimeout: 3 * time.Minute, TCPBeLiberal: true}, 1,
			node, []dataplane.SysctlChange{
				{Name: udpTimeoutName, Old: "30", New: "60"}, {Name: udpStreamName, Old: "120", New: "180"}, {Name: beLiberalName, Old: "0", New: "1"},
			}},
		{"a parameter that is missing is written, so that it is said", ConntrackLimits{UDPTimeout: time.Minute}, 1, nil,
			[]dataplane.SysctlChange{
				{Name: udpTimeoutName, Old: "", New: "60"},
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.limits.changes(c.cpus, c.present)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCountCPUs reads the lists of /sys/devices/system/cpu.
func TestCountCPUs(t *testing.T) {
	for list, want := range map[string]int{"0\n": 1, "0-3\n": 4, "0-3,8,10-11\n": 7, "": 0, "x": 0, "3-1": 0} {
		if got := countCPUs(list); got != want {
			t.Errorf("%q: %d, want %d", list, got, want)
		}
	}
}
