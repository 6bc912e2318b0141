package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

const chartDir = "../chart"

// made is what the tests look at of what the chart makes.
type made struct {
	kinds   []string
	config  string
	daemons appsv1.DaemonSet
	notes   string
	all     string
}

func makeOf(t *testing.T, values string) made {
	t.Helper()
	r, err := render(chartDir, []byte(values))
	if err != nil {
		t.Fatal(err)
	}
	m := made{notes: r.notes, all: r.manifest()}
	for _, o := range r.objects {
		m.kinds = append(m.kinds, o.Head.Kind)
		switch o.Head.Kind {
		case "ConfigMap":
			var c v1.ConfigMap
			if err := yaml.UnmarshalStrict([]byte(o.Content), &c); err != nil {
				t.Fatal(err)
			}
			m.config = c.Data["config.yaml"]
		case "DaemonSet":
			if err := yaml.UnmarshalStrict([]byte(o.Content), &m.daemons); err != nil {
				t.Fatal(err)
			}
		}
	}
	return m
}

func (m made) pod() v1.PodSpec           { return m.daemons.Spec.Template.Spec }
func (m made) container() v1.Container   { return m.pod().Containers[0] }
func (m made) has(kind string) bool      { return slices.Contains(m.kinds, kind) }
func (m made) checksum() string          { return m.daemons.Spec.Template.Annotations["checksum/config"] }
func (m made) path() (path, host string) { return probe(m.container().ReadinessProbe) }

func probe(p *v1.Probe) (path, host string) {
	if p == nil {
		return "", ""
	}
	return p.HTTPGet.Port.String() + p.HTTPGet.Path, p.HTTPGet.Host
}

func matrixValues(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/matrix", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestGeneratedManifest: deploy/ipvs-proxier.yaml is what the chart makes.
func TestGeneratedManifest(t *testing.T) {
	var text strings.Builder
	if err := renderTo(&text, chartDir, "manifests/ipvs-proxier.yaml"); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "../ipvs-proxier.yaml", text.String())
}

// TestLint: Helm finds nothing wrong.
func TestLint(t *testing.T) {
	if err := lintChart(t.Output(), chartDir); err != nil {
		t.Error(err)
	}
}

// TestConfigurationIsAccepted: the program takes each configuration of the matrix, and what was said is in force.
func TestConfigurationIsAccepted(t *testing.T) {
	files, err := filepath.Glob("testdata/matrix/*.yaml")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d files of values, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(makeOf(t, matrixValues(t, name)).config), 0o600); err != nil {
				t.Fatal(err)
			}
			base := proxier.Default()
			base.NodeName = "node1"
			c, err := proxier.ReadConfig(path, base)
			if err == nil {
				err = c.Validate()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEachOptionIsReachable: the values all-options say something about each option, and the file that is made says the
// same.
func TestEachOptionIsReachable(t *testing.T) {
	var given struct{ Config map[string]any }
	if err := yaml.Unmarshal([]byte(matrixValues(t, "all-options")), &given); err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := yaml.Unmarshal([]byte(makeOf(t, matrixValues(t, "all-options")).config), &file); err != nil {
		t.Fatal(err)
	}
	elsewhere := []string{"nodeName", "manifests", "kubeconfig"}
	for _, o := range proxier.Options() {
		within, name, is := strings.Cut(o.Field, ".")
		want, got := given.Config[within], file[within]
		if is && want != nil && got != nil {
			want, got = want.(map[string]any)[name], got.(map[string]any)[name]
		}
		wanted, _ := json.Marshal(want)
		made, _ := json.Marshal(got)
		if want == nil && !slices.Contains(elsewhere, o.Field) || string(wanted) != string(made) {
			t.Errorf("%s: values say %s, the file %s", o.Field, wanted, made)
		}
	}
}

// TestValuesAreRefused: Helm names what is wrong.
func TestValuesAreRefused(t *testing.T) {
	const api = "config: {apiServers: ['https://192.0.2.1:6443']}\n"
	for name, c := range map[string]struct{ values, says string }{
		"no API server":           {"{}", "config.apiServers is missing"},
		"a misspelt option":       {"config: {shceduler: lc}", "shceduler"},
		"a misspelt inner option": {"config: {conntrack: {minn: 1}}", "minn"},
		"an option of namespaces": {"config: {namespaces: {a: {schedulr: lc}}}", "schedulr"},
		"a word":                  {"config: {vipMode: rout}", "vipMode"},
		"a duration":              {"config: {drainTimeout: 5}", "drainTimeout"},
		"a value":                 {api + "tolerationss: []", "tolerationss"},
		"the name of the node":    {"config: {nodeName: a}", "nodeName"},
		"a digest":                {api + "image: {digest: 'sha256:0'}", "digest"},
		"a policy":                {api + "admissionPolicy: warn", "admissionPolicy"},
		"two proxiers on a node":  {api + "updateStrategy: {rollingUpdate: {maxSurge: 1}}", "maxSurge"},
		"modules without image":   {api + "modules: {load: [ip_vs_lblc]}", "modules.image is missing"},
		"unreachable metrics":     {api + "monitoring: {podMonitor: true}", "config.metricsBindAddress"},
		"a file of another kind":  {"configFile: 'kind: KubeProxyConfiguration'", "convert"},
		"a file that is none":     {"configFile: '{'", "configFile"},
		"a name in the file":      {"configFile: '{apiVersion: ipvs-proxier.io/v1alpha1, kind: Configuration, kubeconfig: a, nodeName: b}'", "nodeName"},
	} {
		if _, err := render(chartDir, []byte(c.values)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want an error that says %q", name, err, c.says)
		}
	}
}

// TestSwitches: each value does what values.yaml says of it.
func TestSwitches(t *testing.T) {
	of := map[string]made{}
	for _, name := range []string{
		"minimal", "digest", "deny", "policy-off", "monitoring", "modules", "takeover", "kubeconfig", "configfile", "bare",
		"loopback", "names", "cleanup",
	} {
		of[name] = makeOf(t, matrixValues(t, name))
	}
	equal := func(what string, got, want any) {
		t.Helper()
		g, _ := json.Marshal(got)
		w, _ := json.Marshal(want)
		if string(g) != string(w) {
			t.Errorf("%s: %s, want %s", what, g, w)
		}
	}
	equal("image by tag", of["minimal"].container().Image, "ipvs-proxier:latest")
	equal("image by digest", of["digest"].container().Image,
		"registry.example.com:5000/net/ipvs-proxier:v1.2.3@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	equal("secrets", of["digest"].pod().ImagePullSecrets[0].Name, "registry")
	for name, want := range map[string]string{
		"minimal": "validationActions: [Warn]", "deny": "validationActions: [Deny]",
	} {
		if n := strings.Count(of[name].all, want); n != 3 {
			t.Errorf("%s: %d bindings with %s, want 3", name, n, want)
		}
	}
	if of["policy-off"].has("ValidatingAdmissionPolicy") || of["policy-off"].has("ValidatingAdmissionPolicyBinding") {
		t.Error("there is an admission policy although no value enables it")
	}
	for name, m := range of {
		equal("PodMonitor of "+name, m.has("PodMonitor"), name == "monitoring")
		equal("init container of "+name, len(m.pod().InitContainers) == 1, name == "modules" || name == "cleanup")
		equal("Namespace of "+name, m.has("Namespace"), false)
		with := m.container()
		if name == "cleanup" {
			with = m.pod().InitContainers[0]
		}
		equal("capabilities of "+name, with.SecurityContext.Capabilities.Add, []string{"NET_ADMIN", "NET_RAW"})
	}
	equal("cleaning up", of["cleanup"].pod().InitContainers[0].Args, []string{"cleanup", "--link=ipvs0"})
	equal("capabilities when cleaned up", of["cleanup"].container().SecurityContext.Capabilities,
		v1.Capabilities{Drop: []v1.Capability{"ALL"}})
	if !strings.Contains(of["cleanup"].notes, "--selector app.kubernetes.io/name=ipvs-proxier") {
		t.Errorf("the notes of a clean-up do not say how to find nodes that are not done:\n%s", of["cleanup"].notes)
	}
	equal("port of metrics", of["monitoring"].container().Ports[0].ContainerPort, 11249)
	module := of["modules"].pod().InitContainers[0]
	equal("modules", append(module.Command, module.Args...), []string{"modprobe", "--all", "ip_vs_lblc", "ip_vs_lblcr"})
	equal("capabilities of the init container", module.SecurityContext.Capabilities.Add, []string{"SYS_MODULE"})
	equal("host's processes", of["takeover"].pod().HostPID, true)
	if !strings.Contains(of["takeover"].notes, "delete daemonset kube-proxy") ||
		strings.Contains(of["minimal"].notes, "delete daemonset") {
		t.Errorf("the notes do not say what to do next:\n%s\n%s", of["takeover"].notes, of["minimal"].notes)
	}
	equal("names", of["kubeconfig"].pod().HostAliases[0].Hostnames, []string{"api.example.com"})
	equal("strategy", of["minimal"].daemons.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.String(), "10%")
	equal("strategy of one's own", of["names"].daemons.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.String(), "1")
	equal("strategy by hand", of["bare"].daemons.Spec.UpdateStrategy, appsv1.DaemonSetUpdateStrategy{Type: "OnDelete"})
	equal("SELinux", of["minimal"].container().SecurityContext.SELinuxOptions.Type, "spc_t")
	equal("no SELinux", of["bare"].container().SecurityContext.SELinuxOptions == nil, true)
	equal("seccomp", *of["names"].container().SecurityContext.SeccompProfile.LocalhostProfile, "ipvs-proxier.json")
	equal("AppArmor", *of["names"].container().SecurityContext.AppArmorProfile.LocalhostProfile, "ipvs-proxier")
	equal("AppArmor asked for", string(of["modules"].container().SecurityContext.AppArmorProfile.Type), "RuntimeDefault")
	equal("AppArmor of the init container", string(module.SecurityContext.AppArmorProfile.Type), "RuntimeDefault")
	// A node without AppArmor refuses a pod that asks for any profile.
	equal("no AppArmor", of["minimal"].container().SecurityContext.AppArmorProfile == nil, true)
	equal("selector", maps.Clone(of["names"].daemons.Spec.Selector.MatchLabels),
		map[string]string{"app.kubernetes.io/name": "proxy-of-pool-a"})
	for name, want := range map[string][2]string{
		"minimal": {"10256/readyz", ""}, "configfile": {"20256/readyz", ""}, "loopback": {"10256/readyz", "::1"}, "bare": {"", ""},
	} {
		path, host := of[name].path()
		equal("probe of "+name, [2]string{path, host}, want)
	}
	var file proxier.Config
	if err := yaml.Unmarshal([]byte(of["configfile"].config), &file); err != nil {
		t.Fatal(err)
	}
	equal("options over a file", []any{
		file.AnswerPing, file.ProtectedPorts, file.Conntrack.MaxPerCore, file.Conntrack.Min, file.APIServers,
	},
		[]any{false, []string{}, 16384, 2000000, []string{"https://192.0.2.1:6443"}})
}

// TestAChangeRolls: another configuration changes the pods, the same one does not.
func TestAChangeRolls(t *testing.T) {
	const api = "config: {apiServers: ['https://192.0.2.1:6443'], scheduler: "
	a, b, again := makeOf(t, api+"lc}"), makeOf(t, api+"rr}"), makeOf(t, api+"lc}\nadmissionPolicy: Deny")
	if a.checksum() == "" || a.checksum() == b.checksum() || a.checksum() != again.checksum() {
		t.Errorf("checksums are %s, with another scheduler %s, with another policy %s",
			a.checksum(), b.checksum(), again.checksum())
	}
}
