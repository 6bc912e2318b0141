package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

// observation has something in each of its fields, and in each field of a State.
func observation() dataplane.Observation {
	c := dataplane.Config{
		Families: []cluster.Family{cluster.IPv4, cluster.IPv6}, MasqueradeMark: 1 << 14, Link: dataplane.DefaultLink, MasqueradePorts: [2]uint16{32768, 65535},
		Pods:  dataplane.Pods{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}},
		Facts: dataplane.Facts{KernelMajor: 6, KernelMinor: 12, RandomFully: true, IPVSMatch: true}, StrictARP: true,
	}
	s := dataplane.Foundation(c)
	e := cluster.Endpoint{Addr: addr("10.244.1.1"), Port: 8080, Ready: true, Serving: true, Local: true, Weight: 3}
	service := cluster.Service{
		Name: cluster.Name{Namespace: "shop", Name: "web"}, ClusterIPs: []netip.Addr{addr("10.96.0.1")}, LoadBalancerIPs: []netip.Addr{addr("203.0.113.1")},
		SourceRanges: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, HealthCheckNodePort: 30999, Affinity: time.Minute,
		Ports: []cluster.ServicePort{{Name: "http", Protocol: cluster.TCP, Port: 80, NodePort: 30080, Scheduler: "sh", Endpoints: []cluster.Endpoint{e}}},
	}
	node := dataplane.Node{Name: "n1", Addresses: []netip.Addr{addr("192.168.50.1"), addr("fd00:50::1")}}
	f := dataplane.Compile(service, node, c)
	for _, front := range f.FrontEnds {
		s.SetVirtualServer(front.ID, front.VirtualServer)
		for entry := range front.Entries.All() {
			s.Entries.Put(entry)
		}
		if front.Bind {
			s.Addresses[front.ID.Addr] = struct{}{}
		}
	}
	s.Routes[addr("10.96.0.2")] = addr("192.168.50.1")
	s.Routes[addr("fd00:10:96::2")] = netip.Addr{}
	s.Closed[cluster.IPv6] = struct{}{}
	id := dataplane.ChainID{Family: cluster.IPv4, Table: "nat", Name: "IPVSP-OLD"}
	s.Chains[id] = dataplane.Chain{
		ID: id, Rules: []dataplane.Rule{{Unknown: "-j LOG", Sets: []string{"a"}, Jumps: []string{"b"}}}, Sets: []string{"a"},
	}
	foreign := dataplane.VirtualServerID{Addr: addr("192.0.2.1"), Port: 53, Protocol: cluster.UDP}
	return dataplane.Observation{
		State: s, Foreign: map[dataplane.VirtualServerID]dataplane.VirtualServer{foreign: {Scheduler: "rr", OnePacket: true, RealServers: []dataplane.RealServer{{Addr: addr("192.0.2.2"), Port: 53, Foreign: true}}}},
		NodeAddresses: node.Addresses, Broadcasts: []netip.Addr{addr("192.168.50.255")},
		Listeners: []dataplane.Listener{{Protocol: cluster.TCP, Addr: addr("::"), Port: 22}},
		Captures: dataplane.NewCaptures([]dataplane.Capture{{Family: cluster.IPv4, Hook: "PREROUTING", Rule: "-j DNAT",
			To: dataplane.Destination{{
				Network: netip.MustParsePrefix("10.96.0.9/32"),
			}, {Ports: [][2]uint16{{80, 81}}}, {Not: true, Protocol: cluster.UDP}},
			But: []dataplane.Destination{{{Protocol: cluster.SCTP}}}}}),
		UnreadRules: []string{"nft is missing"}, Connections: 7,
	}
}

// TestAKernelComesBack as it was written, field by field, so that explain says of it what it says of the kernel.
func TestAKernelComesBack(t *testing.T) {
	seen := observation()
	all := reflect.ValueOf(seen)
	for i := range all.NumField() {
		if all.Field(i).IsZero() {
			t.Fatalf("the test has nothing in Observation.%s", all.Type().Field(i).Name)
		}
	}
	state := reflect.ValueOf(*seen.State)
	for i := range state.NumField() {
		if f := state.Field(i); f.Kind() == reflect.Map && f.Len() == 0 {
			t.Fatalf("the test has nothing in State.%s", state.Type().Field(i).Name)
		}
	}
	id := dataplane.VirtualServerID{Addr: addr("10.96.0.1"), Port: 80, Protocol: cluster.TCP}
	before := Kernel{seen, map[dataplane.VirtualServerID][]dataplane.Connections{
		id: {{Addr: addr("10.244.1.1"), Port: 8080, Active: 1, Inactive: 2}},
	}}
	text, err := before.Encode()
	if err != nil {
		t.Fatal(err)
	}
	after, err := DecodeKernel(text)
	if err != nil {
		t.Fatal(err)
	}
	compareAs := cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b dataplane.Captures) bool { return a.Same(b) }),
		cmp.Comparer(func(a, b dataplane.Entries) bool {
			return cmp.Equal(a.Sorted(), b.Sorted(), cmp.Comparer(func(a, b dataplane.SetEntry) bool { return a == b }))
		}),
		cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".serversAt" }, cmp.Ignore()),
	}
	if diff := cmp.Diff(before.Seen, after.Seen, compareAs); diff != "" {
		t.Errorf("what comes back is something else (-written +read):\n%s", diff)
	}
	if diff := cmp.Diff(before.Connections[id], after.Connections[id], compareAs); diff != "" {
		t.Errorf("connections (-written +read):\n%s", diff)
	}
	again, err := after.Encode()
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("it is written otherwise the second time: %v", err)
	}
	for name, bad := range map[string]string{"no JSON": "{", "a match of another version": strings.Replace(string(text),
		`"Type": "InSet"`, `"Type": "InHeaven"`, 1)} {
		if _, err := DecodeKernel([]byte(bad)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

func made(t *testing.T) []byte {
	t.Helper()
	m := Maker{Index: Index{Made: time.Unix(1e9, 0), Version: "v1", Node: "n1"}}
	m.Add("status.json", "what the daemon says", []byte("{}"), nil)
	m.Add("metrics.txt", "its metrics", nil, errors.New("connection refused"))
	m.Add("large.txt", "nobody asks for it", bytes.Repeat([]byte("x"), 1<<16), nil)
	var out bytes.Buffer
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestAnArchiveComesBack: what was added is read again. The reason for what is missing is in the index, in the text and
// in the error.
func TestAnArchiveComesBack(t *testing.T) {
	a, err := Read(bytes.NewReader(made(t)), "status.json", "metrics.txt", ReadmeName)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := a.File("status.json"); err != nil || string(text) != "{}" {
		t.Errorf("status.json: %q, %v", text, err)
	}
	if _, err := a.File("metrics.txt"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("of what is missing: %v", err)
	}
	if _, err := a.File("nothing.txt"); err == nil {
		t.Error("what nobody has put in is there")
	}
	if readme, err := a.File(ReadmeName); err != nil || !strings.Contains(string(readme), "MISSING: connection refused") ||
		string(readme) != a.Index.Text() {
		t.Errorf("%v: the text is\n%s", err, readme)
	}
	if missing := a.Index.Missing(); len(missing) != 1 || missing[0].Name != "metrics.txt" ||
		!a.Index.Made.Equal(time.Unix(1e9, 0)) {
		t.Errorf("the index is %+v", a.Index)
	}
}

// TestWhatIsNoArchiveIsSaid: another file, half an archive, one of another format, and one that never ends.
func TestWhatIsNoArchiveIsSaid(t *testing.T) {
	zip := func(name, content string) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		w := tar.NewWriter(z)
		_ = w.WriteHeader(&tar.Header{Name: "d/" + name, Size: int64(len(content)), Mode: 0o600})
		_, _ = w.Write([]byte(content))
		_ = w.Close()
		_ = z.Close()
		return out.Bytes()
	}
	whole := made(t)
	for name, c := range map[string]struct {
		text []byte
		most int64
		want string
	}{
		"text":              {[]byte("hello"), MaxBytes, "no archive"},
		"nothing":           {nil, MaxBytes, "no archive"},
		"half":              {whole[:len(whole)/2], MaxBytes, "no archive"},
		"no index":          {zip("other", "x"), MaxBytes, "no index.json"},
		"no JSON":           {zip(IndexName, "x"), MaxBytes, "index.json of the archive"},
		"another format":    {zip(IndexName, `{"format":2,"version":"v9"}`), MaxBytes, "format 2; this version reads 1: take the ipvs-proxier that made it (v9)"},
		"more than allowed": {whole, 4096, "more than 4096 bytes"},
	} {
		if _, err := read(bytes.NewReader(c.text), c.most, []string{"status.json"}); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
