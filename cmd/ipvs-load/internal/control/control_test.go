package control

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
				if err := errors.Join(yaml.UnmarshalStrict([]byte(service), &s), yaml.UnmarshalStrict([]byte(slice), &e)); err != nil {
					t.Fatal(err)
				}
				got := virtualServer{at: netip.AddrPortFrom(netip.MustParseAddr(s.Spec.ClusterIP), uint16(s.Spec.Ports[0].Port))}
				for _, x := range e.Endpoints {
					got.real = append(got.real, netip.AddrPortFrom(netip.MustParseAddr(x.Addresses[0]), uint16(*e.Ports[0].Port)))
				}
				if got.at != want.at || !cmp.Equal(got.real, want.real, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })) {
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
	for _, line := range []string{"TCP  0A600101 rr", "TCP  0A600101:x rr", "TCP  0A60010101:0050 rr", "TCP  [fd00]:0050 rr"} {
		if _, err := parseTable(strings.NewReader(line)); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

func TestUsageOfAProcess(t *testing.T) {
	stat := "7 (a (b) c) S 1 7 7 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 9 0 100 1000000 500 1 1 1 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0"
	u, err := parseUsage(stat, "Name:\tx\nVmHWM:\t   2048 kB\nThreads:\t9\n")
	if err != nil || u.Own != 2*time.Second || u.Children != 500*time.Millisecond || u.PeakRSS != 2<<20 {
		t.Errorf("%+v, %v", u, err)
	}
	if n := parseSwitches("voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t2\n"); n != 7 {
		t.Errorf("%d context switches", n)
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
	if u, err := readUsage(os.Getpid()); err != nil || u.PeakRSS == 0 || u.Switches == 0 || u.Forks == 0 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestAwaitGivesUpWithWhatIsMissing(t *testing.T) {
	v := view{read: func() (table, error) { return table{}, nil }}
	want := []virtualServer{{netip.MustParseAddrPort("10.96.1.1:80"), []netip.AddrPort{netip.MustParseAddrPort("10.244.1.5:8080")}}}
	looks := 0
	_, err := v.await(want, func() error {
		if looks++; looks == 3 {
			return ErrNotConverged
		}
		return nil
	})
	if !errors.Is(err, ErrNotConverged) || !strings.Contains(err.Error(), "1 virtual servers and 1 real servers") || v.longest == 0 {
		t.Errorf("%v, looked every %v", err, v.longest)
	}
}

func TestWhatCannotBeMeasuredIsNamed(t *testing.T) {
	good := Config{Cluster: Cluster{Services: 1, Endpoints: 1}, Timeout: time.Second, Command: []string{"p", "{manifests}"}}
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
	for _, want := range []string{`"netlink_buffers": null`, `"idle": null`, `"p50_ms": 2`, `"max_ms": 3`, `"peak_rss_bytes": 2097152`, "operation not permitted"} {
		if !strings.Contains(json.String(), want) {
			t.Errorf("%s lacks %s", json.String(), want)
		}
	}
	for _, want := range []string{"not measured", "p50 2.0 ms, p99 3.0 ms", "peak RSS 2.0 MiB", "FAILED: the kernel did not get everything"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s lacks %s", text.String(), want)
		}
	}
}
