package convert

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// printed is a result as it is printed, or the error.
func printed(t *testing.T, r *Result, err error) string {
	t.Helper()
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	file, err := proxier.WriteConfig(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	back, err := proxier.ReadConfig(path, proxier.Default())
	if diff := cmp.Diff(r.Config, back); err != nil || diff != "" {
		t.Errorf("what is written is read otherwise: %v\n%s", err, diff)
	}
	out := string(file)
	for _, note := range r.Notes {
		word := "note: "
		if note.Lost {
			word = "lost: "
		}
		out += word + note.String() + "\n"
	}
	return out
}

// configMap is an item of a list: a ConfigMap that holds a configuration of kube-proxy.
func configMap(name, key string) string {
	return "- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: " + name + ", namespace: kube-system}\n  data:\n    " +
		key + ": |\n" +
		"      apiVersion: kubeproxy.config.k8s.io/v1alpha1\n      kind: KubeProxyConfiguration\n      mode: ipvs\n      moed: ipvs\n"
}

// TestGolden pins what becomes of configurations as they are found: kubeadm's, one with every field, and flags.
func TestGolden(t *testing.T) {
	file := func(name string) func() (*Result, error) {
		return func() (*Result, error) {
			data, err := os.ReadFile("testdata/" + name)
			if err != nil {
				t.Fatal(err)
			}
			return KubeProxy(data)
		}
	}
	given := func(text string) func() (*Result, error) {
		return func() (*Result, error) { return KubeProxy([]byte(text)) }
	}
	const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	for name, convert := range map[string]func() (*Result, error){
		"kubeadm":       file("kubeadm.yaml"),
		"full":          file("full.yaml"),
		"iptables":      given(head + "clusterCIDR: 10.0.0.0/8\niptables: {masqueradeBit: 3, syncPeriod: 5s}\n"),
		"nftables":      given(head + "mode: nftables\nnftables: {masqueradeAll: true, minSyncPeriod: 1s}\n"),
		"unknown-field": given(head + "mode: ipvs\nipvs: {shceduler: lc}\n"),
		"localhost":     given(head + "mode: ipvs\nnodePortAddresses: [localhost]\n"),
		"other-kind":    given("apiVersion: v1\nkind: Pod\n"),
		"other-case":    given(head + "Mode: nftables\nmode: ipvs\nipvs: {Scheduler: lc, syncperiod: 1m}\nclustercidr: 10.0.0.0/8\n"),
		"second-document": given("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n---\n" + head +
			"mode: ipvs\nipvs: {scheduler: lc}\n"),
		"two": given(head + "mode: ipvs\n---\n" + head + "mode: nftables\n"),
		"list": given("apiVersion: v1\nkind: List\nitems:\n" + configMap("coredns", "Corefile") +
			configMap("kube-proxy", "config.conf")),
		"other-config-map": given("apiVersion: example.com/v1\nkind: ConfigMap\ndata: {config.conf: \"\"}\n"),
		"no-config":        given("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
		"twice":            given(head + "mode: nftables\nmode: ipvs\n"),
		"wrong-type":       given(head + "mode: ipvs\nipvs:\n  strictARP: maybe\n"),
		"wrong-duration":   func() (*Result, error) { return KubeProxyFlags([]string{"--ipvs-sync-period=often"}) },
		"not-valid":        given(head + "mode: ipvs\nclusterCIDR: 10.0.0.0\n"),
		"kube-proxy-flags": func() (*Result, error) {
			return KubeProxyFlags(strings.Fields("--proxy-mode=ipvs --ipvs-scheduler lc --ipvs-strict-arp --cluster-cidr=10.0.0.0/8,fd00::/8 --nodeport-addresses=primary --conntrack-min=5 --master=https://192.0.2.1:6443 --v=2"))
		},
		"kube-proxy-flags-with-file": func() (*Result, error) { return KubeProxyFlags([]string{"--config=/f"}) },
		"kube-proxy-flags-mistake":   func() (*Result, error) { return KubeProxyFlags([]string{"--conntrack-min=many"}) },
		"kube-router": func() (*Result, error) {
			return KubeRouterFlags(strings.Fields("--run-router=true --run-firewall=true --run-service-proxy=true --bgp-graceful-restart=true --kubeconfig=/var/lib/kube-router/kubeconfig"))
		},
		"kube-router-full": func() (*Result, error) {
			return KubeRouterFlags(strings.Fields("--run-router=false --run-firewall=false --masquerade-all --nodeport-bindon-all-ip --ipvs-graceful-termination --ipvs-graceful-period=45s --ipvs-sync-period=1m " +
				"--excluded-cidrs=192.0.2.0/24 --service-external-ip-range=203.0.113.0/24 --service-node-port-range=30000-40000 --metrics-port=8080 --health-port=20244 --hostname-override=a --master=https://192.0.2.1:6443 --ipvs-permit-all=false"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := convert()
			golden.Compare(t, "testdata/"+name+".golden", printed(t, r, err))
		})
	}
}

// TestEveryField: the fields that are read here are those of KubeProxyConfiguration as kube-proxy 1.37 documents them.
// Every one that differs from its default changes the result or is reported.
func TestEveryField(t *testing.T) {
	const fields = `featureGates clientConnection.kubeconfig clientConnection.acceptContentTypes clientConnection.contentType clientConnection.qps clientConnection.burst
logging hostnameOverride bindAddress healthzBindAddress metricsBindAddress bindAddressHardFail enableProfiling showHiddenMetricsForVersion mode
iptables.masqueradeBit iptables.masqueradeAll iptables.localhostNodePorts iptables.syncPeriod iptables.minSyncPeriod
ipvs.syncPeriod ipvs.minSyncPeriod ipvs.scheduler ipvs.excludeCIDRs ipvs.strictARP ipvs.tcpTimeout ipvs.tcpFinTimeout ipvs.udpTimeout
nftables.masqueradeBit nftables.masqueradeAll nftables.syncPeriod nftables.minSyncPeriod winkernel detectLocalMode detectLocal.bridgeInterface detectLocal.interfaceNamePrefix
clusterCIDR nodePortAddresses oomScoreAdj conntrack.maxPerCore conntrack.min conntrack.tcpEstablishedTimeout conntrack.tcpCloseWaitTimeout conntrack.tcpBeLiberal
conntrack.udpTimeout conntrack.udpStreamTimeout configSyncPeriod portRange windowsRunAsService`
	want := map[string]bool{}
	for field := range strings.FieldsSeq(fields) {
		want[field] = true
	}
	got := map[string]bool{}
	var walk func(prefix string, of reflect.Type)
	walk = func(prefix string, of reflect.Type) {
		for i := range of.NumField() {
			f := of.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Name == "TypeMeta":
			case name == "" && f.Anonymous:
				walk(prefix, f.Type)
			case f.Type.Kind() == reflect.Struct && f.Type.Name() == "":
				walk(prefix+name+".", f.Type)
			default:
				got[prefix+name] = true
			}
		}
	}
	walk("", reflect.TypeFor[kubeProxy]())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	for flag, field := range kubeProxyFields {
		if !want[field] {
			t.Errorf("--%s stands for %s, which is no field", flag, field)
		}
	}
}

// testConverted: what is converted is a valid configuration that is read as it was written.
func testConverted(t *testing.T, r *Result, err error) {
	t.Helper()
	if err == nil {
		printed(t, r, err)
	} else if err.Error() == "" {
		t.Error("an error without words")
	}
}

// FuzzKubeProxy: see testConverted.
func FuzzKubeProxy(f *testing.F) {
	for _, name := range []string{"kubeadm.yaml", "full.yaml"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftables\nbindAddress: '['\nipvs: {syncPeriod: -1s}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := KubeProxy(data)
		testConverted(t, r, err)
	})
}

// FuzzFlags: see testConverted.
func FuzzFlags(f *testing.F) {
	for _, line := range []string{
		"", "--", "-", "a", "--=", "--proxy-mode=ipvs --ipvs-scheduler lc --ipvs-strict-arp --cluster-cidr=10.0.0.0/8,fd00::/8 --conntrack-min=5 --kube-api-qps NaN",
		"--run-router=false --run-firewall=false --ipvs-graceful-period=45s --service-node-port-range=30000-40000 --metrics-port=8080 --health-port=-1 --metrics-addr=[",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		for _, convert := range []func([]string) (*Result, error){KubeProxyFlags, KubeRouterFlags} {
			r, err := convert(strings.Fields(line))
			testConverted(t, r, err)
		}
	})
}
