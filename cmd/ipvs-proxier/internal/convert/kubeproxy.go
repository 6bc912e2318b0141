package convert

import (
	"fmt"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// kubeProxy is KubeProxyConfiguration of kubeproxy.config.k8s.io/v1alpha1 (kube-proxy 1.37). The type itself is in a
// module that brings half of a component's machinery along; TestEveryField holds this one against the list of fields.
type kubeProxy struct {
	metav1.TypeMeta  `json:",inline"`
	FeatureGates     map[string]bool `json:"featureGates"`
	ClientConnection struct {
		Kubeconfig         string  `json:"kubeconfig"`
		AcceptContentTypes string  `json:"acceptContentTypes"`
		ContentType        string  `json:"contentType"`
		QPS                float64 `json:"qps"`
		Burst              int     `json:"burst"`
	} `json:"clientConnection"`
	Logging                     map[string]any `json:"logging"`
	HostnameOverride            string         `json:"hostnameOverride"`
	BindAddress                 string         `json:"bindAddress"`
	HealthzBindAddress          *string        `json:"healthzBindAddress"`
	MetricsBindAddress          *string        `json:"metricsBindAddress"`
	BindAddressHardFail         bool           `json:"bindAddressHardFail"`
	EnableProfiling             bool           `json:"enableProfiling"`
	ShowHiddenMetricsForVersion string         `json:"showHiddenMetricsForVersion"`
	Mode                        string         `json:"mode"`
	IPTables                    struct {
		masquerading       `json:",inline"`
		LocalhostNodePorts *bool           `json:"localhostNodePorts"`
		SyncPeriod         metav1.Duration `json:"syncPeriod"`
		MinSyncPeriod      metav1.Duration `json:"minSyncPeriod"`
	} `json:"iptables"`
	IPVS struct {
		SyncPeriod    metav1.Duration `json:"syncPeriod"`
		MinSyncPeriod metav1.Duration `json:"minSyncPeriod"`
		Scheduler     string          `json:"scheduler"`
		ExcludeCIDRs  []string        `json:"excludeCIDRs"`
		StrictARP     bool            `json:"strictARP"`
		TCPTimeout    metav1.Duration `json:"tcpTimeout"`
		TCPFinTimeout metav1.Duration `json:"tcpFinTimeout"`
		UDPTimeout    metav1.Duration `json:"udpTimeout"`
	} `json:"ipvs"`
	NFTables struct {
		masquerading  `json:",inline"`
		SyncPeriod    metav1.Duration `json:"syncPeriod"`
		MinSyncPeriod metav1.Duration `json:"minSyncPeriod"`
	} `json:"nftables"`
	Winkernel       map[string]any `json:"winkernel"`
	DetectLocalMode string         `json:"detectLocalMode"`
	DetectLocal     struct {
		BridgeInterface     string `json:"bridgeInterface"`
		InterfaceNamePrefix string `json:"interfaceNamePrefix"`
	} `json:"detectLocal"`
	ClusterCIDR       string   `json:"clusterCIDR"`
	NodePortAddresses []string `json:"nodePortAddresses"`
	OOMScoreAdj       *int     `json:"oomScoreAdj"`
	Conntrack         struct {
		MaxPerCore            *int             `json:"maxPerCore"`
		Min                   *int             `json:"min"`
		TCPEstablishedTimeout *metav1.Duration `json:"tcpEstablishedTimeout"`
		TCPCloseWaitTimeout   *metav1.Duration `json:"tcpCloseWaitTimeout"`
		TCPBeLiberal          bool             `json:"tcpBeLiberal"`
		UDPTimeout            metav1.Duration  `json:"udpTimeout"`
		UDPStreamTimeout      metav1.Duration  `json:"udpStreamTimeout"`
	} `json:"conntrack"`
	ConfigSyncPeriod    metav1.Duration `json:"configSyncPeriod"`
	PortRange           string          `json:"portRange"`
	WindowsRunAsService bool            `json:"windowsRunAsService"`
}

type masquerading struct {
	MasqueradeBit *int `json:"masqueradeBit"`
	MasqueradeAll bool `json:"masqueradeAll"`
}

// KubeProxy converts the KubeProxyConfiguration of a file, or that of a ConfigMap which holds one under any key; that
// of kubeadm is config.conf. Objects of other kinds may stand beside it.
func KubeProxy(data []byte) (*Result, error) {
	r := newResult()
	file := finder{result: r}
	if err := file.read(data); err != nil {
		return nil, err
	}
	if err := file.lookElsewhere(); err != nil {
		return nil, err
	}
	if file.found == nil {
		return nil, file.nothing()
	}
	file.found.convert(r)
	return r, r.finish()
}

func (k *kubeProxy) convert(r *Result) {
	c := &r.Config
	c.NodeName, c.Kubeconfig, c.StrictARP = k.HostnameOverride, k.ClientConnection.Kubeconfig, k.IPVS.StrictARP
	c.ClusterCIDRs, c.NodePortAddresses, c.ExcludeCIDRs = commaList(k.ClusterCIDR), k.nodePorts(r), k.IPVS.ExcludeCIDRs
	c.TCPTimeout = seconds(k.IPVS.TCPTimeout.Duration)
	c.TCPFinTimeout = seconds(k.IPVS.TCPFinTimeout.Duration)
	c.UDPTimeout = seconds(k.IPVS.UDPTimeout.Duration)
	if k.DetectLocalMode != "" {
		c.DetectLocalMode = k.DetectLocalMode
	}
	c.PodBridgeInterface, c.PodInterfaceNamePrefix = k.DetectLocal.BridgeInterface, k.DetectLocal.InterfaceNamePrefix
	if k.HealthzBindAddress != nil && *k.HealthzBindAddress != "" {
		c.HealthzBindAddress = bindAddress(*k.HealthzBindAddress, "10256")
		if at, err := netip.ParseAddrPort(c.HealthzBindAddress); err == nil && at.Addr().IsLoopback() {
			r.note("healthzBindAddress", c.HealthzBindAddress,
				"the kubelet's probes in deploy/ipvs-proxier.yaml ask the node's address: write 0.0.0.0:%d there", at.Port())
		}
	}
	if k.MetricsBindAddress != nil && *k.MetricsBindAddress != "" {
		c.MetricsBindAddress = bindAddress(*k.MetricsBindAddress, "10249")
	}
	k.convertMode(r)
	k.convertConntrack(c)
	k.leftOut(r)
	r.scheduler("ipvs.scheduler", k.IPVS.Scheduler)
	r.allowAllExternalIPs("externalIPs")
	if c.Kubeconfig != "" {
		r.note("clientConnection.kubeconfig", c.Kubeconfig,
			"the server that it names should be no Service address; --api-servers (apiServers) names several")
	}
}

func (k *kubeProxy) nodePorts(r *Result) (kept []string) {
	for _, text := range k.NodePortAddresses {
		if text == "localhost" {
			r.lost("nodePortAddresses", text, "node ports are not served on loopback addresses, as in kube-proxy's ipvs mode")
			continue
		}
		kept = append(kept, text)
	}
	if len(kept) == 0 && len(k.NodePortAddresses) > 0 {
		kept = []string{"127.0.0.0/8", "::1/128"} // none of the node's addresses
	}
	return kept
}

// convertMode takes periods and masquerading from the mode that is in force.
func (k *kubeProxy) convertMode(r *Result) {
	c := &r.Config
	period, least, masq := k.IPVS.SyncPeriod.Duration, k.IPVS.MinSyncPeriod.Duration, k.IPTables.masquerading
	switch k.Mode {
	case "ipvs":
	case "nftables":
		period, least, masq = k.NFTables.SyncPeriod.Duration, k.NFTables.MinSyncPeriod.Duration, k.NFTables.masquerading
		r.note("mode", k.Mode, "the nodes get IPVS instead; what nftables mode does for localhost node ports is not served")
	default:
		period, least = k.IPTables.SyncPeriod.Duration, k.IPTables.MinSyncPeriod.Duration
		mode := k.Mode
		if mode == "" {
			mode = "(unset)"
		}
		r.note("mode", mode, "iptables mode (the default) becomes IPVS; node ports on 127.0.0.1 are refused here")
		switch asked := k.IPTables.LocalhostNodePorts; {
		case asked == nil:
			// It is on by default, and few know. It counts as lost only where the configuration sets it.
			r.note("iptables.localhostNodePorts", "(unset)",
				"it is on by default; node ports on 127.0.0.1 are not served here: use the node's address")
		case *asked:
			r.lost("iptables.localhostNodePorts", "", "node ports on 127.0.0.1 are not served: use the node's address")
		}
	}
	if period > 0 {
		c.AuditPeriod = seconds(max(period, time.Second))
	}
	c.MinSyncPeriod, c.MasqueradeAll = seconds(least), masq.MasqueradeAll
	if masq.MasqueradeBit != nil {
		c.MasqueradeBit = *masq.MasqueradeBit
	}
}

func (k *kubeProxy) convertConntrack(c *proxier.Config) {
	from, to := k.Conntrack, &c.Conntrack
	if from.MaxPerCore != nil {
		to.MaxPerCore = *from.MaxPerCore
	}
	if from.Min != nil {
		to.Min = *from.Min
	}
	if from.TCPEstablishedTimeout != nil {
		to.TCPEstablishedTimeout = seconds(from.TCPEstablishedTimeout.Duration)
	}
	if from.TCPCloseWaitTimeout != nil {
		to.TCPCloseWaitTimeout = seconds(from.TCPCloseWaitTimeout.Duration)
	}
	to.TCPBeLiberal = from.TCPBeLiberal
	to.UDPTimeout, to.UDPStreamTimeout = seconds(from.UDPTimeout.Duration), seconds(from.UDPStreamTimeout.Duration)
}

// leftOut notes the fields that have no meaning here, where they are set.
func (k *kubeProxy) leftOut(r *Result) {
	note := func(set bool, field string, value any, why string) {
		if set {
			r.note(field, fmt.Sprint(value), "%s", why)
		}
	}
	note(k.BindAddress != "" && k.BindAddress != "0.0.0.0" && k.BindAddress != "::", "bindAddress", k.BindAddress,
		"the node's addresses come from its Node object")
	note(k.BindAddressHardFail, "bindAddressHardFail", true,
		"an address that is in use never ends the program; it is tried again")
	note(k.EnableProfiling, "enableProfiling", true, "there are no profiling handlers")
	note(k.ShowHiddenMetricsForVersion != "", "showHiddenMetricsForVersion", k.ShowHiddenMetricsForVersion,
		"no metric is hidden")
	note(len(k.FeatureGates) > 0, "featureGates", k.FeatureGates, "there are none")
	note(k.Logging["format"] == "json", "logging", "json", "logFormat: json is the same")
	note(k.OOMScoreAdj != nil && *k.OOMScoreAdj != -999, "oomScoreAdj", deref(k.OOMScoreAdj),
		"the pod's priority class decides")
	note(k.ConfigSyncPeriod.Duration != 0 && k.ConfigSyncPeriod.Duration != 15*time.Minute, "configSyncPeriod",
		k.ConfigSyncPeriod.Duration, "watches need no relisting by time")
	note(k.PortRange != "", "portRange", k.PortRange, "it has had no effect since the userspace mode")
	note(k.ClientConnection.QPS != 0 && k.ClientConnection.QPS != 5 ||
		k.ClientConnection.Burst != 0 && k.ClientConnection.Burst != 10, "clientConnection",
		fmt.Sprintf("qps %v burst %v", k.ClientConnection.QPS, k.ClientConnection.Burst),
		"three watches and Events need no limit of their own")
	note(k.WindowsRunAsService, "windowsRunAsService", true, "this program runs on Linux")
	if k.Logging["format"] == "json" {
		r.Config.LogFormat = "json"
	}
}

func deref(n *int) any {
	if n == nil {
		return nil
	}
	return *n
}
