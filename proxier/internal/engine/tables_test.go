package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// pinnedTables are the digests of the tables.
const pinnedTables = "testdata/tables.golden"

// TestTablesOfAllVersions pins where sh and mh send each client. While a cluster is upgraded two versions run on two
// nodes, and a client whose packets come to the other node has to find the same endpoint there. A change of the file
// breaks that for one upgrade: the commit has to say so, and docs/installing.md, "Upgrade and removal", to warn of it.
func TestTablesOfAllVersions(t *testing.T) {
	var got strings.Builder
	for _, c := range []struct {
		name, annotations string
		endpoints         string
	}{
		{"mh", "ipvs-proxier.io/scheduler: mh", pinnedEndpoints(1, 2, 3, 4, 5)},
		{"mh in another order of endpoints", "ipvs-proxier.io/scheduler: mh", pinnedEndpoints(4, 2, 5, 1, 3)},
		{"mh with weights", `ipvs-proxier.io/scheduler: mh, ipvs-proxier.io/weight: "zone=a:3,*=1"`, pinnedEndpoints(1, 2, 3, 4, 5)},
		{"mh by port", "ipvs-proxier.io/scheduler: mh, ipvs-proxier.io/scheduler-flags: port", pinnedEndpoints(1, 2, 3, 4, 5)},
		{"sh", "ipvs-proxier.io/scheduler: sh", pinnedEndpoints(1, 2, 3, 4, 5)},
		{"sh in another order of endpoints", "ipvs-proxier.io/scheduler: sh", pinnedEndpoints(4, 2, 5, 1, 3)},
		{"sh with weights", `ipvs-proxier.io/scheduler: sh, ipvs-proxier.io/weight: "zone=a:3,*=1"`, pinnedEndpoints(1, 2, 3, 4, 5)},
		{"sh by port", "ipvs-proxier.io/scheduler: sh, ipvs-proxier.io/scheduler-flags: port", pinnedEndpoints(1, 2, 3, 4, 5)},
		{"sh with many endpoints", "ipvs-proxier.io/scheduler: sh", pinnedEndpoints(seq(250)...)},
		{"mh with many endpoints", "ipvs-proxier.io/scheduler: mh", pinnedEndpoints(seq(250)...)},
	} {
		s := newScenario(t, 0, 0)
		s.converge(s.apply(fmt.Appendf(nil, pinned, c.annotations, c.endpoints)), false)
		for _, addr := range []string{"10.96.0.1", "fd00:96::1"} {
			v, there := s.memory.State().VirtualServers[dataplane.VirtualServerID{
				Addr: netip.MustParseAddr(addr), Port: 80, Protocol: cluster.TCP,
			}]
			if sum := dataplane.TableDigest(v, v.RealServers); there && sum != "" {
				fmt.Fprintf(&got, "%s %s: %s\n", c.name, addr, sum)
			} else {
				t.Errorf("%s: %s has no table: %+v", c.name, addr, v)
			}
		}
	}
	golden.Compare(t, pinnedTables, got.String()) // where it differs, clients go elsewhere than in the version before
}

const pinned = `apiVersion: v1
kind: Service
metadata: {name: web, annotations: {%s}}
spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, "fd00:96::1"], ports: [{name: http, port: 80}]}
---
%s`

// pinnedEndpoints are two EndpointSlices of those numbers, one in each family.
func pinnedEndpoints(numbers ...int) string {
	var b strings.Builder
	for family, format := range map[string]string{"IPv4": "10.244.0.%d", "IPv6": `"fd00:10::%x"`} {
		fmt.Fprintf(&b, `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-%s, labels: {kubernetes.io/service-name: web}}
addressType: %s
ports: [{name: http, port: 8080}]
endpoints:
`, strings.ToLower(family), family)
		for _, n := range numbers {
			fmt.Fprintf(&b, "- {addresses: [%s], nodeName: n2, zone: %s}\n", fmt.Sprintf(format, n), []string{"a", "b"}[n%2])
		}
		b.WriteString("---\n")
	}
	return strings.TrimSuffix(b.String(), "---\n")
}

func seq(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i + 1
	}
	return numbers
}
