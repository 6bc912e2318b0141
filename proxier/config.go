package proxier

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

// Config is all that an operator can choose. Its JSON names are those of the configuration file; docs/configuration.md
// says what each means.
type Config struct {
	// NodeName is this node's name in the cluster: it says which endpoints are local.
	NodeName string `json:"nodeName,omitempty"`
	// Manifests is a directory of manifests; Kubeconfig a file. With neither, the API is reached as a pod reaches it.
	Manifests  string `json:"manifests,omitempty"`
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// APIServers are the URLs of the API servers, in the order in which they are tried; they replace the one that the
	// kubeconfig or the pod's environment names, so that no Service address is needed to reach them.
	APIServers []string `json:"apiServers,omitempty"`
	// WatchNodes says which Nodes to watch: AllNodes, so that no Service takes the address of another node, or OwnNode,
	// which is cheaper where there are thousands.
	WatchNodes string `json:"watchNodes,omitempty"`
	// NodeWeights says whether the annotation ipvs-proxier.io/weight of Nodes counts: AllNodes, or NoNodeWeights,
	// because whoever has a node's credential may write it.
	NodeWeights string `json:"nodeWeights,omitempty"`
	// ServiceProxyName is the value of the label service.kubernetes.io/service-proxy-name of the Services to serve;
	// empty serves those without the label.
	ServiceProxyName string `json:"serviceProxyName,omitempty"`
	// Link is the name of the dummy link.
	Link string `json:"link,omitempty"`
	// MaxViewAge is how old what is known of the API may be before /readyz turns bad; 0 is no bound.
	MaxViewAge Duration `json:"maxViewAge"`
	// ServiceMetrics is how many Services have metrics of their traffic, those with the most bytes: 0 to 10000.
	ServiceMetrics int `json:"serviceMetrics,omitempty"`
	// Netfilter says what holds sets and rules: "auto", "iptables" (with ipset) or "nftables".
	Netfilter string `json:"netfilter,omitempty"`
	// Iptables says which variant of iptables is used: "auto", "nft" or "legacy".
	Iptables string `json:"iptables,omitempty"`
	// VIPMode says what makes VIPs local to the node: "address", on the dummy link, or "route".
	VIPMode string `json:"vipMode,omitempty"`
	// ClusterCIDRs are the networks of the pods.
	ClusterCIDRs []string `json:"clusterCIDRs,omitempty"`
	// DetectLocalMode is the way in which clients that are pods of this node are recognized: one of DetectLocalModes.
	DetectLocalMode string `json:"detectLocalMode,omitempty"`
	// PodBridgeInterface and PodInterfaceNamePrefix belong to the modes BridgeInterface and InterfaceNamePrefix.
	PodBridgeInterface     string `json:"podBridgeInterface,omitempty"`
	PodInterfaceNamePrefix string `json:"podInterfaceNamePrefix,omitempty"`
	// MasqueradeAll masquerades every client of a ClusterIP.
	MasqueradeAll bool `json:"masqueradeAll,omitempty"`
	// MasqueradeBit is the bit of the packet mark, 0 to 31, that asks for masquerading.
	MasqueradeBit int `json:"masqueradeBit"`
	// MasqueradePorts are the source ports that masquerading may take; the zero range is no limit. A limit should hold
	// no node ports: where connection tracking has forgotten the connection, a reply to one is taken for a request to
	// it.
	MasqueradePorts PortRange `json:"masqueradePorts"`
	// NodePortAddresses limits node ports to the node's addresses in these networks. The words "primary" (the node's
	// own address of each family) and "all" stand for networks.
	NodePortAddresses []string `json:"nodePortAddresses,omitempty"`
	// ExternalIPCIDRs are the networks from which Services may take externalIPs; none are served outside of them.
	ExternalIPCIDRs []string `json:"externalIPCIDRs,omitempty"`
	// ProtectedPorts are ports, or ranges of them, of the node's own addresses, such as 22 or 4789/udp; those without a
	// protocol are TCP. No Service gets them by an external address or one of a load balancer.
	ProtectedPorts []string `json:"protectedPorts"`
	// AnswerPing lets the node answer ICMP echo requests to its service addresses.
	AnswerPing bool `json:"answerPing,omitempty"`
	// ExcludeCIDRs are networks whose virtual servers are never touched, whoever made them.
	ExcludeCIDRs []string `json:"excludeCIDRs,omitempty"`
	// TCPTimeout, TCPFinTimeout and UDPTimeout are those of IPVS's idle connections, in whole seconds; 0 leaves the
	// kernel's.
	TCPTimeout    Duration `json:"tcpTimeout,omitzero"`
	TCPFinTimeout Duration `json:"tcpFinTimeout,omitzero"`
	UDPTimeout    Duration `json:"udpTimeout,omitzero"`
	// Conntrack are limits and timeouts of connection tracking, set once at start.
	Conntrack Conntrack `json:"conntrack"`
	// TakeOver names the proxy whose place is taken: one of TakeOvers, or empty.
	TakeOver string `json:"takeOver,omitempty"`
	// Scheduler is in force for Services that choose none; Namespaces overrides it. Empty is rr, but for
	// Services with session affinity a hash of the client's address, the same on every node.
	Scheduler string `json:"scheduler,omitempty"`
	// SchedulerFlags, SlowStart and MaxConnections are in force for Services without the annotations of these names,
	// and have their values.
	SchedulerFlags string               `json:"schedulerFlags,omitempty"`
	SlowStart      string               `json:"slowStart,omitempty"`
	MaxConnections string               `json:"maxConnections,omitempty"`
	Namespaces     map[string]Namespace `json:"namespaces,omitempty"`
	// IgnoreAliases gives annotations of other projects (kube-router.io, service.cilium.io) no meaning.
	IgnoreAliases bool `json:"ignoreAliases,omitempty"`
	// StrictARP keeps the node from answering ARP for VIPs on other links.
	StrictARP bool `json:"strictARP,omitempty"`
	// DrainTimeout is how long connections to an endpoint that is gone may go on.
	DrainTimeout Duration `json:"drainTimeout"`
	// AuditPeriod is how often at least the whole kernel is compared with the desired state, counted from beginning to
	// beginning; 0 is never. From 30 s on it is done more often, but not more often than each 30 s, where a thousandth
	// of a core is enough for it, and less often where it would take more than a hundredth.
	AuditPeriod Duration `json:"auditPeriod"`
	// ContestAfter is how many repairs of an object of the kernel within ContestWindow make it contested: others undo
	// it again and again. Then it is repaired at most once in a tenth of the window, until nobody has undone it for a
	// whole one. 0 is that nothing is contested.
	ContestAfter  int      `json:"contestAfter"`
	ContestWindow Duration `json:"contestWindow"`
	// MinSyncPeriod is the least time from the end of a pass to the start of the next that changes cause; meanwhile
	// changes gather.
	MinSyncPeriod Duration `json:"minSyncPeriod,omitzero"`
	// HealthzBindAddress and MetricsBindAddress are addresses with ports; empty is off.
	HealthzBindAddress string `json:"healthzBindAddress"`
	MetricsBindAddress string `json:"metricsBindAddress"`
	// Socket is the path of the unix socket on which the daemon answers this node's commands; empty is off.
	Socket string `json:"socket"`
	// StateDir is a directory where the journal is kept over restarts; empty keeps it in memory alone.
	StateDir string `json:"stateDir"`
	// LogLevel is debug, info, warn or error; LogFormat text or json.
	LogLevel  string `json:"logLevel,omitempty"`
	LogFormat string `json:"logFormat,omitempty"`
}

// Namespace is what an operator can choose for the Services of one namespace.
type Namespace struct {
	Scheduler      string `json:"scheduler,omitempty"`
	SchedulerFlags string `json:"schedulerFlags,omitempty"`
	SlowStart      string `json:"slowStart,omitempty"`
	MaxConnections string `json:"maxConnections,omitempty"`
	DrainTimeout   string `json:"drainTimeout,omitempty"`
}

// choices returns what is chosen, by the names of the annotations.
func (n Namespace) choices() map[string]string {
	return map[string]string{
		annotation.Scheduler: n.Scheduler, annotation.SchedulerFlags: n.SchedulerFlags, annotation.SlowStart: n.SlowStart,
		annotation.MaxConnections: n.MaxConnections, annotation.DrainTimeout: n.DrainTimeout,
	}
}

// choices are those of all namespaces.
func (c Config) choices() map[string]string {
	return Namespace{c.Scheduler, c.SchedulerFlags, c.SlowStart, c.MaxConnections, ""}.choices()
}

// Conntrack are settings of connection tracking, with kube-proxy's names and defaults. 0 leaves what the node has.
type Conntrack struct {
	// MaxPerCore times the number of processors, at least Min, is what nf_conntrack_max is raised to; it is never
	// lowered.
	MaxPerCore int `json:"maxPerCore"`
	Min        int `json:"min"`
	// TCPEstablishedTimeout and the others are timeouts in whole seconds.
	TCPEstablishedTimeout Duration `json:"tcpEstablishedTimeout"`
	TCPCloseWaitTimeout   Duration `json:"tcpCloseWaitTimeout"`
	UDPTimeout            Duration `json:"udpTimeout,omitzero"`
	UDPStreamTimeout      Duration `json:"udpStreamTimeout,omitzero"`
	// TCPBeLiberal lets packets outside of the TCP window count as valid.
	TCPBeLiberal bool `json:"tcpBeLiberal,omitempty"`
}

// The values of Config.DetectLocalMode, with the meaning that they have for kube-proxy.
const (
	DetectClusterCIDR         = "ClusterCIDR"
	DetectNodeCIDR            = "NodeCIDR"
	DetectBridgeInterface     = "BridgeInterface"
	DetectInterfaceNamePrefix = "InterfaceNamePrefix"
)

// The values of Config.WatchNodes.
const (
	AllNodes = "all"
	OwnNode  = "own"
)

// NoNodeWeights is the value of Config.NodeWeights beside AllNodes.
const NoNodeWeights = "none"

// The values of Config.TakeOver.
const (
	KubeProxy  = "kube-proxy"
	KubeRouter = "kube-router"
)

// Duration is a time.Duration that is written as text in JSON and YAML: "15m".
type Duration struct{ time.Duration }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	if d.Duration, err = time.ParseDuration(string(text)); err != nil {
		return fmt.Errorf("%q is not a duration such as 30s or 15m", text)
	}
	return nil
}

// The words that Config.NodePortAddresses may hold beside networks, in any mix. kube-proxy 1.37 has one more,
// wordLocalhost (pkg/proxy/apis/config/validation), which is refused.
const (
	wordPrimary   = "primary"
	wordAll       = "all"
	wordLocalhost = "localhost"
)

func withoutWords(texts []string) []string {
	return slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return text == wordPrimary || text == wordAll })
}

func parseCIDRs(texts []string) ([]netip.Prefix, error) {
	var cidrs []netip.Prefix
	for _, text := range texts {
		cidr, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil || cidr.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is not a network such as 10.244.0.0/16", text)
		}
		cidrs = append(cidrs, cidr.Masked())
	}
	return cidrs, nil
}

// operator returns the operator's choices in canonical words. The Config is valid.
func (c Config) operator() cluster.Operator {
	canonical := func(choices map[string]string) map[string]string {
		said := map[string]string{}
		for name, text := range choices {
			if value, err := operatorValue(name, text); err == nil && text != "" {
				said[name] = value
			}
		}
		return said
	}
	o := cluster.Operator{Global: canonical(c.choices()), Namespaces: map[string]map[string]string{}}
	if c.DrainTimeout.Duration != cluster.DefaultDrainTimeout {
		o.Global[annotation.DrainTimeout] = c.DrainTimeout.String()
	}
	for namespace, of := range c.Namespaces {
		o.Namespaces[namespace] = canonical(of.choices())
	}
	return o
}

// dataplane returns the configuration of the dataplane. The Config is valid.
func (c Config) dataplane(families []cluster.Family, facts dataplane.Facts) dataplane.Config {
	mode, _ := dataplane.ParseVIPMode(c.VIPMode)
	return dataplane.Config{
		Link: c.Link, VIPs: mode, Families: families, Pods: c.pods(), MasqueradeAll: c.MasqueradeAll,
		MasqueradeMark:    1 << c.MasqueradeBit,
		MasqueradePorts:   [2]uint16{c.MasqueradePorts.First, c.MasqueradePorts.Last},
		NodePortAddresses: networks(c.nodePortNetworks()), NodePortsOnPrimary: c.nodePortsOnPrimary(),
		AnswerPing: c.AnswerPing, StrictARP: c.StrictARP, Facts: facts,
		TCPTimeout: c.TCPTimeout.Duration, TCPFinTimeout: c.TCPFinTimeout.Duration, UDPTimeout: c.UDPTimeout.Duration,
	}
}

// pods returns how clients that are pods of this node are recognized. The networks of the mode NodeCIDR come from the
// Node.
func (c Config) pods() (p dataplane.Pods) {
	switch c.DetectLocalMode {
	case DetectBridgeInterface:
		p.Bridge = c.PodBridgeInterface
	case DetectInterfaceNamePrefix:
		p.InterfacePrefix = c.PodInterfaceNamePrefix
	case DetectClusterCIDR:
		p.CIDRs = networks(c.ClusterCIDRs)
	}
	return p
}

// nodePortNetworks returns the networks to which node ports are limited, nil for no limit.
func (c Config) nodePortNetworks() []string {
	if slices.Contains(c.NodePortAddresses, wordAll) {
		return nil
	}
	return withoutWords(c.NodePortAddresses)
}

func (c Config) nodePortsOnPrimary() bool {
	return slices.Contains(c.NodePortAddresses, wordPrimary) && !slices.Contains(c.NodePortAddresses, wordAll)
}

// networks parses networks that are valid.
func networks(texts []string) []netip.Prefix {
	parsed, _ := parseCIDRs(texts)
	return parsed
}

// protected returns the ports of ProtectedPorts, and our own wherever they are; none where the operator protects none.
func (c Config) protected() []protocolPorts {
	ports, _ := parsePorts(c.ProtectedPorts)
	if len(ports) == 0 {
		return nil
	}
	for _, address := range []string{c.HealthzBindAddress, c.MetricsBindAddress} {
		if at, err := netip.ParseAddrPort(address); err == nil {
			ports = append(ports, protocolPorts{cluster.TCP, PortRange{at.Port(), at.Port()}})
		}
	}
	return ports
}

// protects returns a function that reports whether a port is protected.
func (c Config) protects() func(cluster.Protocol, uint16) bool {
	ranges := c.protected()
	return func(protocol cluster.Protocol, port uint16) bool {
		return slices.ContainsFunc(ranges, func(r protocolPorts) bool { return r.protocol == protocol && r.Contains(port) })
	}
}

// settings returns the configuration of the engine. The Config is valid.
func (c Config) settings(d dataplane.Config) engine.Settings {
	return engine.Settings{
		NodeName: c.NodeName, ProxyName: c.ServiceProxyName, Dataplane: d, Operator: c.operator(), NoAliases: c.IgnoreAliases,
		ExternalIPCIDRs: networks(c.ExternalIPCIDRs), Exclude: networks(c.ExcludeCIDRs),
		Protected: c.protects(), NoNodeWeights: c.NodeWeights == NoNodeWeights,
		ContestAfter: c.ContestAfter, ContestWindow: c.ContestWindow.Duration,
	}
}
