package observe

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/manifests"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// memoryCounter reads the kernel in memory.
type memoryCounter struct{ *kernel.Memory }

func (m memoryCounter) VirtualServer(id dataplane.VirtualServerID) (dataplane.VirtualServer, bool, []dataplane.Connections, error) {
	v, present, err := m.Memory.VirtualServer(id)
	if err != nil {
		return v, present, nil, err
	}
	counts, err := m.Connections(id)
	return v, present, counts, err
}

func (memoryCounter) Close() error { return nil }

// boardOf returns the board of node n1 with the manifests programmed in a kernel in memory, and that kernel.
func boardOf(t *testing.T, file string) (*Board, *kernel.Memory) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	directory, err := manifests.Open(dir, func(file, mistake string) { t.Errorf("%s: %s", file, mistake) })
	if err != nil {
		t.Fatal(err)
	}
	watcher := source.NewWatcher(
		source.Source{Services: directory.Services(), Slices: directory.Slices(), Nodes: directory.Nodes()}, "n1",
	)
	go watcher.Run(t.Context())
	if !watcher.WaitForSync(t.Context()) {
		t.Fatal("the manifests are not known")
	}
	memory := kernel.NewMemory()
	memory.Addresses = []netip.Addr{netip.MustParseAddr("192.168.50.1"), netip.MustParseAddr("fd00:50::1")}
	settings := engine.Settings{NodeName: "n1", Dataplane: dataplane.Config{
		Link: "kube-ipvs0", Families: []cluster.Family{cluster.IPv4, cluster.IPv6},
		Facts: dataplane.Facts{Schedulers: []string{"lc", "mh", "rr", "sh", "wrr", "wlc"}},
	}}
	b := NewBoard("n1", "v1", func() (ConnectionCounter, error) { return memoryCounter{memory}, nil },
		Origin{Mistakes: directory.Mistakes})
	b.Schedulers, b.started, b.Now = settings.Dataplane.Facts.Schedulers, time.Unix(1e9,
		0).UTC(), func() time.Time { return time.Unix(1e9, 0) }
	e, now := engine.New(settings, memory, watcher), time.Unix(1e9, 0).UTC()
	for more := true; more; {
		r := e.Pass(now, nil, false)
		if err := r.Error(); err != nil {
			t.Fatal(err)
		}
		b.Observe(r)
		more = r.Backlog > 0
	}
	return b, memory
}

func frontEnd(protocol cluster.Protocol, at string) dataplane.VirtualServerID {
	addr := netip.MustParseAddrPort(at)
	return dataplane.VirtualServerID{Addr: addr.Addr(), Port: addr.Port(), Protocol: protocol}
}

// TestPage: the page of a Service lists all that its EndpointSlices have, and says of each endpoint that gets no new
// connections why that is so. cmd/ipvs-proxier prints the same answer.
func TestPage(t *testing.T) {
	b, memory := boardOf(t, "testdata/page.yaml")
	vip := frontEnd(cluster.TCP, "10.96.0.10:80")
	v := memory.State().VirtualServers[vip]
	v.RealServers = append(v.RealServers, rs("10.244.9.9:8080", 0)) // it drains
	memory.State().SetVirtualServer(vip, v)
	memory.Busy = map[dataplane.RealServerID]uint32{
		{VirtualServer: vip, Endpoint: netip.MustParseAddrPort("10.244.2.1:8080")}: 2, // its ceiling
		{VirtualServer: vip, Endpoint: netip.MustParseAddrPort("10.244.1.1:8080")}: 1,
	}
	page := b.Page(cluster.Name{Namespace: "shop", Name: "web"})
	text, err := json.MarshalIndent(page, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/page.json", string(text)+"\n")

	zones := b.Page(cluster.Name{Namespace: "shop", Name: "zones"})
	if all := zones.Services[0].Detail.Endpoints; len(all) != 2 || len(all[0].LeftOut) != 0 || len(all[1].LeftOut) != 1 ||
		all[1].LeftOut[0].Because != string(dataplane.HintsZone) {
		t.Errorf("of the zones b and a there are %+v", all)
	}
	if whole := b.Status(nil); len(whole.Services) != 2 || whole.Services[0].Detail != nil {
		t.Errorf("the status of all has details: %+v", whole.Services)
	}
}

// TestPageSaysWhatTheKernelLacks: a real server that is away, a front end that is away, and one that somebody else
// made.
func TestPageSaysWhatTheKernelLacks(t *testing.T) {
	b, memory := boardOf(t, "testdata/page.yaml")
	because := func() string {
		page := b.Page(cluster.Name{Namespace: "shop", Name: "zones"})
		var all []string
		for _, e := range page.Services[0].Detail.Endpoints {
			for _, l := range e.LeftOut {
				all = append(all, e.Address+" "+strings.Join(l.FrontEnds, ",")+": "+l.Because)
			}
		}
		return strings.Join(all, "\n")
	}
	id := frontEnd(cluster.TCP, "10.96.0.11:80")
	v := memory.State().VirtualServers[id]
	whole := v.RealServers
	v.RealServers = append(append([]dataplane.RealServer(nil), whole...), rs("10.244.7.7:1", 1))
	memory.State().SetVirtualServer(id, v)
	if got, want := because(), "10.244.7.7:1 ClusterIP: no EndpointSlice lists it"; !strings.Contains(got, want) {
		t.Errorf("%s\nwant %s", got, want)
	}
	v.RealServers = nil
	memory.State().SetVirtualServer(id, v)
	if got, want := because(), "10.244.1.1:8080 ClusterIP: the kernel does not have it"; !strings.Contains(got, want) {
		t.Errorf("%s\nwant %s", got, want)
	}
	refused := b.rows[cluster.Name{Namespace: "shop", Name: "zones"}]
	refused.errors = []string{"create real-server tcp 10.96.0.11:80 -> 10.244.1.1:8080 weight 1: no buffer space available"}
	if got, want := because(), "the kernel does not have it, and refuses it: create real-server"; !strings.Contains(
		got, want,
	) {
		t.Errorf("%s\nwant %s", got, want)
	}
	delete(memory.State().VirtualServers, id)
	if got, want := because(), "10.244.1.1:8080 ClusterIP: the kernel does not have the front end"; !strings.Contains(
		got, want,
	) {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestPageSaysWhyAServiceIsNotServed, which may be as it should be.
func TestPageSaysWhyAServiceIsNotServed(t *testing.T) {
	b, _ := boardOf(t, "testdata/page.yaml")
	for name, want := range map[string]string{
		"headless": "it is headless", "elsewhere": "names another proxy", "alone": "an annotation asks",
		"nowhere": "no such Service is known",
	} {
		if s := b.Page(cluster.Name{Namespace: "shop", Name: name}); len(s.Services) != 0 ||
			!strings.Contains(s.Unserved, want) {
			t.Errorf("%s: %d Services, %q; want %q", name, len(s.Services), s.Unserved, want)
		}
	}
	early := NewBoard("n1", "v1", func() (ConnectionCounter, error) { return stubCounter{}, nil },
		Origin{Mistakes: func() []string { return nil }})
	if s := early.Page(cluster.Name{Namespace: "shop", Name: "web"}); s.Unserved != "the first sync is not done" {
		t.Errorf("before the first sync: %q", s.Unserved)
	}
}
