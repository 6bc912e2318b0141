package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// TestConvertHasABound: what is larger than any configuration is refused, from a file and from standard input; what
// fits is converted.
func TestConvertHasABound(t *testing.T) {
	const text = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\n#"
	path := filepath.Join(t.TempDir(), "kube-proxy.yaml")
	for size, refused := range map[int]bool{1 << 20: false, 1<<20 + 1: true} {
		large := text + strings.Repeat("x", size-len(text))
		if err := os.WriteFile(path, []byte(large), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{path, "-"} {
			_, err := converted(strings.NewReader(large), proxier.KubeProxy, []string{from}, false)
			if (err != nil) != refused || refused && err.Error() != from+": there are more than 1 MiB, which are allowed" {
				t.Errorf("%d bytes from %s: %v", size, from, err)
			}
		}
	}
}
