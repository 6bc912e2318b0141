package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

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

	clusterCIDR, nodePortAddresses []string
	drainTimeout, auditPeriod      time.Duration
}

// newOptions declares the flags with the defaults of proxier.Default.
func newOptions(flags *pflag.FlagSet) *options {
	o := &options{flags: flags, value: proxier.Default()}
	d := proxier.Default()
	flags.StringVar(&o.config, "config", "", "configuration file (docs/configuration.md); flags override it")
	flags.StringVar(&o.value.Manifests, "manifests", "", "directory with Services and EndpointSlices as YAML or JSON, instead of the Kubernetes API")
	flags.StringVar(&o.value.Kubeconfig, "kubeconfig", "", "kubeconfig file for the Kubernetes API; empty and without --manifests: in-cluster")
	flags.StringVar(&o.value.NodeName, "node-name", "", "name of this node in the cluster (default: the host name in lower case)")
	flags.StringVar(&o.value.NodeName, "hostname-override", "", "the same as --node-name")
	flags.StringVar(&o.value.Link, "link", d.Link, "name of the dummy link that carries the service addresses")
	flags.StringSliceVar(&o.clusterCIDR, "cluster-cidr", nil, "networks of the pods, comma separated: clients of a ClusterIP from outside are masqueraded")
	flags.BoolVar(&o.value.MasqueradeAll, "masquerade-all", false, "masquerade every client of a ClusterIP")
	flags.IntVar(&o.value.MasqueradeBit, "iptables-masquerade-bit", d.MasqueradeBit, "bit of the packet mark that asks for masquerading, 0 to 31")
	flags.StringSliceVar(&o.nodePortAddresses, "nodeport-addresses", nil, "networks, comma separated, to whose addresses of this node node ports are limited (default: no limit)")
	flags.StringVar(&o.value.Scheduler, "ipvs-scheduler", d.Scheduler, "scheduler of Services that choose none: "+strings.Join(scheduler.Names(), ", ")+", or a long name")
	flags.BoolVar(&o.value.StrictARP, "ipvs-strict-arp", false, "answer ARP only on the link that has the address asked for")
	flags.DurationVar(&o.drainTimeout, "drain-timeout", d.DrainTimeout.Duration, "how long connections to an endpoint that is gone may go on; 0 ends them at once")
	flags.DurationVar(&o.auditPeriod, "audit-period", d.AuditPeriod.Duration, "how often the kernel is compared with what is wanted; 0 is never, else at least 1s")
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
		"manifests":               func() { c.Manifests = o.value.Manifests },
		"kubeconfig":              func() { c.Kubeconfig = o.value.Kubeconfig },
		"node-name":               func() { c.NodeName = o.value.NodeName },
		"hostname-override":       func() { c.NodeName = o.value.NodeName },
		"link":                    func() { c.Link = o.value.Link },
		"cluster-cidr":            func() { c.ClusterCIDRs = o.clusterCIDR },
		"masquerade-all":          func() { c.MasqueradeAll = o.value.MasqueradeAll },
		"iptables-masquerade-bit": func() { c.MasqueradeBit = o.value.MasqueradeBit },
		"nodeport-addresses":      func() { c.NodePortAddresses = o.nodePortAddresses },
		"ipvs-scheduler":          func() { c.Scheduler = o.value.Scheduler },
		"ipvs-strict-arp":         func() { c.StrictARP = o.value.StrictARP },
		"drain-timeout":           func() { c.DrainTimeout.Duration = o.drainTimeout },
		"audit-period":            func() { c.AuditPeriod.Duration = o.auditPeriod },
		"healthz-bind-address":    func() { c.HealthzBindAddress = o.value.HealthzBindAddress },
		"metrics-bind-address":    func() { c.MetricsBindAddress = o.value.MetricsBindAddress },
		"log-level":               func() { c.LogLevel = o.value.LogLevel },
		"log-format":              func() { c.LogFormat = o.value.LogFormat },
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
