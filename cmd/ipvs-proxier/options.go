package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// options are the flags of `run`. This file is the only one that knows flags; those that kube-proxy has keep their names.
type options struct {
	flags  *pflag.FlagSet
	config string
	value  proxier.Config

	clusterCIDR, nodePortAddresses, externalIPCIDRs, excludeCIDRs, apiServers, protectedPorts []string
}

// newOptions declares the flags with the defaults of proxier.Default.
func newOptions(flags *pflag.FlagSet) *options {
	o := &options{flags: flags, value: proxier.Default()}
	d := proxier.Default()
	flags.StringVar(&o.config, "config", "", "configuration file (docs/configuration.md); flags override it")
	flags.StringVar(&o.value.Manifests, "manifests", "", "directory with Services and EndpointSlices as YAML or JSON, instead of the Kubernetes API")
	flags.StringVar(&o.value.Kubeconfig, "kubeconfig", "", "kubeconfig file for the Kubernetes API; empty and without --manifests: in-cluster")
	flags.StringSliceVar(&o.apiServers, "api-servers", nil, "URLs of the API servers, comma separated, tried in this order, instead of the one that kubeconfig or environment name")
	flags.StringVar(&o.value.WatchNodes, "watch-nodes", d.WatchNodes, "all: no Service may take the address of another node; own: watch this Node only")
	flags.StringVar(&o.value.NodeWeights, "node-weights", d.NodeWeights, "all: the annotation ipvs-proxier.io/weight of Nodes counts; none: it has no meaning")
	flags.StringVar(&o.value.ServiceProxyName, "service-proxy-name", "", "serve the Services whose label service.kubernetes.io/service-proxy-name has this value (default: those without the label)")
	flags.StringVar(&o.value.NodeName, "node-name", "", "name of this node in the cluster (default: the host name in lower case)")
	flags.StringVar(&o.value.NodeName, "hostname-override", "", "the same as --node-name")
	flags.StringVar(&o.value.Link, "link", d.Link, "name of the dummy link, which carries the service addresses with --vip-mode=address")
	flags.StringVar(&o.value.VIPMode, "vip-mode", d.VIPMode, "address: service addresses are addresses on the dummy link; route: they are local routes, which costs less where there are thousands")
	flags.StringSliceVar(&o.clusterCIDR, "cluster-cidr", nil, "networks of the pods, comma separated: clients of a ClusterIP from outside are masqueraded")
	flags.StringVar(&o.value.DetectLocalMode, "detect-local-mode", d.DetectLocalMode, "how local pods are told from other clients: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix")
	flags.StringVar(&o.value.PodBridgeInterface, "pod-bridge-interface", "", "bridge of the local pods, for --detect-local-mode=BridgeInterface")
	flags.StringVar(&o.value.PodInterfaceNamePrefix, "pod-interface-name-prefix", "", "prefix of the links to the local pods, for --detect-local-mode=InterfaceNamePrefix")
	flags.BoolVar(&o.value.MasqueradeAll, "masquerade-all", false, "masquerade every client of a ClusterIP")
	flags.IntVar(&o.value.MasqueradeBit, "iptables-masquerade-bit", d.MasqueradeBit, "bit of the packet mark that asks for masquerading, 0 to 31")
	flags.Var(&o.value.MasqueradePorts, "masquerade-ports", "source ports that masquerading may take; they must hold no node ports; empty is no limit")
	flags.StringSliceVar(&o.nodePortAddresses, "nodeport-addresses", nil, "to which addresses of this node node ports are limited: networks, the word primary (the Node's InternalIP of each family) and the word all (no limit), comma separated, in any mix (default: no limit)")
	flags.StringSliceVar(&o.externalIPCIDRs, "external-ip-cidrs", nil, "networks, comma separated, in which Services may have externalIPs (default: externalIPs are not served)")
	flags.StringSliceVar(&o.protectedPorts, "protected-ports", d.ProtectedPorts, "TCP ports, or ranges of them, of the node's own addresses that no Service gets by an external or load balancer address, comma separated; empty protects none")
	flags.BoolVar(&o.value.AnswerPing, "answer-ping", false, "answer ICMP echo requests to service addresses")
	flags.StringVar(&o.value.Scheduler, "ipvs-scheduler", d.Scheduler, "scheduler of Services that choose none: "+strings.Join(scheduler.Names(), ", ")+", or a long name; empty is "+scheduler.Default+", and mh or sh for Services with session affinity")
	flags.BoolVar(&o.value.StrictARP, "ipvs-strict-arp", false, "answer ARP only on the link that has the address asked for")
	flags.StringSliceVar(&o.excludeCIDRs, "ipvs-exclude-cidrs", nil, "networks, comma separated, whose virtual servers are never touched")
	duration := func(to *proxier.Duration, name, usage string) {
		flags.DurationVar(&to.Duration, name, to.Duration, usage)
	}
	duration(&o.value.TCPTimeout, "ipvs-tcp-timeout", "how long IPVS keeps idle TCP connections, and so how long those through Services live; 0 leaves the kernel's value, 15m")
	duration(&o.value.TCPFinTimeout, "ipvs-tcpfin-timeout", "how long IPVS keeps TCP connections after a FIN; 0 leaves the kernel's value")
	duration(&o.value.UDPTimeout, "ipvs-udp-timeout", "how long IPVS keeps idle UDP flows; 0 leaves the kernel's value")
	duration(&o.value.MinSyncPeriod, "ipvs-min-sync-period", "least time between passes; changes gather meanwhile")
	flags.IntVar(&o.value.Conntrack.MaxPerCore, "conntrack-max-per-core", d.Conntrack.MaxPerCore, "connections to track per processor; 0 leaves the limit as it is")
	flags.IntVar(&o.value.Conntrack.Min, "conntrack-min", d.Conntrack.Min, "connections to track at least")
	duration(&o.value.Conntrack.TCPEstablishedTimeout, "conntrack-tcp-timeout-established", "how long idle TCP connections past IPVS are tracked; those through Services end after --ipvs-tcp-timeout; 0 leaves the node's value")
	duration(&o.value.Conntrack.TCPCloseWaitTimeout, "conntrack-tcp-timeout-close-wait", "how long half-closed TCP connections are tracked; 0 leaves the node's value")
	duration(&o.value.Conntrack.UDPTimeout, "conntrack-udp-timeout", "how long UDP flows without a reply are tracked; 0 leaves the node's value")
	duration(&o.value.Conntrack.UDPStreamTimeout, "conntrack-udp-timeout-stream", "how long UDP flows with replies are tracked; 0 leaves the node's value")
	flags.BoolVar(&o.value.Conntrack.TCPBeLiberal, "conntrack-tcp-be-liberal", false, "track packets outside of the TCP window as valid")
	flags.StringVar(&o.value.TakeOver, "take-over", "", "take the place of kube-proxy or kube-router on this node, and remove its rules")
	duration(&o.value.DrainTimeout, "drain-timeout", "how long connections to an endpoint that is gone may go on; 0 ends them at once")
	duration(&o.value.AuditPeriod, "audit-period", "how often the kernel is compared with what is wanted; 0 is never, else at least 1s; from 30s on less often where that would take more than a hundredth of a core")
	duration(&o.value.AuditPeriod, "ipvs-sync-period", "the same as --audit-period")
	flags.StringVar(&o.value.HealthzBindAddress, "healthz-bind-address", d.HealthzBindAddress, "address with port for /healthz and /livez; empty is off")
	flags.StringVar(&o.value.MetricsBindAddress, "metrics-bind-address", d.MetricsBindAddress, "address with port for /metrics and /status; empty is off")
	flags.StringVar(&o.value.LogLevel, "log-level", d.LogLevel, "debug, info, warn or error")
	flags.StringVar(&o.value.LogFormat, "log-format", d.LogFormat, "text or json")
	return o
}

// complete returns the configuration in force: defaults, under the file, under the flags that were given.
func (o *options) complete() (proxier.Config, error) {
	c := proxier.Default()
	if o.config != "" {
		var err error
		if c, err = proxier.ReadConfig(o.config, c); err != nil {
			return c, usageError{err}
		}
	}
	set := map[string]func(){
		"manifests":                         func() { c.Manifests = o.value.Manifests },
		"kubeconfig":                        func() { c.Kubeconfig = o.value.Kubeconfig },
		"api-servers":                       func() { c.APIServers = o.apiServers },
		"watch-nodes":                       func() { c.WatchNodes = o.value.WatchNodes },
		"node-weights":                      func() { c.NodeWeights = o.value.NodeWeights },
		"protected-ports":                   func() { c.ProtectedPorts = o.protectedPorts },
		"service-proxy-name":                func() { c.ServiceProxyName = o.value.ServiceProxyName },
		"node-name":                         func() { c.NodeName = o.value.NodeName },
		"hostname-override":                 func() { c.NodeName = o.value.NodeName },
		"link":                              func() { c.Link = o.value.Link },
		"vip-mode":                          func() { c.VIPMode = o.value.VIPMode },
		"cluster-cidr":                      func() { c.ClusterCIDRs = o.clusterCIDR },
		"detect-local-mode":                 func() { c.DetectLocalMode = o.value.DetectLocalMode },
		"pod-bridge-interface":              func() { c.PodBridgeInterface = o.value.PodBridgeInterface },
		"pod-interface-name-prefix":         func() { c.PodInterfaceNamePrefix = o.value.PodInterfaceNamePrefix },
		"masquerade-all":                    func() { c.MasqueradeAll = o.value.MasqueradeAll },
		"iptables-masquerade-bit":           func() { c.MasqueradeBit = o.value.MasqueradeBit },
		"masquerade-ports":                  func() { c.MasqueradePorts = o.value.MasqueradePorts },
		"nodeport-addresses":                func() { c.NodePortAddresses = o.nodePortAddresses },
		"external-ip-cidrs":                 func() { c.ExternalIPCIDRs = o.externalIPCIDRs },
		"answer-ping":                       func() { c.AnswerPing = o.value.AnswerPing },
		"ipvs-exclude-cidrs":                func() { c.ExcludeCIDRs = o.excludeCIDRs },
		"ipvs-tcp-timeout":                  func() { c.TCPTimeout = o.value.TCPTimeout },
		"ipvs-tcpfin-timeout":               func() { c.TCPFinTimeout = o.value.TCPFinTimeout },
		"ipvs-udp-timeout":                  func() { c.UDPTimeout = o.value.UDPTimeout },
		"ipvs-min-sync-period":              func() { c.MinSyncPeriod = o.value.MinSyncPeriod },
		"ipvs-sync-period":                  func() { c.AuditPeriod = o.value.AuditPeriod },
		"conntrack-max-per-core":            func() { c.Conntrack.MaxPerCore = o.value.Conntrack.MaxPerCore },
		"conntrack-min":                     func() { c.Conntrack.Min = o.value.Conntrack.Min },
		"conntrack-tcp-timeout-established": func() { c.Conntrack.TCPEstablishedTimeout = o.value.Conntrack.TCPEstablishedTimeout },
		"conntrack-tcp-timeout-close-wait":  func() { c.Conntrack.TCPCloseWaitTimeout = o.value.Conntrack.TCPCloseWaitTimeout },
		"conntrack-udp-timeout":             func() { c.Conntrack.UDPTimeout = o.value.Conntrack.UDPTimeout },
		"conntrack-udp-timeout-stream":      func() { c.Conntrack.UDPStreamTimeout = o.value.Conntrack.UDPStreamTimeout },
		"conntrack-tcp-be-liberal":          func() { c.Conntrack.TCPBeLiberal = o.value.Conntrack.TCPBeLiberal },
		"take-over":                         func() { c.TakeOver = o.value.TakeOver },
		"ipvs-scheduler":                    func() { c.Scheduler = o.value.Scheduler },
		"ipvs-strict-arp":                   func() { c.StrictARP = o.value.StrictARP },
		"drain-timeout":                     func() { c.DrainTimeout = o.value.DrainTimeout },
		"audit-period":                      func() { c.AuditPeriod = o.value.AuditPeriod },
		"healthz-bind-address":              func() { c.HealthzBindAddress = o.value.HealthzBindAddress },
		"metrics-bind-address":              func() { c.MetricsBindAddress = o.value.MetricsBindAddress },
		"log-level":                         func() { c.LogLevel = o.value.LogLevel },
		"log-format":                        func() { c.LogFormat = o.value.LogFormat },
	}
	o.flags.Visit(func(f *pflag.Flag) {
		if apply := set[f.Name]; apply != nil {
			apply()
		}
	})
	if c.NodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, usageError{fmt.Errorf("give --node-name: %w", err)}
		}
		c.NodeName = strings.ToLower(strings.TrimSpace(host))
	}
	if err := c.Validate(); err != nil {
		return c, usageError{fmt.Errorf("configuration: %w", err)}
	}
	return c, nil
}

var unknownFlag = regexp.MustCompile(`^unknown flag: --(\S+)$`)

// flagError names the nearest flag for one that does not exist.
func flagError(c *cobra.Command, err error) error {
	if found := unknownFlag.FindStringSubmatch(err.Error()); found != nil {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near, ok := proxier.Nearest(found[1], names); ok {
			return usageError{fmt.Errorf("%w (did you mean --%s?)", err, near)}
		}
	}
	return usageError{fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
}
