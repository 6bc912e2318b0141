package predecessor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Unready says what kube-proxy in ipvs mode has not yet written of what serves these families: "" where nothing is
// missing. It writes its rules last, behind sets and virtual servers (pkg/proxy/ipvs/proxier.go of 1.37,
// syncProxyRules).
//
// Rules count, and not sets alone: conntrack looks at packets only while a rule needs it (nf_ct_netns_put in
// net/netfilter/nf_conntrack_proto.c, Linux 6.1). Where ours go and kube-proxy's are not there yet, packets of
// masqueraded connections leave with the client's address for a moment, and the endpoint resets them.
func Unready(ctx context.Context, families []cluster.Family) (missing string, err error) {
	saved, err := save(ctx)
	if err != nil {
		return "", err
	}
	sets, err := listSets(traces[KubeProxy])
	if err != nil {
		return "", fmt.Errorf("list the sets of %s: %w", KubeProxy, err)
	}
	return unready(saved, sets, families), nil
}

func unready(saved []savedTable, sets []ipset.Set, families []cluster.Family) string {
	if !slices.ContainsFunc(
		sets, func(s ipset.Set) bool { return s.Name == "KUBE-CLUSTER-IP" || s.Name == "KUBE-6-CLUSTER-IP" },
	) {
		return "its sets (KUBE-CLUSTER-IP)"
	}
	for _, family := range families {
		program := "iptables"
		if family == cluster.IPv6 {
			program = "ip6tables"
		}
		if !slices.ContainsFunc(saved, func(t savedTable) bool {
			return t.name == "nat" && (t.program == program || strings.HasPrefix(t.program, program+"-")) && t.masquerades()
		}) {
			return fmt.Sprintf("its rules for %s (chain KUBE-POSTROUTING)", family)
		}
	}
	return ""
}

// masquerades reports whether packets come to kube-proxy's rule that masquerades.
func (t table) masquerades() bool {
	const chain = "KUBE-POSTROUTING"
	has := func(in, target string) bool {
		return slices.ContainsFunc(t.rules, func(r rule) bool { return r.chain == in && r.target == target })
	}
	return has("POSTROUTING", chain) && has(chain, "MASQUERADE")
}
