package convert

import (
	"slices"
	"testing"
)

func TestArguments(t *testing.T) {
	for name, c := range map[string]struct {
		proxy, text string
		want        []string
		found       bool
	}{
		"RKE2's static pod": {"kube-proxy", "apiVersion: v1\nkind: Pod\nmetadata: {name: kube-proxy}\nspec: {containers: [{name: kube-proxy, command: [kube-proxy], args: [--cluster-cidr=10.42.0.0/16, --proxy-mode=ipvs]}]}\n",
			[]string{"--cluster-cidr=10.42.0.0/16", "--proxy-mode=ipvs"}, true},
		"kube-router's DaemonSet, behind others": {"kube-router",
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: apps/v1\nkind: DaemonSet\nspec: {template: {spec: {containers: [{name: other, args: [-x]}, {name: kube-router, args: [--run-router=false]}]}}}\n",
			[]string{"--run-router=false"}, true},
		"a command with its path":      {"kube-proxy", "apiVersion: apps/v1\nkind: DaemonSet\nspec: {template: {spec: {containers: [{name: proxy, command: [/usr/local/bin/kube-proxy, --config=/x]}]}}}\n", []string{"--config=/x"}, true},
		"k3s":                          {"kube-proxy", "disable: [traefik]\nkube-proxy-arg: [proxy-mode=ipvs, --masquerade-all=true]\n", []string{"--proxy-mode=ipvs", "--masquerade-all=true"}, true},
		"a configuration, and no flag": {"kube-proxy", "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n", nil, false},
		"another proxy":                {"kube-proxy", "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: kube-router, command: [kube-router]}]}\n", nil, false},
		"no YAML":                      {"kube-proxy", "a: [\n", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, found := Arguments([]byte(c.text), c.proxy); !slices.Equal(got, c.want) || found != c.found {
				t.Errorf("%q %v, want %q %v", got, found, c.want, c.found)
			}
		})
	}
}

// TestOtherKeys: any key of a ConfigMap may hold the configuration, such as "config" of EKS; kubeadm's goes first.
func TestOtherKeys(t *testing.T) {
	list := func(items string) []byte { return []byte("apiVersion: v1\nkind: List\nitems:\n" + items) }
	if r, err := KubeProxy(list(configMap("kube-proxy-config", "config"))); err != nil || r.Lost() {
		t.Errorf("%v, %+v", err, r)
	}
	if _, err := KubeProxy(list(configMap("other", "config") + configMap("kube-proxy", inConfigMap))); err != nil {
		t.Errorf("both: %v", err)
	}
}

// TestHealthOnLoopbackIsNoted: kubelet's probes do not reach it there.
func TestHealthOnLoopbackIsNoted(t *testing.T) {
	r, err := KubeProxyFlags([]string{"--healthz-bind-address=127.0.0.1", "--proxy-mode=ipvs"})
	if err != nil || !slices.ContainsFunc(r.Notes, func(n Note) bool { return n.Field == "healthzBindAddress" }) {
		t.Errorf("%v, %+v", err, r)
	}
}
