package convert

import (
	"net"
	"strconv"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// KubeRouterFlags converts kube-router's command line (2.x), as far as it is a service proxy.
func KubeRouterFlags(args []string) (*Result, error) {
	r := newResult()
	c := &r.Config
	var master, nodePortRange, metricsAddr string
	metricsPort, healthPort := 0, 0
	serviceProxy, firewall, router, loadBalancer, everywhere, graceful := true, true, true, false, false, false
	permitAll := true
	// kube-router gives connections half a minute.
	drain := proxier.Duration{}
	var externalRanges, clusterRanges []string
	s := setters{
		"kubeconfig": text(&c.Kubeconfig), "master": text(&master), "hostname-override": text(&c.NodeName),
		"masquerade-all":   truth(&c.MasqueradeAll),
		"ipvs-sync-period": duration(&c.AuditPeriod), "excluded-cidrs": list(&c.ExcludeCIDRs),
		"service-external-ip-range": list(&externalRanges),
		"service-cluster-ip-range":  list(&clusterRanges), "service-node-port-range": text(&nodePortRange),
		"nodeport-bindon-all-ip": truth(&everywhere),
		"ipvs-graceful-period":   duration(&drain), "ipvs-graceful-termination": truth(&graceful),
		"ipvs-permit-all":   truth(&permitAll),
		"run-service-proxy": truth(&serviceProxy), "run-firewall": truth(&firewall), "run-router": truth(&router),
		"run-loadbalancer": truth(&loadBalancer),
		"metrics-port":     number(&metricsPort), "metrics-addr": text(&metricsAddr), "health-port": number(&healthPort),
	}
	unknown, err := s.parse(args)
	if err != nil {
		return nil, err
	}
	if master != "" {
		c.APIServers = []string{master}
	}
	if everywhere {
		r.note("--nodeport-bindon-all-ip", "true", "the default here")
	} else {
		c.NodePortAddresses = []string{"primary"}
		r.note("--nodeport-bindon-all-ip", "false",
			"node ports stay on the Node's own address (nodePortAddresses: primary); leave the field out to serve them on all addresses")
	}
	switch {
	case !graceful:
		c.DrainTimeout = proxier.Duration{}
		r.note("--ipvs-graceful-termination", "false",
			"connections to an endpoint that is gone end at once (drainTimeout: 0s); the default here is 15m")
	case drain.Duration > 0:
		c.DrainTimeout = drain
	}
	if len(externalRanges) > 0 {
		c.ExternalIPCIDRs = externalRanges
	} else {
		r.allowAllExternalIPs("--service-external-ip-range")
	}
	// "30000-32767" or "30000:32767". Masquerading may take any port, so that a right range has nothing to be said of
	// it.
	if nodePortRange != "" {
		if err := new(proxier.PortRange).UnmarshalText([]byte(strings.ReplaceAll(nodePortRange, ":", "-"))); err != nil {
			r.note("--service-node-port-range", nodePortRange, "%v; it is not needed here", err)
		}
	}
	if metricsPort > 0 || metricsAddr != "" {
		c.MetricsBindAddress = net.JoinHostPort(strings.Trim(metricsAddr, "[]"), strconv.Itoa(metricsPort))
		if metricsAddr == "" {
			c.MetricsBindAddress = net.JoinHostPort("0.0.0.0", strconv.Itoa(metricsPort))
		}
	}
	if healthPort > 0 {
		c.HealthzBindAddress = net.JoinHostPort("0.0.0.0", strconv.Itoa(healthPort))
	}
	for _, function := range []struct {
		on         bool
		flag, what string
	}{{firewall, "--run-firewall", "network policies are"}, {
		router, "--run-router", "routes between pods (BGP) are",
	}, {loadBalancer, "--run-loadbalancer", "addresses for Services of type LoadBalancer are"}} {
		if function.on {
			r.lost(function.flag, "true",
				"%s not part of a service proxy: keep kube-router for it, with --run-service-proxy=false", function.what)
		}
	}
	if !serviceProxy {
		r.lost("--run-service-proxy", "false", "this kube-router is no service proxy: another program is, whose configuration is the one to convert")
	}
	if !permitAll {
		r.note("--ipvs-permit-all", "false", "ports of service addresses that are no Service's are always refused here")
	}
	r.note("(kube-router)", "", "its annotations, such as kube-router.io/service.scheduler, are read like ours, unless ignoreAliases is true. "+
		"kube-router knows local pods by the Node's podCIDRs: detectLocalMode NodeCIDR does the same")
	c.DetectLocalMode = proxier.DetectNodeCIDR
	if len(clusterRanges) > 0 {
		r.note("--service-cluster-ip-range", strings.Join(clusterRanges, ","), "it is not needed here")
	}
	for _, flag := range unknown {
		if flag.Field == "--hairpin-mode" {
			r.note(flag.Field, flag.Value, "a pod that reaches itself by its Service is always served here, whatever annotation or flag says")
			continue
		}
		r.note(flag.Field, flag.Value, "it is not carried over: it belongs to another function of kube-router, or is unknown")
	}
	return r, r.finish()
}
