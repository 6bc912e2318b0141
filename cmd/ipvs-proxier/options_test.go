package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func complete(t *testing.T, args ...string) (proxier.Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o := newOptions(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o.complete()
}

// TestFlagsOverrideTheFile, which overrides the defaults; a flag that was not given overrides nothing.
func TestFlagsOverrideTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "apiVersion: ipvs-proxier.io/v1alpha1\nkind: Configuration\nnodeName: from-file\nscheduler: lc\ndrainTimeout: 1m\nmetricsBindAddress: 127.0.0.1:1\nclusterCIDRs: [10.0.0.0/8]\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	want := proxier.Default()
	want.NodeName, want.Scheduler, want.DrainTimeout.Duration, want.MetricsBindAddress, want.ClusterCIDRs = "from-file", "lc", time.Minute, "127.0.0.1:1", []string{
		"10.0.0.0/8",
	}
	got, err := complete(t, "--config", file)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("the file: %v\n%s", err, diff)
	}
	// A flag with its default value, and an empty one, override too.
	want.Scheduler, want.MetricsBindAddress, want.NodeName, want.ClusterCIDRs = "rr", "", "from-flag", []string{
		"10.1.0.0/16", "fd00::/8",
	}
	got, err = complete(t, "--config", file, "--ipvs-scheduler", "rr", "--metrics-bind-address", "",
		"--hostname-override", "from-flag", "--cluster-cidr", "10.1.0.0/16,fd00::/8")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("flags over the file: %v\n%s", err, diff)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got, err = complete(t); err != nil || got.NodeName != strings.ToLower(host) {
		t.Errorf("nothing given: node name %q, %v; want the host's", got.NodeName, err)
	}
}

// TestEveryFlagCounts: each flag changes the configuration.
func TestEveryFlagCounts(t *testing.T) {
	values := map[string]string{
		"manifests": "/m", "kubeconfig": "/k", "node-name": "other", "hostname-override": "other", "link": "l0",
		"cluster-cidr": "10.0.0.0/8", "masquerade-all": "true",
		"iptables-masquerade-bit": "3", "nodeport-addresses": "10.0.0.0/8", "ipvs-scheduler": "lc",
		"ipvs-strict-arp": "true", "drain-timeout": "1s", "audit-period": "1h", "ipvs-sync-period": "1h",
		"contest-after": "7", "contest-window": "1m",
		"api-servers": "https://192.0.2.1:6443", "service-proxy-name": "other", "detect-local-mode": "NodeCIDR",
		"pod-bridge-interface": "cbr0", "pod-interface-name-prefix": "veth",
		"external-ip-cidrs": "192.0.2.0/24", "answer-ping": "true", "ipvs-exclude-cidrs": "192.0.2.0/24",
		"ipvs-tcp-timeout": "1h", "ipvs-tcpfin-timeout": "1m", "ipvs-udp-timeout": "1m",
		"ipvs-min-sync-period": "1s", "conntrack-max-per-core": "1", "conntrack-min": "1",
		"conntrack-tcp-timeout-established": "1h", "conntrack-tcp-timeout-close-wait": "1m",
		"conntrack-udp-timeout": "1m", "conntrack-udp-timeout-stream": "1m", "conntrack-tcp-be-liberal": "true",
		"take-over": "kube-proxy", "watch-nodes": "own", "vip-mode": "route", "netfilter": "nftables", "iptables": "legacy",
		"max-view-age": "5m", "service-metrics": "100", "masquerade-ports": "40000-50000", "node-weights": "none",
		"protected-ports": "22,2379-2381",
		"scheduler-flags": "port", "slow-start": "30s", "max-connections": "100", "ignore-aliases": "true",
		"healthz-bind-address": "", "metrics-bind-address": "", "socket": "", "state-dir": "", "log-level": "debug",
		"log-format": "json",
	}
	before, err := complete(t, "--node-name", "n")
	if err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	newOptions(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" {
			return
		}
		value, known := values[f.Name]
		if !known {
			t.Errorf("--%s: this test knows no value for it", f.Name)
			return
		}
		args := []string{"--node-name", "n", "--" + f.Name + "=" + value}
		if after, err := complete(t, args...); err != nil || cmp.Equal(before, after) {
			t.Errorf("--%s=%s changes nothing: %v", f.Name, value, err)
		}
	})
}

// TestWrongFlagValues are wrong use, and named.
func TestWrongFlagValues(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--ipvs-scheduler leastconnection", "leastconnection did you mean least-connection lc, rr, sh"},
		{"--cluster-cidr 10.244.0.0", "10.244.0.0 10.244.0.0/16"},
		{"--config /nowhere", "/nowhere"},
		{"--manifests a --kubeconfig b", "one source"},
		{"--detect-local-mode NodeCidr", "NodeCidr NodeCIDR"},
		{"--detect-local-mode BridgeInterface", "podBridgeInterface"},
		{"--ipvs-tcp-timeout 1500ms", "tcpTimeout seconds"},
		{"--conntrack-min -1", "conntrack.min"},
		{"--take-over kubeproxy", "kubeproxy kube-proxy kube-router"},
		{"--api-servers 192.0.2.1:6443", "192.0.2.1:6443 https://"},
		{"--api-servers https://REPLACE-WITH-YOUR-API-SERVER:6443", "placeholder 192.0.2.1"},
		{"--nodeport-addresses primary,secondary", "secondary 10.244.0.0/16 primary all"},
		{"--nodeport-addresses primary,localhost", "nodePortAddresses localhost loopback"},
		{"--nodeport-addresses Primary", "Primary primary all"},
		{"--nodeport-addresses 192.0.2.1", "192.0.2.1 10.244.0.0/16"},
		{"--service-proxy-name a/b", "serviceProxyName"},
		{"--state-dir run", "stateDir absolute /run/ipvs-proxier"},
		{"--socket run/s", "socket absolute 107 /run/ipvs-proxier/ipvs-proxier.sock"},
		{"--socket /" + strings.Repeat("s", 107), "socket absolute 107"},
	} {
		_, err := complete(t, strings.Fields(c.args)...)
		if _, usage := err.(usageError); !usage {
			t.Errorf("%s: %v; want wrong use", c.args, err)
			continue
		}
		for word := range strings.FieldsSeq(c.says) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q does not say %q", c.args, err, word)
			}
		}
	}
}

// TestStatusTable shows what an operator has to know, aligned, and what is wrong below.
func TestStatusTable(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := proxier.Status{
		Node: "n1", Healthy: true, Draining: 1, Verdict: "DRIFT: 3 objects", Wrong: true, Unready: []string{"too old"},
		Manifests: []string{"a.yaml: line 3: bad"},
		Services: []proxier.ServiceStatus{
			{Namespace: "ns", Name: "web", Changed: now.Add(-90 * time.Second), FrontEnds: []proxier.FrontEndStatus{
				{Kind: "ClusterIP", Protocol: "tcp", Address: "10.96.0.1:80", Scheduler: "sh", Flags: "fallback", Affinity: 600,
					Source: "default", Programmed: true, RealServers: []proxier.RealServerStatus{
						{Address: "10.0.0.1:80", Weight: 1, Active: 3, Inactive: 4, Wanted: true, State: "ok"}, {Address: "10.0.0.2:80", Active: 1, State: "draining"},
						{Address: "10.0.0.3:80", Wanted: true, State: "missing", Differs: "want weight 7"},
					}, State: "differs", Differs: "scheduler lc, want sh"},
				{Kind: "NodePort", Protocol: "tcp", Address: "192.0.2.1:30080", Scheduler: "rr", Flags: "none", LostTo: "ns/old"},
				{Kind: "ClusterIP", Protocol: "udp", Address: "10.96.0.1:53", Scheduler: "rr", Flags: "none", Programmed: true, State: "ok"},
				{Kind: "ClusterIP", Protocol: "udp", Address: "10.96.0.1:55", Scheduler: "rr", Flags: "none", Programmed: true, State: "missing"},
				{Kind: "ClusterIP", Protocol: "udp", Address: "10.96.0.1:54", Scheduler: "rr", Flags: "none"},
			}, Problems: []proxier.ProblemStatus{{Reason: "InvalidAnnotation", Field: "f", Message: "m"}}},
			{Namespace: "ns", Name: "empty", Changed: now},
		},
	}
	var out bytes.Buffer
	if err := printStatus(plain(&out), s, "wide", false, now); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"node n1: DRIFT: 3 objects\n", "2 services, 1 real servers drain", "sh (fallback), affinity 600s",
		"1m       DIFFERS: scheduler lc, want sh; ok\n", "  draining\n",
		"MISSING: want weight 7\n", "lost to ns/old", "none: refused", "NOT PROGRAMMED", "  MISSING\n", "not ready: too old",
		"problem: ns/web InvalidAnnotation: f: m", "manifest: a.yaml: line 3: bad",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table does not show %q:\n%s", want, text)
		}
	}
	for _, raw := range []string{"\x1b", "m\n"} {
		out.Reset()
		hostile := s
		hostile.Manifests = []string{raw}
		hostile.Services = []proxier.ServiceStatus{{Namespace: "ns", Name: raw,
			Problems:  []proxier.ProblemStatus{{Reason: "InvalidField", Field: raw, Message: raw}},
			FrontEnds: []proxier.FrontEndStatus{{LostTo: raw}}}}
		if err := printStatus(plain(&out), hostile, "wide", false, now); err != nil || strings.Contains(out.String(), raw) {
			t.Errorf("%v; the table shows %q as it is:\n%q", err, raw, out.String())
		}
	}
	limit := 1000
	for want, connections := range map[string]*proxier.ConnectionsStatus{
		"": nil,
		"connections: 7 at the last audit, in a table of 4096 buckets\n":                 {Connections: 7, Counted: "audit", Buckets: 4096, MaxBuckets: 4096},
		"connections: 7 of at most 1000, in a table of 256 buckets that grows to 4096\n": {Connections: 7, Counted: "kernel", Buckets: 256, MaxBuckets: 4096, MaxConnections: &limit},
		"connections: 0 at the last audit\n":                                             {Counted: "audit"},
	} {
		out.Reset()
		s.Connections = connections
		if err := printStatus(plain(&out), s, "wide", false, now); err != nil || !strings.Contains(out.String(), want) ||
			want == "" && strings.Contains(out.String(), "connections:") {
			t.Errorf("%v; the table does not show %q:\n%s", err, want, out.String())
		}
	}
	for _, format := range []string{"json", "yaml"} {
		out.Reset()
		if err := printStatus(plain(&out), s, format, false, now); err != nil || !strings.Contains(out.String(), "lostTo") {
			t.Errorf("%s: %v\n%s", format, err, out.String())
		}
	}
	if err := printStatus(plain(&out), s, "xml", false, now); err == nil || !strings.Contains(err.Error(), "json") {
		t.Errorf("xml: %v", err)
	}
}

// TestWarningIsWarn: other programs call the level so.
func TestWarningIsWarn(t *testing.T) {
	if c, err := complete(t, "--log-level=warning"); err != nil || c.LogLevel != "warn" {
		t.Errorf("%q, %v", c.LogLevel, err)
	}
}
