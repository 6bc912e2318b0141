package proxier

import (
	"errors"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/predecessor"
)

// TestAdmitCleanup: what is removed beside which living proxy. Each refusal says that nothing was removed, and how to
// go on.
func TestAdmitCleanup(t *testing.T) {
	kubeProxy := func(mode string) predecessor.Living {
		return predecessor.Living{Proxy: predecessor.KubeProxy, Sign: "sign P", Mode: mode}
	}
	kubeRouter := predecessor.Living{Proxy: predecessor.KubeRouter, Sign: "sign R"}
	alive := func(l ...predecessor.Living) []predecessor.Living { return l }
	handOver := CleanupOptions{HandOver: true}
	for name, c := range map[string]struct {
		living  []predecessor.Living
		missing string
		setsErr error
		options CleanupOptions
		refusal []string
	}{
		"nobody":                                  {},
		"kube-proxy":                              {living: alive(kubeProxy("ipvs")), refusal: []string{"kube-proxy is alive", "sign P", "--hand-over", "--force"}},
		"kube-router":                             {living: alive(kubeRouter), refusal: []string{"kube-router is alive", "sign R", "--force"}},
		"kube-proxy, by force":                    {living: alive(kubeProxy("ipvs")), options: CleanupOptions{Force: true}},
		"hand over to kube-proxy":                 {living: alive(kubeProxy("ipvs")), options: handOver},
		"hand over, its mode is not known":        {living: alive(kubeProxy("")), options: handOver},
		"hand over to kube-proxy beside a router": {living: alive(kubeProxy("ipvs"), kubeRouter), options: handOver},
		"hand over to nobody":                     {options: handOver, refusal: []string{"no living kube-proxy", "--force"}},
		"hand over to kube-router":                {living: alive(kubeRouter), options: handOver, refusal: []string{"no living kube-proxy"}},
		"hand over to another mode":               {living: alive(kubeProxy("nftables")), options: handOver, refusal: []string{"mode nftables"}},
		"hand over too early":                     {living: alive(kubeProxy("ipvs")), missing: "its rules for ipv6", options: handOver, refusal: []string{"its rules for ipv6", "wait"}},
		"hand over, sets cannot be read":          {living: alive(kubeProxy("ipvs")), setsErr: errors.New("no sets"), options: handOver, refusal: []string{"no sets"}},
		"hand over to nobody, by force":           {options: CleanupOptions{HandOver: true, Force: true}},
	} {
		t.Run(name, func(t *testing.T) {
			err := admitCleanup(c.living, func() (string, error) { return c.missing, c.setsErr }, c.options)
			if (err != nil) != (c.refusal != nil) {
				t.Fatalf("%v, want a refusal: %t", err, c.refusal != nil)
			}
			for _, said := range c.refusal {
				if !strings.Contains(err.Error(), said) {
					t.Errorf("it does not say %q: %v", said, err)
				}
			}
		})
	}
}
