package proxier

import (
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// options has each setting once. Flags that kube-proxy has keep their names.
var options = []Option{
	{
		Field: "manifests", Flags: []string{"manifests"},
		Help: "directory with Services and EndpointSlices as YAML or JSON, instead of the Kubernetes API",
	}, {
		Field: "kubeconfig", Flags: []string{"kubeconfig"},
		Help: "kubeconfig file for the Kubernetes API; empty and without --manifests: in-cluster",
	}, {
		Field: "apiServers", Flags: []string{"api-servers"},
		Help: "URLs of the API servers, comma separated, tried in this order, instead of the one that kubeconfig or environment name",
		Docs: "URLs of API servers, tried in this order. They replace the one that kubeconfig or environment name, so that no " +
			"Service address is needed to reach the API",
	}, {
		Field: "watchNodes", Flags: []string{"watch-nodes"}, Words: []string{AllNodes, OwnNode},
		Help: "all: no Service may take the address of another node; own: watch this Node only",
		Docs: "`all`: no Service may take the address of another node, which would cut this one off from it; `own` watches " +
			"this Node only, which is cheaper where there are thousands",
	}, {
		Field: "nodeWeights", Flags: []string{"node-weights"}, Words: []string{AllNodes, NoNodeWeights},
		Help: "all: the annotation ipvs-proxier.io/weight of Nodes counts; none: it has no meaning",
		Docs: "`all`: the annotation `ipvs-proxier.io/weight` of Nodes counts; `none`: it has no meaning, because whoever has " +
			"a node's credential may write it ([security.md](security.md#what-a-node-may-do))",
	}, {
		Field: "serviceProxyName", Flags: []string{"service-proxy-name"},
		Help: "serve the Services whose label service.kubernetes.io/service-proxy-name has this value (default: those without the label)",
		Docs: "serve the Services whose label `service.kubernetes.io/service-proxy-name` has this value; by default those " +
			"without the label",
	}, {
		Field: "nodeName", Flags: []string{"node-name", "hostname-override"}, Unset: "host name in lower case",
		Help: "name of this node in the cluster (default: the host name in lower case)",
		Docs: "this node's name in the cluster",
	}, {
		Field: "clusterCIDRs", Flags: []string{"cluster-cidr"},
		Help: "networks of the pods, comma separated: clients of a ClusterIP from outside are masqueraded",
		Docs: "networks of the pods: other clients of a ClusterIP are masqueraded. Without it only the node's own are",
	}, {
		Field: "detectLocalMode", Flags: []string{"detect-local-mode"},
		Words: []string{DetectClusterCIDR, DetectNodeCIDR, DetectBridgeInterface, DetectInterfaceNamePrefix},
		Help:  "how local pods are distinguished from other clients: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix",
		Docs: "which clients of a ClusterIP are pods, and keep their address: `ClusterCIDR` (`--cluster-cidr`), `NodeCIDR` " +
			"(the Node's `podCIDRs`), `BridgeInterface`, `InterfaceNamePrefix`",
	}, {
		Field: "podBridgeInterface", Flags: []string{"pod-bridge-interface"},
		Help: "bridge of the local pods, for --detect-local-mode=BridgeInterface",
	}, {
		Field: "podInterfaceNamePrefix", Flags: []string{"pod-interface-name-prefix"},
		Help: "prefix of the links to the local pods, for --detect-local-mode=InterfaceNamePrefix",
	}, {
		Field: "masqueradeAll", Flags: []string{"masquerade-all"},
		Help: "masquerade every client of a ClusterIP",
	}, {
		Field: "masqueradeBit", Flags: []string{"iptables-masquerade-bit"},
		Help: "bit of the packet mark that asks for masquerading, 0 to 31",
	}, {
		Field: "masqueradePorts", Flags: []string{"masquerade-ports"},
		Unset: "no limit",
		Help:  "source ports that masquerading may take, such as 32768-65535 (default: no limit)",
		Docs: "source ports that masquerading may take, such as `32768-65535`; empty is no limit, which is 1024 to 65535. Each " +
			"port is one connection at a time to an endpoint. Without node ports (the API server's " +
			"`--service-node-port-range`) no reply is taken for a request to a node port, should connection tracking forget " +
			"its connection ([design.md](design.md#netfilter))",
	}, {
		Field: "nodePortAddresses", Flags: []string{"nodeport-addresses"}, Unset: "all",
		Suggest: []string{wordPrimary, wordAll},
		Help: "to which addresses of this node node ports are limited: networks, the word primary (the Node's InternalIP of each " +
			"family) and the word all (no limit), comma separated, in any mix (default: no limit)",
		Docs: "to which addresses of this node node ports are limited: networks, `primary` (the Node's InternalIP of each " +
			"family) and `all` (no limit, whatever else is there), in any mix. A family of which none is named is not limited. " +
			"`localhost`, which kube-proxy 1.37 takes, is refused: node ports are not served on loopback addresses",
	}, {
		Field: "externalIPCIDRs", Flags: []string{"external-ip-cidrs"},
		Help: "networks, comma separated, in which Services may have externalIPs (default: externalIPs are not served)",
		Docs: "networks in which Services may have `externalIPs`; others are a Problem",
	}, {
		Field: "protectedPorts", Flags: []string{"protected-ports"},
		Help: "ports, or ranges of them, of the node's own addresses that no Service gets by an external or load balancer " +
			"address, comma separated; of TCP, or with a protocol such as 4789/udp; empty protects none",
		Docs: "ports, or ranges of them, of the node's own addresses that no Service gets by an external or load balancer " +
			"address; of TCP, or of a protocol behind a slash. By default SSH, etcd, API server, kubelet, ours and those of other " +
			"parts of the control plane; by UDP DHCP clients, VXLAN, Geneve and WireGuard. The ports of " +
			"`--healthz-bind-address`, `--metrics-bind-address` and of an API server on this node are added. Empty protects none " +
			"but the last",
	}, {
		Field: "answerPing", Flags: []string{"answer-ping"},
		Help: "answer ICMP echo requests to service addresses",
		Docs: "answer ICMP echo requests to service addresses instead of refusing them",
	}, {
		Field: "excludeCIDRs", Flags: []string{"ipvs-exclude-cidrs"},
		Help: "networks, comma separated, whose virtual servers are never touched",
		Docs: "networks whose virtual servers are never touched",
	}, {
		Field: "tcpTimeout", Flags: []string{"ipvs-tcp-timeout"}, Unset: "the kernel's, 15m",
		Help: "how long IPVS keeps idle TCP connections, and so how long those through Services live; 0 leaves the kernel's value, 15m",
		Docs: "how long IPVS keeps idle TCP connections; whole seconds. Kept in force, as every sysctl: see [below](#sysctls)",
	}, {
		Field: "tcpFinTimeout", Flags: []string{"ipvs-tcpfin-timeout"}, Unset: "the kernel's, 2m",
		Help: "how long IPVS keeps TCP connections after a FIN; 0 leaves the kernel's value",
	}, {
		Field: "udpTimeout", Flags: []string{"ipvs-udp-timeout"}, Unset: "the kernel's, 5m",
		Help: "how long IPVS keeps idle UDP flows; 0 leaves the kernel's value",
	}, {
		Field: "conntrack.maxPerCore", Flags: []string{"conntrack-max-per-core"},
		Help: "connections to track per processor; 0 leaves the limit as it is",
		Docs: "`nf_conntrack_max` is raised to so many per processor, at least to `--conntrack-min`, but to 1048576 where the " +
			"product is above that; `hashsize` to a quarter of it. Neither is ever lowered; 0 leaves both",
	}, {
		Field: "conntrack.min", Flags: []string{"conntrack-min"},
		Help: "connections to track at least",
	}, {
		Field: "conntrack.tcpEstablishedTimeout", Flags: []string{"conntrack-tcp-timeout-established"},
		Help: "how long idle TCP connections past IPVS are tracked; those through Services end after --ipvs-tcp-timeout; 0 leaves the node's value",
		Docs: "`nf_conntrack_tcp_timeout_established`; 0 leaves the node's value. Connections through Services live for " +
			"`--ipvs-tcp-timeout` only: see [below](#sysctls)",
	}, {
		Field: "conntrack.tcpCloseWaitTimeout", Flags: []string{"conntrack-tcp-timeout-close-wait"},
		Help: "how long half-closed TCP connections are tracked; 0 leaves the node's value",
		Docs: "`nf_conntrack_tcp_timeout_close_wait`; 0 leaves the node's value",
	}, {
		Field: "conntrack.udpTimeout", Flags: []string{"conntrack-udp-timeout"}, Unset: "the node's",
		Help: "how long UDP flows without a reply are tracked; 0 leaves the node's value",
		Docs: "`nf_conntrack_udp_timeout`; 0 leaves the node's value",
	}, {
		Field: "conntrack.udpStreamTimeout", Flags: []string{"conntrack-udp-timeout-stream"}, Unset: "the node's",
		Help: "how long UDP flows with replies are tracked; 0 leaves the node's value",
		Docs: "`nf_conntrack_udp_timeout_stream`; 0 leaves the node's value",
	}, {
		Field: "conntrack.tcpBeLiberal", Flags: []string{"conntrack-tcp-be-liberal"},
		Help: "track packets outside of the TCP window as valid",
		Docs: "`nf_conntrack_tcp_be_liberal=1`: packets outside of the TCP window count as valid; `false` leaves the node's value",
	}, {
		Field: "takeOver", Flags: []string{"take-over"}, Words: []string{KubeProxy, KubeRouter},
		Help: "take the place of kube-proxy or kube-router on this node, and remove its rules",
		Docs: "wait for the end of `kube-proxy` or `kube-router`, adopt its virtual servers, and remove its rules " +
			"([migrating.md](migrating.md))",
	}, {
		Field: "scheduler", Flags: []string{"ipvs-scheduler"}, Suggest: schedulerWords(),
		Help: "scheduler of Services that choose none: " + strings.Join(scheduler.Names(), ", ") +
			", or a long name; empty is " +
			scheduler.Default + ", and " + strings.Join(scheduler.ForAffinity, " or ") + " for Services with session affinity",
		Docs: "scheduler of Services that choose none. Empty is `" + scheduler.Default + "`, and for Services with session " +
			"affinity `" + scheduler.ForAffinity[0] + "` ([schedulers.md](schedulers.md#session-affinity))",
	}, {
		Field: "schedulerFlags", Flags: []string{"scheduler-flags"}, Suggest: append(scheduler.FlagNames(), "none"),
		Help: "scheduler flags of Services that choose none, as the annotation has them",
		Docs: "flags of Services that choose none, in the words of the annotation ([annotations.md](annotations.md))",
	}, {
		Field: "slowStart", Flags: []string{"slow-start"},
		Help: "slow start of Services that choose none, as the annotation has it",
		Docs: "the same for the annotation `slow-start`",
	}, {
		Field: "maxConnections", Flags: []string{"max-connections"},
		Help: "greatest number of connections of an endpoint for Services that choose none, as the annotation has it",
		Docs: "the same for the annotation `max-connections`",
	}, {
		Field: "namespaces",
		Docs: "the same for the Services of one namespace: `namespaces.NAME.scheduler`, `.schedulerFlags`, `.slowStart`, " +
			"`.maxConnections`, `.drainTimeout`; in the file only",
	}, {
		Field: "ignoreAliases", Flags: []string{"ignore-aliases"},
		Help: "give annotations of kube-router and Cilium no meaning",
		Docs: "annotations of kube-router and Cilium have no meaning",
	}, {
		Field: "strictARP", Flags: []string{"ipvs-strict-arp"},
		Help: "answer ARP only on the link that has the address asked for",
		Docs: "`arp_ignore=1`, `arp_announce=2`: answer ARP only for the link's own addresses",
	}, {
		Field: "link", Flags: []string{"link"},
		Help: "name of the dummy link, which carries the service addresses with --vip-mode=address",
		Docs: "name of the dummy link, which carries the service addresses with `--vip-mode=address`",
	}, {
		Field: "netfilter", Flags: []string{"netfilter"},
		Words: []string{kernel.AutoNetfilter, string(kernel.Iptables), string(kernel.NFTables)},
		Help:  "what holds sets and rules: iptables with ipset, nftables in tables of our own, or auto, which is nftables where iptables or ipset is missing",
		Docs: "what holds sets and rules: `iptables` with ipset, `nftables` in tables of our own, or `auto`, which is `nftables` where " +
			"iptables or ipset is missing: see [below](#iptables-or-nftables)",
	}, {
		Field: "iptables", Flags: []string{"iptables"},
		Words: []string{kernel.AutoVariant, string(kernel.NFT), string(kernel.Legacy)},
		Help: "variant of iptables: nft, legacy, or auto, which is the one that is installed by its usual names, and in an image that has both " +
			"the one that the node uses",
		Docs: "variant of iptables: `nft`, `legacy`, or `auto`, which is the one that is installed by its usual names, and in an " +
			"image that has both the one that the node uses: see [installing.md](installing.md#which-iptables)",
	}, {
		Field: "vipMode", Flags: []string{"vip-mode"},
		Words: []string{dataplane.ByAddress.String(), dataplane.ByRoute.String()},
		Help:  "address: service addresses are addresses on the dummy link; route: they are local routes, which costs less where there are thousands",
		Docs: "what makes service addresses local to the node: `address`, on the dummy link, or `route`; see " +
			"[below](#service-addresses-by-address-or-by-route)",
	}, {
		Field: "drainTimeout", Flags: []string{"drain-timeout"},
		Help: "how long connections to an endpoint that is gone may go on; 0 ends them at once",
	}, {
		Field: "auditPeriod", Flags: []string{"audit-period", "ipvs-sync-period"},
		Help: "how often at least the kernel is compared with the desired state; 0 is never, else at least 1s; from 30s on more " +
			"often where a thousandth of a core is enough, and less often where it would take more than a hundredth",
		Docs: "how often at least the whole kernel is compared with the desired state, beside the changes, which do not wait for " +
			"it; `0` never, else at least `1s`; from `30s` on more often, each 30 s at most, where a thousandth of a core is enough, " +
			"and less often where it would take more than a hundredth. What others change is as a rule found sooner: " +
			"[operating.md](operating.md#how-soon-drift-is-repaired)",
	}, {
		Field: "contestAfter", Flags: []string{"contest-after"},
		Help: "how often others may undo an object in the kernel within --contest-window before it is repaired only once in a tenth of that; 0 is any number",
		Docs: "how often somebody may undo an object in the kernel within `--contest-window` before it is repaired only once in a " +
			"tenth of that, reported as `Contested`, and `/readyz` bad: [operating.md](operating.md#who-undoes-it-again-and-again); " +
			"`0` is any number, else from `2` to `100`",
	}, {
		Field: "contestWindow", Flags: []string{"contest-window"},
		Help: "the time within which --contest-after counts, and for which an object has to stay as it is afterwards",
		Docs: "the time within which `--contest-after` counts, and for which an object has to stay as it is until it is contested " +
			"no more; from `10s` to `24h`",
	}, {
		Field: "minSyncPeriod", Flags: []string{"ipvs-min-sync-period"}, Unset: "`0s`",
		Help: "least time between syncs; changes gather meanwhile",
	}, {
		Field: "healthzBindAddress", Flags: []string{"healthz-bind-address"},
		Help: "address with port for /healthz and /livez; empty is off",
		Docs: "`/healthz`, `/livez`; empty is off. While another program has the address, Services are served all the same and " +
			"it is tried again: `NotListening` in the log, in `status` and in `ipvs_proxier_problems`",
	}, {
		Field: "maxViewAge", Flags: []string{"max-view-age"},
		Help: "how old what is known of the API may be before /readyz turns bad; 0 is no bound, else at least 1m",
		Docs: "how old what is known of the API may be before `/readyz` turns bad. API servers say once a minute that nothing is " +
			"missing; `0` is no bound, else at least `1m`",
	}, {
		Field: "metricsBindAddress", Flags: []string{"metrics-bind-address"},
		Help: "address with port for /metrics and, for one more version, /status and /journal; empty is off",
		Docs: "`/metrics`, `/proxyMode`; for one more version `/status`, once a second at most, and `/journal`, which `--socket` " +
			"has; empty is off. As above when it is in use",
	}, {
		Field: "serviceMetrics", Flags: []string{"service-metrics"},
		Help: "how many Services have metrics of their traffic: those with the most bytes; 0 is none, at most 10000",
		Docs: "how many Services have metrics of their traffic, `ipvs_proxier_service_*`: those with the most bytes on this node, " +
			"with five series each; `0` is none, at most `10000`",
	}, {
		Field: "socket", Flags: []string{"socket"},
		Help: "unix socket, of mode 0600, on which status, journal, diff, freeze and bundle ask the daemon; root alone is " +
			"answered; empty is off",
		Docs: "unix socket, of mode 0600, on which `status`, `journal`, `diff`, `freeze` and `bundle` ask the daemon; " +
			"root alone is answered, and empty is off. As above while another process has it",
	}, {
		Field: "stateDir", Flags: []string{"state-dir"},
		Help: "directory where the journal is kept over restarts, in 3 MiB at most; empty keeps it in memory alone",
		Docs: "directory where the journal is kept over restarts, in 3 MiB at most ([operating.md](operating.md#what-changed-journal)); " +
			"it is made where it is missing, and holds nothing else but the socket. Empty keeps it in memory alone",
	}, {
		Field: "logLevel", Flags: []string{"log-level"}, Words: []string{"debug", "info", "warn", "error"},
		Help: "debug, info, warn or error",
		Docs: "`debug`, `info`, `warn`, `error`",
	}, {
		Field: "logFormat", Flags: []string{"log-format"}, Words: []string{"text", "json"},
		Help: "text or json",
		Docs: "`text`, `json`",
	},
}
