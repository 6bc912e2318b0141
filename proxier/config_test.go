package proxier

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

const head = "apiVersion: ipvs-proxier.io/v1alpha1\nkind: Configuration\n"

func TestReadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(head + `
nodeName: n1
clusterCIDRs: [10.244.0.0/16, "fd00::/56"]
masqueradeBit: 3
scheduler: least-connection
namespaces: {cache: {scheduler: sh}}
drainTimeout: 5m
auditPeriod: 0s
metricsBindAddress: ""
`)
	got, err := ReadConfig(path, Default())
	want := Default()
	want.NodeName, want.ClusterCIDRs, want.MasqueradeBit, want.Scheduler = "n1", []string{
		"10.244.0.0/16", "fd00::/56",
	}, 3, "least-connection"
	want.Namespaces = map[string]Namespace{"cache": {Scheduler: "sh"}}
	want.DrainTimeout, want.AuditPeriod, want.MetricsBindAddress = Duration{5 * time.Minute}, Duration{}, ""
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if s := got.operator(); s.Global["scheduler"] != "lc" || s.Global["drain-timeout"] != "5m0s" ||
		s.Namespaces["cache"]["scheduler"] != "sh" {
		t.Errorf("schedulers %+v", s)
	}
	for text, says := range map[string]string{
		head + "masqueradAll: true\n":               `masqueradAll did you mean "masqueradeAll"`,
		head + "MasqueradeAll: true\n":              "MasqueradeAll masqueradeAll",
		head + "colour: red\n":                      "colour known are nodeName scheduler",
		head + "namespaces: {a: {schedular: rr}}\n": "namespaces.a.schedular",
		head + "drainTimeout: 5\n":                  "drainTimeout",
		head + "drainTimeout: soon\n":               "soon 15m",
		head + "masqueradeAll: [\n":                 "yaml",
		head + "link: a\nlink: b\n":                 "link already set",
		head + "link: a\n---\n" + head:              "more than one document",
		"apiVersion: v2\nkind: Configuration\n":     "v2 ipvs-proxier.io/v1alpha1",
		"kind: KubeProxyConfiguration\n":            "KubeProxyConfiguration Configuration",
		head + "masqueradeAll: maybe\n":             "masqueradeAll",
	} {
		write(text)
		c, err := ReadConfig(path, want)
		if err == nil {
			t.Errorf("%q is taken for good: %+v", text, c)
			continue
		}
		for word := range strings.FieldsSeq(says + " " + path) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q: %q does not say %q", text, err, word)
			}
		}
	}
	if _, err := ReadConfig(path+".none", want); err == nil {
		t.Error("a file that does not exist is read")
	}
}

// TestValidate names the field, what it has and what is allowed; all mistakes at once.
func TestValidate(t *testing.T) {
	good := Default()
	good.NodeName = "n1"
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	namespaces := map[string]Namespace{"a": {Scheduler: "b"}, "b": {MaxConnections: "0"}}
	all, said := good, []string{}
	for says, change := range map[string]func(*Config){
		"nodeName missing":                                  func(c *Config) { c.NodeName = "" },
		"manifests kubeconfig one source":                   func(c *Config) { c.Manifests, c.Kubeconfig = "a", "b" },
		"link 15 a-name-that-is-too-long":                   func(c *Config) { c.Link = "a-name-that-is-too-long" },
		"masqueradeBit 32 between 0 and 31":                 func(c *Config) { c.MasqueradeBit = 32 },
		"clusterCIDRs 10.0.0.0 10.244.0.0/16":               func(c *Config) { c.ClusterCIDRs = []string{"10.0.0.0"} },
		"nodePortAddresses x":                               func(c *Config) { c.NodePortAddresses = []string{"x"} },
		"scheduler roundrobbin mean roundrobin? lc, mh, nq": func(c *Config) { c.Scheduler = "roundrobbin" },
		"namespaces.a.scheduler b lc, mh, nq":               func(c *Config) { c.Namespaces = namespaces },
		"slowStart 1d 30s":                                  func(c *Config) { c.SlowStart = "1d" },
		"schedulerFlags http=port which only a Service":     func(c *Config) { c.SchedulerFlags = "http=port" },
		"namespaces.b.maxConnections 0 9999999":             func(c *Config) { c.Namespaces = namespaces },
		"drainTimeout below":                                func(c *Config) { c.DrainTimeout.Duration = -1 },
		"serviceMetrics 10001 10000":                        func(c *Config) { c.ServiceMetrics = 10001 },
		"auditPeriod 1s":                                    func(c *Config) { c.AuditPeriod.Duration = time.Millisecond },
		"healthzBindAddress localhost:1 127.0.0.1:10249":    func(c *Config) { c.HealthzBindAddress = "localhost:1" },
		"metricsBindAddress 10249":                          func(c *Config) { c.MetricsBindAddress = "10249" },
		"logLevel loud debug, info, warn, error":            func(c *Config) { c.LogLevel = "loud" },
		"logFormat xml text, json":                          func(c *Config) { c.LogFormat = "xml" },
	} {
		bad := good
		change(&bad)
		change(&all)
		said = append(said, strings.Fields(says)[0])
		err := bad.Validate()
		if err == nil {
			t.Errorf("%s: taken for valid", says)
			continue
		}
		for word := range strings.FieldsSeq(says) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q does not say %q", err, word)
			}
		}
	}
	err := all.Validate()
	for _, field := range said {
		if err == nil || !strings.Contains(err.Error(), field+":") {
			t.Errorf("of many mistakes %s is not reported: %v", field, err)
		}
	}
}

// TestFormsOfNodePortAddresses: networks and words in any mix, as kube-proxy 1.37 takes them, and the addresses that
// each leaves node ports on.
func TestFormsOfNodePortAddresses(t *testing.T) {
	node := dataplane.Node{Primary: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}
	const addresses = "192.0.2.1 198.51.100.1 2001:db8::1 2001:db8:1::1"
	for forms, want := range map[string]string{
		"":                                   addresses,
		"all":                                addresses,
		"primary,all":                        addresses,
		"all,198.51.100.0/24,primary":        addresses,
		"0.0.0.0/0,::/0":                     addresses,
		"primary":                            "192.0.2.1 2001:db8::1",
		"primary,primary":                    "192.0.2.1 2001:db8::1",
		"primary,198.51.100.0/24":            "192.0.2.1 198.51.100.1 2001:db8::1",
		"198.51.100.0/24,primary":            "192.0.2.1 198.51.100.1 2001:db8::1",
		"198.51.100.0/24":                    "198.51.100.1 2001:db8::1 2001:db8:1::1",
		"198.51.100.0/24,198.51.100.0/24":    "198.51.100.1 2001:db8::1 2001:db8:1::1",
		"198.51.100.9/24, 2001:db8:1::/64":   "198.51.100.1 2001:db8:1::1",
		"127.0.0.0/8,::1/128":                "",
		"203.0.113.0/24,2001:db8:ffff::/128": "",
	} {
		c := Default()
		c.NodeName = "n1"
		if forms != "" {
			c.NodePortAddresses = strings.Split(forms, ",")
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", forms, err)
			continue
		}
		d := c.dataplane([]cluster.Family{cluster.IPv4, cluster.IPv6}, dataplane.Facts{})
		var served []string
		for text := range strings.FieldsSeq(addresses) {
			if d.ServesNodePortsOn(netip.MustParseAddr(text), node) {
				served = append(served, text)
			}
		}
		if got := strings.Join(served, " "); got != want {
			t.Errorf("%q leaves node ports on %q, want %q", forms, got, want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	for _, text := range []string{head, head + "scheduler: rr\n", "", "- a", head + "namespaces: {a: null}\n", head +
		"drainTimeout: -1s\n", "\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig(text, Default())
		if err != nil {
			if diff := cmp.Diff(Default(), c); diff != "" {
				t.Errorf("an error changed the configuration:\n%s", diff)
			}
			return
		}
		if c.NodeName == "" {
			c.NodeName = "n"
		}
		if c.Validate() == nil {
			c.operator()
			c.dataplane(nil, dataplane.Facts{})
		}
	})
}
