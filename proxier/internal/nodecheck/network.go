package nodecheck

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

var networkChecks = []Check{{
	Code: "IPX-231", Name: "BridgePassesIptables",
	Looks: "whether packets between the ports of a bridge of pods pass iptables (`net.bridge.bridge-nf-call-iptables`)",
	Consequence: "a pod that reaches another pod of its node through a Service gets no answer: the answer takes the short way over the " +
		"bridge, past IPVS",
	Fix:      "modprobe br_netfilter; sysctl -w net.bridge.bridge-nf-call-iptables=1; name both in /etc/modules-load.d and /etc/sysctl.d",
	evaluate: evaluateBridges,
}, {
	Code: "IPX-232", Name: "ProxyAlive",
	Looks:       "whether another service proxy is alive on the node",
	Consequence: "two service proxies undo each other's work, so that this one does not start",
	Fix:         "end it (kubectl -n kube-system delete daemonset NAME), and start this program with --take-over=NAME",
	evaluate: func(f Facts, w Wanted) []result {
		for _, p := range f.Proxies {
			if p.Name != w.TakeOver {
				return by(fmt.Sprintf("start with --take-over=%[1]s, then: kubectl -n kube-system delete daemonset %[1]s", p.Name),
					fails(fmt.Sprintf("%s is alive (%s)", p.Name, p.Sign))...)
			}
		}
		switch {
		case len(f.Proxies) > 0:
			return ok(f.Proxies[0].Name + " is alive; its end is waited for (--take-over)")
		case f.Running != "":
			return ok("ipvs-proxier runs here, and no other service proxy")
		}
		return ok("no other service proxy is alive")
	},
}, {
	Code: "IPX-233", Name: "AddressInUse",
	Looks:       "whether the addresses of `/healthz` and `/metrics` are free",
	Consequence: "Services are served, but nobody can ask this program: the kubelet ends the pod",
	Fix:         "end the other program, or give another address: --healthz-bind-address, --metrics-bind-address",
	evaluate:    evaluateBinds,
}}

func evaluateBridges(f Facts, w Wanted) []result {
	if !f.Bridges.Known() {
		return unknown("bridges: " + f.Bridges.Why)
	}
	var found []result
	for _, b := range f.Bridges.Value {
		pods4, pods6 := w.carriesPods(b)
		said := w.PodBridge != "" || len(w.ClusterCIDRs) > 0
		switch {
		case pods4 && !b.Calls4, pods6 && !b.Calls6:
			found = append(found, result{
				severity: Fails,
				found:    fmt.Sprintf("the bridge %s carries pods, and what passes between its ports does not pass iptables", b.Name),
			})
		case !said && !b.Calls4:
			found = append(found,
				result{severity: Warns,
					found: fmt.Sprintf("what passes between the ports of the bridge %s does not pass iptables; "+
						"whether it carries pods is not known without --cluster-cidr", b.Name)})
		}
	}
	if len(found) > 0 {
		return found
	}
	return ok("no bridge of pods leads past iptables")
}

// carriesPods reports whether the bridge is the pods', by family: it has an address of their networks, or is named so.
func (w Wanted) carriesPods(b Bridge) (ipv4, ipv6 bool) {
	for _, a := range b.Addresses {
		named := b.Name == w.PodBridge ||
			slices.ContainsFunc(w.ClusterCIDRs, func(p netip.Prefix) bool { return p.Contains(a.Addr()) })
		switch {
		case !named || a.Addr().IsLinkLocalUnicast():
		case a.Addr().Is4():
			ipv4 = true
		default:
			ipv6 = true
		}
	}
	return ipv4 || b.Name == w.PodBridge, ipv6
}

func evaluateBinds(f Facts, w Wanted) []result {
	switch {
	case len(w.Binds) == 0:
		return ok("no address is listened on")
	case f.Running != "":
		return ok("ipvs-proxier runs here, and has its addresses")
	case !f.Listening.Known():
		return unknown("which programs listen on this node: " + f.Listening.Why)
	}
	var taken []string
	for _, flag := range slices.Sorted(maps.Keys(w.Binds)) {
		want := w.Binds[flag]
		for _, at := range f.Listening.Value {
			same := at.Addr() == want.Addr() || at.Addr().IsUnspecified() || want.Addr().IsUnspecified()
			// A proxy whose end is waited for gives its ports up.
			if at.Port() == want.Port() && same && len(f.Proxies) == 0 {
				taken = append(taken, fmt.Sprintf("--%s=%s: somebody listens on %s", flag, want, at))
				break
			}
		}
	}
	if len(taken) > 0 {
		return warns(strings.Join(taken, "; "))
	}
	return ok("the addresses of /healthz and /metrics are free")
}
