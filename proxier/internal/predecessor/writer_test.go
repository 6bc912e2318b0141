package predecessor

import (
	"errors"
	"testing"
)

// TestWriter: who runs is named with what is seen of it, then whose chains and sets there are, and else that nobody is
// known.
func TestWriter(t *testing.T) {
	left := []Leftovers{
		{Proxy: KubeProxy, Chains: 2, Sets: []string{
			"KUBE-B", "KUBE-A",
		}, removals: []familyRemoval{{"iptables", removal{chains: []string{"KUBE-T", "KUBE-S"}}}}},
		{Proxy: KubeRouter},
	}
	const traces = "the kernel has what kube-proxy writes: 2 chains, 2 sets (such as chain KUBE-S, set KUBE-A)"
	for _, c := range []struct {
		signs map[Proxy][]string
		left  []Leftovers
		err   error
		want  string
		known bool
	}{
		{signs: map[Proxy][]string{KubeRouter: {"process 7", "process 8"}}, want: "kube-router runs on this node (process 7, process 8)", known: true},
		{signs: map[Proxy][]string{KubeProxy: {"process 7"}}, left: left, want: "kube-proxy runs on this node (process 7); " + traces, known: true},
		{left: left, want: "no known proxy is seen to run on this node, but " + traces},
		{err: errors.New("refused"), want: "no known proxy is seen to run on this node, and its rules cannot be read: refused"},
		{want: "no known proxy is seen to run on this node, and none has rules or sets here"},
	} {
		if got, known := writer(c.signs, c.left, c.err); got != c.want || known != c.known {
			t.Errorf("%q, %v; want %q, %v", got, known, c.want, c.known)
		}
	}
}
