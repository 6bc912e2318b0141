package annotation

import (
	"slices"
	"strings"
)

// Alias is another project's annotation that means one of ours. Ours wins where both are set.
type Alias struct {
	Key string
	// Name is that of our key.
	Name string
	// Translate returns our words for its value; false where there are none.
	Translate func(value string) (string, bool)
	// Summary says for people what is understood.
	Summary string
}

// Foreign keys with a meaning that is no annotation of ours, or none.
const (
	// KubeRouterLocal with the value true is the external traffic policy Local.
	KubeRouterLocal = "kube-router.io/service.local"
	// KubeRouterDSR asks for direct return, which is not built.
	KubeRouterDSR = "kube-router.io/service.dsr"
)

// Relevant reports whether an annotation of that key may mean something to us.
func Relevant(key string) bool {
	return strings.HasPrefix(key, Prefix) || key == KubeRouterLocal || key == KubeRouterDSR ||
		slices.ContainsFunc(Aliases, func(a Alias) bool { return a.Key == key })
}

func same(value string) (string, bool) { return value, true }

// Aliases are read in their order.
var Aliases = []Alias{
	{"kube-router.io/service.scheduler", Scheduler, same, "as `scheduler`"},
	{"kube-router.io/service.schedflags", SchedulerFlags, kubeRouterFlags, "`flag-1` is fallback, `flag-2` is port"},
	{"kube-router.io/service.skiplbips", Expose, func(string) (string, bool) { return "cluster-ip,external-ip,node-port", true }, "by its presence: `expose` without load-balancer"},
	{"service.cilium.io/lb-algorithm", Scheduler, ciliumAlgorithm, "`maglev` is mh, `random` is rr"},
}

func kubeRouterFlags(value string) (string, bool) {
	var ours []string
	for _, word := range strings.Split(strings.ToLower(value), ",") {
		switch strings.TrimSpace(word) {
		case "flag-1":
			ours = append(ours, "fallback")
		case "flag-2":
			ours = append(ours, "port")
		default:
			return "", false
		}
	}
	return strings.Join(ours, ","), true
}

func ciliumAlgorithm(value string) (string, bool) {
	ours, known := map[string]string{"maglev": "mh", "random": "rr"}[strings.ToLower(strings.TrimSpace(value))]
	return ours, known
}
