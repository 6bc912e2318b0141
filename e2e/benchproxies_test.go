//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/benchmark"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// subject is a proxy that is measured: its command line, and how it is seen from outside that its dataplane is
// complete.
type subject struct {
	name      string
	build     string // the revision that it was built of; empty: this one
	arguments string // beside the usual ones
	command   []string
	link      string                      // has an address for each Service
	sets      func(services int) []string // NAME=COUNT
	settled   string                      // a command that finds the rules
	ready     string                      // URL and pattern
	histogram string
	changes   func(services int) int
	largest   int  // number of Services that it is given
	iptables  bool // it has no virtual servers, but rules
}

const ownMetrics = "http://127.0.0.1:10249/metrics"

// fromManifests is ours with a directory instead of the API.
func (s subject) fromManifests() subject {
	s.command = []string{
		s.command[0], "run", "--manifests", "{manifests}", "--node-name", benchNode, "--cluster-cidr", topology.PodCIDRs,
	}
	return s
}

// benchSubjects are the proxies, on the node of that name. Ours comes once for each of the argument lists in
// IPVSP_BENCH_VARIANTS, which are separated by semicolons.
func benchSubjects(kubeconfig, node string) (all []subject) {
	variants := strings.Split(os.Getenv("IPVSP_BENCH_VARIANTS"), ";")
	for _, v := range variants {
		v = strings.TrimSpace(v)
		link := "kube-ipvs0"
		if strings.Contains(v, "route") { // routes lie on the loopback link
			link = "lo"
		}
		all = append(all, subject{
			name: benchmark.Ours, arguments: v, link: link, largest: 50_000,
			command: append([]string{
				programs.Path("ipvs-proxier"), "run", "--kubeconfig", kubeconfig, "--node-name", node, "--cluster-cidr",
				topology.PodCIDRs,
			}, strings.Fields(v)...),
			sets: func(n int) []string { return []string{fmt.Sprint("IPVSP-FRONT-END=", n), fmt.Sprint("IPVSP-VIP=", n)} },
			// A table comes as a whole: with the hook there is what it leads to.
			settled:   `iptables-save -t nat | grep -q -e '-A POSTROUTING .*-j IPVSP-POSTROUTING'`,
			ready:     ownMetrics + ` ^kubeproxy_sync_proxy_rules_last_timestamp_seconds(\{[^}]*\})? [1-9]`,
			histogram: benchmark.OwnHistogram,
			changes:   func(int) int { return 200 },
		})
	}
	kubeProxy := func(mode string) []string {
		return []string{filepath.Join(peers, "kube-proxy"), "--kubeconfig", kubeconfig, "--hostname-override", node,
			"--cluster-cidr", topology.PodCIDRs, "--proxy-mode", mode,
			"--conntrack-max-per-core", "0", "--conntrack-min", "0"}
	}
	return append(all, subject{
		name: benchmark.KubeProxy, link: "kube-ipvs0", largest: 5000, // 40 minutes
		// Its least time between two passes is a second by default; without it a change is programmed as fast as it
		// can.
		command:   append(kubeProxy("ipvs"), "--ipvs-scheduler", "rr", "--ipvs-min-sync-period", "0"),
		sets:      func(n int) []string { return []string{fmt.Sprint("KUBE-CLUSTER-IP=", n)} },
		settled:   `iptables-save -t nat | grep -c -e '-A POSTROUTING .*-j KUBE-POSTROUTING' -e '-A KUBE-POSTROUTING .*-j MASQUERADE' -e '--match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT' | grep -q '[3-9]'`,
		ready:     ownMetrics + ` ^kubeproxy_sync_proxy_rules_last_timestamp_seconds\{ip_family="IPv4"\} [1-9]`,
		histogram: "kubeproxy_sync_proxy_rules_duration_seconds",
		changes: func(n int) int {
			if n > 100 {
				return 5
			}
			return 20
		},
	}, subject{
		name: benchmark.Iptables, largest: 1000, iptables: true,
		command:   append(kubeProxy("iptables"), "--iptables-min-sync-period", "0"),
		sets:      func(int) []string { return nil },
		settled:   `iptables-save -t nat | grep -c -e '-A POSTROUTING .*-j KUBE-POSTROUTING' -e '-A KUBE-POSTROUTING .*-j MASQUERADE' -e '-A PREROUTING .*-j KUBE-SERVICES' | grep -q '[3-9]'`,
		ready:     ownMetrics + ` ^kubeproxy_sync_proxy_rules_last_timestamp_seconds\{ip_family="IPv4"\} [1-9]`,
		histogram: "kubeproxy_sync_proxy_rules_duration_seconds",
		changes: func(n int) int {
			if n > 100 {
				return 3
			}
			return 10
		},
	}, subject{
		name: benchmark.KubeRouter, link: "kube-dummy-if", largest: 1000,
		command: []string{filepath.Join(peers, "kube-router"), "--kubeconfig", kubeconfig, "--hostname-override", node,
			"--run-service-proxy=true", "--run-router=false", "--run-firewall=false",
			"--metrics-port", "10249", "--metrics-addr", "127.0.0.1", "--health-port", "10256"},
		sets: func(n int) []string {
			return []string{fmt.Sprint("kube-router-svip-prt=", n), fmt.Sprint("kube-router-svip=", n)}
		},
		// Without its router it masquerades nothing, and has no rule for that.
		settled:   `iptables-save | grep -c -e '-A INPUT .*-j KUBE-ROUTER-SERVICES' -e '-A KUBE-ROUTER-SERVICES .*kube-router-svip-prt dst,dst -j ACCEPT' -e '-A KUBE-ROUTER-SERVICES .*-j REJECT' | grep -q '[3-9]'`,
		ready:     ownMetrics + ` ^kube_router_controller_ipvs_services_sync_time_count [1-9]`,
		histogram: "kube_router_controller_ipvs_services_sync_time",
		changes: func(n int) int {
			if n > 100 {
				return 3 // a minute each
			}
			return 10
		},
	})
}
