package predecessor

import (
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
)

// Proxy is the name of a service proxy that may have run here before.
type Proxy string

// The proxies that are known.
const (
	KubeProxy  Proxy = "kube-proxy"
	KubeRouter Proxy = "kube-router"
)

// Proxies returns every Proxy that is known.
func Proxies() []Proxy { return []Proxy{KubeProxy, KubeRouter} }

// Links returns the names of the dummy links that carry the service addresses of the known proxies. Their addresses are
// never addresses of the node.
func Links() []string { return []string{traces[KubeProxy].link, traces[KubeRouter].link} }

// trace is what a proxy leaves in the kernel.
type trace struct {
	link string
	// chains are its chains by table; a name that ends in "*" stands for all that begin so.
	chains map[string][]string
	// own says whether a rule in a chain of somebody else's is the proxy's.
	own func(table string, r rule) bool
	// sets are the names of its IPv4 sets, setName6 makes the IPv6 name of one.
	sets     []string
	setName6 func(string) string
	// frontEnds are those sets of type hash:ip,port whose entries are virtual servers; nodePorts those of type
	// bitmap:port whose entries are virtual servers on each address of the node.
	frontEnds []string
	nodePorts map[string]ipset.Protocol
}

var traces = map[Proxy]trace{
	KubeProxy: {
		link: "kube-ipvs0",
		chains: map[string][]string{
			"nat": {
				"KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ", // ipvs mode
				// Of iptables mode.
				"KUBE-NODEPORTS", "KUBE-PROXY-CANARY", "KUBE-SVC-*", "KUBE-SVL-*", "KUBE-FW-*", "KUBE-EXT-*", "KUBE-SEP-*",
				"KUBE-XLB-*", // iptables mode before 1.24
			},
			"filter": {
				"KUBE-FORWARD", "KUBE-NODE-PORT", "KUBE-PROXY-FIREWALL", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER",
				"KUBE-IPVS-OUT-FILTER",
				"KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-CANARY", // iptables mode
			},
			"mangle": {"KUBE-PROXY-CANARY"},
		},
		own: func(_ string, r rule) bool {
			return strings.HasPrefix(r.target, "KUBE-") && slices.Contains(kubeProxyComments, r.comment)
		},
		sets: []string{
			"KUBE-LOOP-BACK", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL", "KUBE-LOAD-BALANCER",
			"KUBE-LOAD-BALANCER-LOCAL",
			"KUBE-LOAD-BALANCER-FW", "KUBE-LOAD-BALANCER-SOURCE-CIDR", "KUBE-LOAD-BALANCER-SOURCE-IP",
			"KUBE-NODE-PORT-TCP", "KUBE-NODE-PORT-UDP", "KUBE-NODE-PORT-LOCAL-TCP", "KUBE-NODE-PORT-LOCAL-UDP",
			"KUBE-NODE-PORT-SCTP-HASH", "KUBE-NODE-PORT-LOCAL-SCTP-HASH", "KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-IPVS-IPS",
		},
		// Two of the names are cut: they would have 32 bytes.
		setName6: func(name string) string {
			name = "KUBE-6-" + strings.TrimPrefix(name, "KUBE-")
			return name[:min(len(name), ipset.MaxNameLen)]
		},
		frontEnds: []string{
			"KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL", "KUBE-LOAD-BALANCER", "KUBE-NODE-PORT-SCTP-HASH",
		},
		nodePorts: map[string]ipset.Protocol{"KUBE-NODE-PORT-TCP": ipset.TCP, "KUBE-NODE-PORT-UDP": ipset.UDP},
	},
	KubeRouter: {
		link: "kube-dummy-if",
		chains: map[string][]string{
			"nat":    {"KUBE-ROUTER-HAIRPIN"},
			"filter": {"KUBE-ROUTER-SERVICES"},
		},
		own: ownedByKubeRouter,
		sets: []string{
			"kube-router-local-ips", "kube-router-svip", "kube-router-svip-prt",
			"kube-router-service-ips", "kube-router-ipvs-services", // before 2.0
		},
		setName6:  func(name string) string { return "inet6:" + name },
		frontEnds: []string{"kube-router-svip-prt", "kube-router-ipvs-services"},
	},
}

// kubeProxyComments are the comments of kube-proxy's jumps, which are part of their identity (pkg/proxy/ipvs/proxier.go
// and pkg/proxy/iptables/proxier.go, iptablesJumpChains).
var kubeProxyComments = []string{
	"kubernetes service portals", "kubernetes postrouting rules", "kubernetes forwarding rules",
	"kubernetes health check rules", "kube-proxy firewall rules",
	"kubernetes ipvs access filter", "kubernetes externally-visible service portals",
	"kubernetes health check service ports", "kubernetes load balancer firewall",
}

// ownedByKubeRouter knows kube-router's jumps, and its masquerade rules in nat POSTROUTING, by the matches that they
// have (pkg/controllers/proxy, ensureMasqueradeIptablesRule): nobody else masquerades what IPVS forwards by match
// "ipvs".
func ownedByKubeRouter(table string, r rule) bool {
	switch {
	case table == "filter" && r.target == "KUBE-ROUTER-SERVICES":
		return r.chain == "INPUT" && r.comment == "handle traffic to IPVS service IPs in custom chain"
	case table != "nat" || r.chain != "POSTROUTING" || r.option("--vdir") != "ORIGINAL":
		return false
	}
	return r.target == "KUBE-ROUTER-HAIRPIN" ||
		r.option("--vmethod") == "MASQ" && (r.target == "SNAT" || r.target == "MASQUERADE")
}

// owns reports whether a chain of the table is the proxy's.
func (t trace) owns(table, chain string) bool {
	return slices.ContainsFunc(t.chains[table], func(name string) bool {
		prefix, many := strings.CutSuffix(name, "*")
		return chain == name || many && strings.HasPrefix(chain, prefix)
	})
}

// ownsRule reports whether a rule is the proxy's that stands in a chain of somebody else's, such as POSTROUTING.
func (t trace) ownsRule(table string, r rule) bool { return !t.owns(table, r.chain) && t.own(table, r) }

// setNames returns the names of the proxy's sets in both families.
func (t trace) setNames() []string {
	names := slices.Clone(t.sets)
	for _, name := range t.sets {
		names = append(names, t.setName6(name))
	}
	return names
}
