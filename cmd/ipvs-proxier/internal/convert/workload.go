package convert

import (
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/internal/document"
)

// workload is as much of a Pod, DaemonSet or Deployment as is needed here, and of k3s' own configuration.
type workload struct {
	Spec struct {
		v1.PodSpec `json:",inline"`
		Template   struct {
			Spec v1.PodSpec `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
	KubeProxyArg []string `json:"kube-proxy-arg"`
}

// Arguments returns the flags with which a manifest starts the proxy, which is kube-proxy or kube-router: a static pod
// as RKE2 has it, a DaemonSet, or the list kube-proxy-arg of k3s' configuration. found is false where there is none.
func Arguments(data []byte, proxy string) (flags []string, found bool) {
	for object, err := range document.Read(data, func(document.Mistake) {}) {
		if err != nil {
			return nil, false // whoever reads it next says what is wrong
		}
		kind := object.APIVersion + " " + object.Kind
		var w workload
		if object.Wrong != nil ||
			!object.Untyped && !slices.Contains([]string{"v1 Pod", "apps/v1 DaemonSet", "apps/v1 Deployment"}, kind) {
			continue
		}
		if _, wrong := object.Decode(&w); wrong != nil {
			continue
		}
		for _, arg := range w.KubeProxyArg {
			flags, found = append(flags, "--"+strings.TrimLeft(arg, "-")), true
		}
		for _, c := range slices.Concat(w.Spec.Containers, w.Spec.Template.Spec.Containers) {
			words := slices.Concat(c.Command, c.Args)
			if at := slices.IndexFunc(words, func(word string) bool { return path.Base(word) == proxy }); at >= 0 {
				return words[at+1:], true
			}
			if c.Name == proxy {
				return words, true
			}
		}
	}
	return flags, found
}
