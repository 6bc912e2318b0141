package control

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"
)

func TestManifestsSayWhatTheKernelShallHave(t *testing.T) {
	for _, c := range []Cluster{{Services: MaxServices, Endpoints: 5}, {Services: MaxServices, Endpoints: 5, IPv6: true}} {
		seen := map[netip.AddrPort]bool{}
		for i := range c.Services {
			v := c.virtualServer(i, 0)
			if seen[v.at] {
				t.Fatalf("two Services have %s", v.at)
			}
			seen[v.at] = true
			if i%997 != 0 {
				continue
			}
			for generation := range 2 {
				want := c.virtualServer(i, generation)
				service, slice, _ := strings.Cut(c.manifest(i, generation), "\n---\n")
				var s v1.Service
				var e discovery.EndpointSlice
				if err := errors.Join(
					yaml.UnmarshalStrict([]byte(service), &s), yaml.UnmarshalStrict([]byte(slice), &e),
				); err != nil {
					t.Fatal(err)
				}
				got := virtualServer{at: netip.AddrPortFrom(netip.MustParseAddr(s.Spec.ClusterIP), uint16(s.Spec.Ports[0].Port))}
				for _, x := range e.Endpoints {
					got.real = append(got.real, netip.AddrPortFrom(netip.MustParseAddr(x.Addresses[0]), uint16(*e.Ports[0].Port)))
				}
				if got.at != want.at ||
					!cmp.Equal(got.real, want.real, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })) {
					t.Errorf("%+v, want %+v", got, want)
				}
				if e.Labels[discovery.LabelServiceName] != s.Name || (got.at.Addr().Is6() != c.IPv6) {
					t.Errorf("%+v", e.ObjectMeta)
				}
			}
			a, b := c.virtualServer(i, 0).real, c.virtualServer(i, 1).real
			if a[0] == b[0] || a[1] != b[1] || c.virtualServer(i, 2).real[0] != a[0] {
				t.Errorf("a change exchanges %v for %v", a, b)
			}
		}
	}
}

const procTable = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600101:0050 rr
  -> 0AF40105:1F90      Masq    1      0          0
  -> 0AF40106:1F90      Masq    0      3          0
UDP  0A600101:0050 rr
  -> 0AF40107:1F90      Masq    1      0          0
TCP  [fd00:0010:0096:0000:0000:0000:0000:0100]:0050 rr persistent 10800
  -> [fd00:0010:0244:0000:0000:0000:0000:0010]:1F90      Masq    1      0          0
FWM  00000001 rr
  -> 0AF40108:1F90      Masq    1      0          0
TCP  0A600102:01BB wrr
`

func TestTheKernelsTable(t *testing.T) {
	got, err := parseTable(strings.NewReader(procTable))
	if err != nil {
		t.Fatal(err)
	}
	ap := netip.MustParseAddrPort
	want := table{
		ap("10.96.1.1:80"):         {ap("10.244.1.5:8080")}, // the other drains
		ap("[fd00:10:96::100]:80"): {ap("[fd00:10:244::10]:8080")},
		ap("10.96.1.2:443"):        {},
	}
	same := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if d := cmp.Diff(want, got, same); d != "" {
		t.Error(d)
	}
	for name, tc := range map[string]struct {
		want          []virtualServer
		virtual, real int
	}{
		"all there":             {[]virtualServer{{ap("10.96.1.1:80"), []netip.AddrPort{ap("10.244.1.5:8080")}}}, 0, 0},
		"nothing of it there":   {[]virtualServer{{ap("10.96.9.9:80"), []netip.AddrPort{ap("10.244.1.5:8080")}}}, 1, 1},
		"one exchanged":         {[]virtualServer{{ap("10.96.1.1:80"), []netip.AddrPort{ap("10.244.1.9:8080")}}}, 0, 2},
		"one that still drains": {[]virtualServer{{ap("10.96.1.1:80"), []netip.AddrPort{ap("10.244.1.5:8080"), ap("10.244.1.6:8080")}}}, 0, 1},
	} {
		if v, r := got.missing(tc.want); v != tc.virtual || r != tc.real {
			t.Errorf("%s: %d and %d, want %d and %d", name, v, r, tc.virtual, tc.real)
		}
	}
	for _, line := range []string{
		"TCP  0A600101 rr", "TCP  0A600101:x rr", "TCP  0A60010101:0050 rr", "TCP  [fd00]:0050 rr",
	} {
		if _, err := parseTable(strings.NewReader(line)); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

const natTable = `*nat
:KUBE-SERVICES - [0:0]
-A KUBE-SEP-A -s 10.244.0.16/32 -m comment --comment "default/load-0:a" -j KUBE-MARK-MASQ
-A KUBE-SEP-A -p tcp -m comment --comment "default/load-0:a -j no" -m tcp -j DNAT --to-destination 10.244.0.16:8080
-A KUBE-SEP-B -p tcp -m comment --comment "default/load-0:a" -m tcp -j DNAT --to-destination 10.244.0.17:8080
-A KUBE-SERVICES -d 10.96.1.0/32 -p tcp -m comment --comment "default/load-0:a cluster IP" -m tcp --dport 80 -j KUBE-SVC-X
-A KUBE-SERVICES -d 10.96.1.1/32 -p udp -m comment --comment "default/dns cluster IP" -m udp --dport 53 -j KUBE-SVC-Y
-A KUBE-SERVICES -d 10.96.1.2/32 -p tcp -m comment --comment "default/load-2:a cluster IP" -m tcp --dport 80 -j KUBE-SVC-Z
-A KUBE-SVC-X -m comment --comment "default/load-0:a -> 10.244.0.16:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-A
-A KUBE-SVC-X -m comment --comment "default/load-0:a -> 10.244.0.17:8080" -j KUBE-SEP-B
-A KUBE-SVC-Z -m comment --comment "default/load-2:a" -j KUBE-SEP-GONE
COMMIT
`

func TestTheRulesOfIptables(t *testing.T) {
	got, err := parseIptables(strings.NewReader(natTable))
	if err != nil {
		t.Fatal(err)
	}
	ap := netip.MustParseAddrPort
	want := table{ap("10.96.1.0:80"): {ap("10.244.0.16:8080"), ap("10.244.0.17:8080")}, ap("10.96.1.2:80"): {}}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
	// Such a poller reads the whole each time.
	reads := 0
	v := poller{read: func() (table, error) {
		if reads++; reads < 3 {
			return table{}, nil
		}
		return got, nil
	}}
	if _, err := v.all([]virtualServer{
		{ap("10.96.1.0:80"), want[ap("10.96.1.0:80")]},
	}, func() error { return nil }); err != nil || reads != 3 {
		t.Errorf("%v after %d reads", err, reads)
	}
	if _, err := v.one(virtualServer{
		ap("10.96.1.0:80"), nil,
	}, func() error { return ErrNotConverged }); !errors.Is(err, ErrNotConverged) {
		t.Errorf("%v", err)
	}
}

func TestUsageOfAProcess(t *testing.T) {
	stat := "7 (a (b) c) S 1 7 7 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 9 0 100 1000000 500 1 1 1 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0"
	u, err := parseUsage(stat, "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\nThreads:\t9\n")
	if err != nil || u.Own != 2*time.Second || u.Children != 500*time.Millisecond || u.PeakRSS != 2<<20 || u.RSS != 1<<20 {
		t.Errorf("%+v, %v", u, err)
	}
	if n := parseSwitches("voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t2\n"); n != 7 {
		t.Errorf("%d context switches", n)
	}
	if d := (Usage{Own: 3, Forks: 50, Tasks: 20}).minus(Usage{Own: 1, Forks: 10, Tasks: 15}); d.Own != 2 ||
		d.Ended() != 35 {
		t.Errorf("%+v, %d ended", d, d.Ended())
	}
	if n, err := parseTasks("0.00 0.01 0.05 1/123 4567\n"); n != 123 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if x, err := parseTimes("cpu  1 2 3 40 5 6 7 8 9 10\ncpu0 1\n"); x != (times{45, 72}) || err != nil {
		t.Errorf("%+v, %v", x, err)
	}
	for _, stat := range []string{"", "7 (x) S 1", "7 (x) S 1 7 7 0 -1 4194560 100 200 0 0 a 50 30 20 20 0 9 0 100"} {
		if _, err := parseUsage(stat, ""); err == nil {
			t.Errorf("%q is taken", stat)
		}
	}
	if n, err := parseForks("cpu 1\nprocesses 42\n"); n != 42 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	// And what this kernel really writes.
	if u, err := readUsage(os.Getpid()); err != nil || u.PeakRSS == 0 || u.RSS == 0 || u.Switches == 0 || u.Forks == 0 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestLookingGivesUpWithWhatIsMissing(t *testing.T) {
	want := []virtualServer{
		{netip.MustParseAddrPort("10.96.1.1:80"), []netip.AddrPort{netip.MustParseAddrPort("10.244.1.5:8080")}},
	}
	for name, n := range map[string]int{"no virtual server is there": 0, "one without its real server is there": 1} {
		v := poller{
			read:  func() (table, error) { return table{}, nil },
			count: func() (int, bool, error) { return n, true, nil },
			real:  func(netip.AddrPort) ([]netip.AddrPort, bool, error) { return nil, n > 0, nil },
		}
		looks := 0
		_, err := v.all(want, func() error {
			if looks++; looks == 3 {
				return ErrNotConverged
			}
			return nil
		})
		if !errors.Is(err, ErrNotConverged) || !strings.Contains(err.Error(), "1 virtual servers and 1 real servers") ||
			v.longest == 0 {
			t.Errorf("%s: %v, looked every %v", name, err, v.longest)
		}
	}
}

// The time of the last real server is that of the look that showed it, though the table of all leaves it out. The
// kernel's table does so while another network namespace has virtual servers, too.
func TestTheLastRealServerTellsTheTime(t *testing.T) {
	at, real := netip.MustParseAddrPort("10.96.1.1:80"), []netip.AddrPort{netip.MustParseAddrPort("10.244.1.5:8080")}
	var looks, reads int
	var began, shown time.Time
	v := poller{
		read: func() (table, error) {
			if reads++; reads > 10 {
				return nil, errors.New("read again and again")
			}
			return table{at: {}}, nil
		},
		count: func() (int, bool, error) { return 1, true, nil },
		real: func(netip.AddrPort) ([]netip.AddrPort, bool, error) {
			if looks++; looks < 3 {
				return nil, true, nil
			}
			shown = time.Now()
			return real, true, nil
		},
	}
	began = time.Now()
	when, err := v.all([]virtualServer{{at, real}}, func() error { return nil })
	if err != nil || when.After(shown) || !when.After(began) || reads != 1 || looks != 3 {
		t.Errorf("%v, began %v, shown %v, said %v, %d reads and %d looks", err, began, shown, when, reads, looks)
	}
}

func message(kind, flags uint16, payload ...byte) []byte {
	m := binary.NativeEndian.AppendUint32(nil, uint32(16+len(payload)))
	m = binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(m, kind), flags)
	return append(append(m, make([]byte, 8)...), payload...)
}

func TestRequestsThatWriteAreTold(t *testing.T) {
	const ipvs, request = 30, unix.NLM_F_REQUEST
	var r Requests
	for _, c := range []struct {
		protocol uint16
		buffer   []byte
		wrote    bool
	}{
		{unix.NETLINK_GENERIC, append(message(ipvs, request, 1, 1, 0, 0), message(ipvs, request, 5, 1, 0, 0)...), true},
		{unix.NETLINK_GENERIC, message(ipvs, request|unix.NLM_F_DUMP, 4, 1, 0, 0), false},
		{unix.NETLINK_GENERIC, message(ipvs+1, request, 1, 1, 0, 0), false}, // another family
		{unix.NETLINK_GENERIC, message(ipvs, 0, 1, 1, 0, 0), false},         // an answer
		{unix.NETLINK_ROUTE, message(unix.RTM_NEWADDR, request), true},
		{unix.NETLINK_ROUTE, message(unix.RTM_GETROUTE, request|unix.NLM_F_DUMP), false},
		{unix.NETLINK_ROUTE, message(unix.RTM_SETLINK, request), true},
		{unix.NETLINK_NETFILTER, message(6<<8|9, request), true},
		{unix.NETLINK_NETFILTER, message(6<<8|7, request), false},
		{unix.NETLINK_NETFILTER, message(16, request), false},   // a transaction begins
		{unix.NETLINK_NETFILTER, message(10<<8, request), true}, // NFT_MSG_NEWTABLE
		{unix.NETLINK_NETFILTER, message(10<<8|1, request), false},
		{unix.NETLINK_NETFILTER, message(10<<8|16, request), false}, // NFT_MSG_GETGEN
		{unix.NETLINK_NETFILTER, message(1<<8|2, request), true},    // a connection is forgotten
		{unix.NETLINK_SOCK_DIAG, message(20, request), false},
		{unix.NETLINK_ROUTE, []byte{200, 0, 0, 0}, false},
	} {
		if wrote := r.add(c.protocol, c.buffer, ipvs); wrote != c.wrote {
			t.Errorf("protocol %d, % x: wrote is %v", c.protocol, c.buffer, wrote)
		}
	}
	want := map[string]int64{
		"ipvs new-service": 1, "ipvs new-dest": 1, "route new-addr": 1, "route set-link": 1, "ipset add": 1,
		"nftables change": 1, "conntrack 2": 1,
	}
	if d := cmp.Diff(want, r.Writes); d != "" || r.Messages != 14 || r.Sum() != 7 {
		t.Errorf("%d messages: %s", r.Messages, d)
	}
	later := r.clone()
	later.add(unix.NETLINK_ROUTE, message(unix.RTM_NEWADDR, request), ipvs)
	if d := later.minus(r); d.Messages != 1 || d.Sum() != 1 || d.Writes["route new-addr"] != 1 {
		t.Errorf("%+v", d)
	}
}

const metricsPage = `# TYPE d histogram
d_bucket{stage="total",le="0.001"} 2
d_bucket{stage="total",le="0.002"} 6
d_bucket{stage="total",le="+Inf"} 6
d_sum{stage="total"} 1
other_bucket{le="1"} 5
d_bucket{stage="watch",le="+Inf"} 0
`

func parsed(t *testing.T, page string) series {
	t.Helper()
	s, err := parseSeries(page)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHistogramsOfAProxy(t *testing.T) {
	page := parsed(t, metricsPage)
	h := page.histogram("d")
	total := h[`stage="total"`]
	if len(h) != 2 || len(total) != 3 {
		t.Fatalf("%v", h)
	}
	if v, some := quantile(total, 0.5); !some || math.Abs(v-0.00125) > 1e-9 {
		t.Errorf("%v", v)
	}
	if v, some := quantile(since([]bucket{{0.001, 2}, {0.002, 2}, {math.Inf(1), 2}}, total), 0.5); !some ||
		math.Abs(v-0.0015) > 1e-9 {
		t.Errorf("%v", v)
	}
	if v, some := quantile([]bucket{{0.001, 0}, {math.Inf(1), 3}}, 0.5); !some || v != 0.001 {
		t.Errorf("above the last bound: %v", v)
	}
	if _, some := quantile(h[`stage="watch"`], 0.5); some {
		t.Error("a quantile of nothing")
	}
	if len(page.histogram("other")) != 1 {
		t.Error("a histogram without labels is not read")
	}
}

func TestCountersOfAProxy(t *testing.T) {
	m := measurement{config: &Config{Counters: []string{`c_total{of="a"}`, "plain", "missing", `c_total{of="late"}`}}}
	const before = "# TYPE c_total counter\nc_total{of=\"a\"} 1.5\nc_total{of=\"ab\"} 7\nplain 2\nplainer 9\n"
	const after = "c_total{of=\"ab\"} 70\nc_total{of=\"late\"} 3\nc_total{of=\"a\"} 4\nplainer 90\nplain 1e+01\n"
	want := map[string]float64{`c_total{of="a"}`: 2.5, "plain": 8}
	if got := m.counters(parsed(t, before), parsed(t, after)); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := m.counters(nil, nil); len(got) != 0 {
		t.Errorf("%v of nothing", got)
	}
}

// TestSeriesAreReadAsTheyMayBeWritten: labels in any order, with commas, brackets and quotes in them, and the sum and
// count of a histogram.
func TestSeriesAreReadAsTheyMayBeWritten(t *testing.T) {
	page := parsed(t, "# TYPE d histogram\nd_bucket{le=\"1\",of=\"a, b}\"} 2\nd_bucket{le=\"+Inf\",of=\"a, b}\"} 3\nd_sum{of=\"a, b}\"} 7\nd_count{of=\"a, b}\"} 3\n"+
		"c{x=\"1\",y=\"\\\"\"} 5 1700000000000\n")
	if got, want := page.histogram("d"), map[string][]bucket{
		`of="a, b}"`: {{1, 2}, {math.Inf(1), 3}},
	}; !cmp.Equal(got, want, cmp.AllowUnexported(bucket{})) {
		t.Errorf("%v, want %v", got, want)
	}
	for name, want := range map[string]float64{`c{y="\"",x="1"}`: 5, `d_sum{of="a, b}"}`: 7, `d_count{of="a, b}"}`: 3} {
		if got, is := page.value(name); !is || got != want {
			t.Errorf("%s is %v, %v; want %v", name, got, is, want)
		}
	}
	if s, err := parseSeries("a 1\n<html>\n"); err == nil {
		t.Errorf("what is no page of metrics is read: %v", s)
	}
}

// fakeAPI is as much of an API server as is asked.
type fakeAPI struct {
	mu      sync.Mutex
	objects map[string]map[string]any
	writes  int
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := r.URL.Path
	if r.Method == http.MethodGet {
		var items []any
		for _, at := range slices.Sorted(maps.Keys(f.objects)) {
			if strings.HasPrefix(at, path+"/") {
				items = append(items, f.objects[at])
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"items": items})
		return
	}
	f.writes++
	object := map[string]any{}
	switch r.Method {
	case http.MethodDelete:
		if f.objects[path] == nil {
			http.Error(w, `{"message": "not found"}`, http.StatusNotFound)
			return
		}
		delete(f.objects, path)
		return
	case http.MethodPost:
		_ = json.NewDecoder(r.Body).Decode(&object)
		path += "/" + object["metadata"].(map[string]any)["name"].(string)
		if f.objects[path] != nil {
			http.Error(w, `{"message": "already there"}`, http.StatusConflict)
			return
		}
	case http.MethodPut:
		_ = json.NewDecoder(r.Body).Decode(&object)
	}
	f.objects[path] = object
}

func TestTheAPIGetsWhatAMeasurementNeeds(t *testing.T) {
	f := &fakeAPI{
		objects: map[string]map[string]any{servicesPath + "/kubernetes": {"metadata": map[string]any{"name": "kubernetes"}}},
	}
	server := httptest.NewServer(f)
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: \"" + server.URL +
		"\"}}]\ncontexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n"
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := dialAPI(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	// From nothing to 20, again, back to 5, with a slice that a change has left behind, and over to the other family.
	for _, step := range []struct {
		cluster Cluster
		writes  int
	}{
		{Cluster{Services: 20, Endpoints: 3}, 40}, {Cluster{Services: 20, Endpoints: 3}, 0}, {Cluster{Services: 5, Endpoints: 3}, 31},
		{Cluster{Services: 5, Endpoints: 3, IPv6: true}, 20},
	} {
		if step.cluster.Services == 5 && !step.cluster.IPv6 {
			_, slice, err := step.cluster.objects(2, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.do(ctx, http.MethodPut, slicesPath+"/"+sliceName(2), slice, nil); err != nil {
				t.Fatal(err)
			}
		}
		f.writes = 0
		if err := a.ensure(ctx, &step.cluster); err != nil || f.writes != step.writes {
			t.Fatalf("%+v: %v, %d writes, want %d", step.cluster, err, f.writes, step.writes)
		}
		have, err := a.list(ctx)
		if err != nil || len(have.services) != step.cluster.Services || len(have.slices) != step.cluster.Services {
			t.Fatalf("%+v: %v, %d and %d", step.cluster, err, len(have.services), len(have.slices))
		}
		for n, addresses := range have.slices {
			if want := step.cluster.endpoint(n, 0, 0).String(); len(addresses) != 3 || addresses[0] != want ||
				have.services[n] != step.cluster.clusterIP(n).String() {
				t.Errorf("%+v, Service %d: %v at %s", step.cluster, n, addresses, have.services[n])
			}
		}
	}
	if f.objects[servicesPath+"/kubernetes"] == nil {
		t.Error("another Service is gone")
	}
	if err := a.do(ctx, http.MethodDelete, servicesPath+"/nobody", nil, nil); err == nil ||
		!strings.Contains(err.Error(), "not found") {
		t.Errorf("%v", err)
	}
}

func TestWhatCannotBeMeasuredIsNamed(t *testing.T) {
	good := Config{
		Cluster: Cluster{Services: 1, Endpoints: 1}, Timeout: time.Second, Command: []string{"p", "{manifests}"},
	}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"services 0 are out of range":     func(c *Config) { c.Services = 0 },
		"endpoints 1001 are out of range": func(c *Config) { c.Endpoints = 1001 },
		"no proxy is given":               func(c *Config) { c.Command = nil },
		"changes -1 are out of range":     func(c *Config) { c.Changes = -1 },
		"idle -1s is out of range":        func(c *Config) { c.Idle = -time.Second },
		"timeout 0s is out of range":      func(c *Config) { c.Timeout = 0 },
		"has no {manifests} in it":        func(c *Config) { c.Command = []string{"kube-proxy"} },
		"apply \"kubectl\" has no {file}": func(c *Config) { c.Apply = "kubectl" },
		"pause -1s is out of range":       func(c *Config) { c.Pause = -time.Second },
		"give one":                        func(c *Config) { c.Apply, c.Kubeconfig = "kubectl apply -f {file}", "k" },
		"how the proxy reports":           func(c *Config) { c.Restart = true },
		"metrics and histogram":           func(c *Config) { c.Metrics = "http://x" },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestTheReportHasNoFigureThatWasNotMeasured(t *testing.T) {
	c := Config{Cluster: Cluster{Services: 1, Endpoints: 1}, Command: []string{"proxy"}}
	r := &Result{
		First: Part{Took: time.Second, Usage: Usage{Own: time.Second, PeakRSS: 1 << 20}}, NoNetlink: "operation not permitted",
		Changes: []time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond}, Change: Part{Took: time.Second, Usage: Usage{PeakRSS: 2 << 20}},
	}
	p := NewReport("v1", c, r, ErrNotConverged, false)
	var json, text strings.Builder
	if err := errors.Join(p.WriteJSON(&json), p.WriteText(&text)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"netlink_buffers": null`, `"netlink_writes": null`, `"complete_s": null`, `"restart": null`, `"idle": null`,
		`"p50_ms": 2`, `"max_ms": 3`, `"peak_rss_bytes": 2097152`, "operation not permitted",
	} {
		if !strings.Contains(json.String(), want) {
			t.Errorf("%s lacks %s", json.String(), want)
		}
	}
	for _, want := range []string{
		"not measured", "p50 2.0 ms, p99 3.0 ms", "peak RSS 2.0 MiB", "FAILED: the kernel did not get everything",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s lacks %s", text.String(), want)
		}
	}
}
