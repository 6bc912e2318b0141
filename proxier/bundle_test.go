package proxier

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/bundle"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/explain"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
)

// TestExplainReadsABundle: it says of a kernel in an archive what it says of that kernel, ceilings included.
func TestExplainReadsABundle(t *testing.T) {
	c := dataplane.Config{
		Families: []cluster.Family{cluster.IPv4}, MasqueradeMark: 1 << 14, Link: dataplane.DefaultLink,
		Pods:  dataplane.Pods{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}},
		Facts: dataplane.Facts{KernelMajor: 6, KernelMinor: 12, RandomFully: true, IPVSMatch: true},
	}
	seen := dataplane.Observation{
		State: dataplane.Foundation(c), NodeAddresses: []netip.Addr{netip.MustParseAddr("192.168.50.1")},
	}
	id := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP}
	service := cluster.Service{
		Name: cluster.Name{Namespace: "shop", Name: "web"}, ClusterIPs: []netip.Addr{id.Addr},
		Ports: []cluster.ServicePort{{Protocol: cluster.TCP, Port: 80, Scheduler: "rr", Endpoints: []cluster.Endpoint{
			{Addr: netip.MustParseAddr("10.244.1.10"), Port: 8080, Ready: true, Weight: 1},
			{Addr: netip.MustParseAddr("10.244.1.11"), Port: 8080, Ready: true, Weight: 1},
		}}},
	}
	service.Ports[0].Limit.Upper, service.Ports[0].Limit.Lower = 5, 4
	front := dataplane.Compile(service, dataplane.Node{Name: "n1"}, c).FrontEnds[0]
	seen.State.SetVirtualServer(front.ID, front.VirtualServer)
	for e := range front.Entries.All() {
		seen.State.Entries.Put(e)
	}
	seen.State.Addresses[id.Addr] = struct{}{}
	counts := map[dataplane.VirtualServerID][]dataplane.Connections{
		id: {{Addr: netip.MustParseAddr("10.244.1.10"), Port: 8080, Active: 5}},
	}
	text, err := bundle.Kernel{Seen: seen, Connections: counts}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	m := bundle.Maker{}
	m.Add(bundleKernel, "", text, nil)
	if err := m.Write(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := OpenBundle(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []Question{
		{From: "10.244.1.10", To: "10.96.0.1:80", Protocol: "tcp"}, {From: "192.0.2.1", To: "10.96.0.1:80", Protocol: "tcp"},
		{From: "node", To: "10.96.0.1:80", Protocol: "tcp"}, {From: "192.0.2.1", To: "10.96.0.1:81", Protocol: "tcp"},
	} {
		packet, err := q.packet()
		if err != nil {
			t.Fatal(err)
		}
		want := explain.Explain(packet, seen, iptables.Words{},
			func(id dataplane.VirtualServerID) []dataplane.Connections { return counts[id] })
		got, err := b.Explain(q)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v: by the bundle it is said otherwise (-kernel +bundle):\n%s", q, diff)
		}
		if q.To == "10.96.0.1:80" && !strings.Contains(cmp.Diff(Explanation{}, got), "ceiling of 5") {
			t.Errorf("%+v: nothing is said of the ceiling: %+v", q, got)
		}
	}
	if _, err := b.Status(""); err == nil || !strings.Contains(err.Error(), "status.json is missing") {
		t.Errorf("the status of a bundle without one: %v", err)
	}
}
