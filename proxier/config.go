package proxier

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/spelling"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Config is all that an operator can choose. Its JSON names are those of the configuration file; docs/configuration.md says
// what each means.
type Config struct {
	// NodeName is this node's name in the cluster: it tells which endpoints are local.
	NodeName string `json:"nodeName,omitempty"`
	// Manifests is a directory of manifests; Kubeconfig a file. With neither, the API is reached as a pod reaches it.
	Manifests  string `json:"manifests,omitempty"`
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// Link is the name of the dummy link.
	Link string `json:"link,omitempty"`
	// ClusterCIDRs are the networks of the pods.
	ClusterCIDRs []string `json:"clusterCIDRs,omitempty"`
	// MasqueradeAll masquerades every client of a ClusterIP.
	MasqueradeAll bool `json:"masqueradeAll,omitempty"`
	// MasqueradeBit is the bit of the packet mark, 0 to 31, that asks for masquerading.
	MasqueradeBit int `json:"masqueradeBit"`
	// NodePortAddresses limits node ports to the node's addresses in these networks.
	NodePortAddresses []string `json:"nodePortAddresses,omitempty"`
	// Scheduler is in force for Services that choose none; Namespaces overrides it.
	Scheduler  string               `json:"scheduler,omitempty"`
	Namespaces map[string]Namespace `json:"namespaces,omitempty"`
	// StrictARP keeps the node from answering ARP for VIPs on other links.
	StrictARP bool `json:"strictARP,omitempty"`
	// DrainTimeout is how long connections to an endpoint that is gone may go on.
	DrainTimeout Duration `json:"drainTimeout"`
	// AuditPeriod is how often the whole kernel is compared with what is wanted; 0 is never.
	AuditPeriod Duration `json:"auditPeriod"`
	// HealthzBindAddress and MetricsBindAddress are addresses with ports; empty is off.
	HealthzBindAddress string `json:"healthzBindAddress"`
	MetricsBindAddress string `json:"metricsBindAddress"`
	// LogLevel is debug, info, warn or error; LogFormat text or json.
	LogLevel  string `json:"logLevel,omitempty"`
	LogFormat string `json:"logFormat,omitempty"`
}

// Namespace is what an operator can choose for the Services of one namespace.
type Namespace struct {
	Scheduler string `json:"scheduler,omitempty"`
}

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

// Default returns the configuration in force where nobody says anything.
func Default() Config {
	return Config{
		Link:               dataplane.DefaultLink,
		MasqueradeBit:      14, // kube-proxy's, known to be free
		Scheduler:          scheduler.Default,
		DrainTimeout:       Duration{15 * time.Minute},
		AuditPeriod:        Duration{30 * time.Second}, // drift is mended as fast as kube-proxy mends it
		HealthzBindAddress: "0.0.0.0:10256",
		MetricsBindAddress: "127.0.0.1:10249",
		LogLevel:           "info",
		LogFormat:          "text",
	}
}

// Validate returns every mistake, each with its field.
func (c Config) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if c.NodeName == "" {
		bad("nodeName", "is missing")
	}
	if c.Manifests != "" && c.Kubeconfig != "" {
		bad("manifests", "cannot be used together with kubeconfig: choose one source")
	}
	if c.Link == "" || len(c.Link) > 15 {
		bad("link", "%q is not a link name of 1 to 15 bytes", c.Link)
	}
	if c.MasqueradeBit < 0 || c.MasqueradeBit > 31 {
		bad("masqueradeBit", "%d is not between 0 and 31", c.MasqueradeBit)
	}
	for field, cidrs := range map[string][]string{"clusterCIDRs": c.ClusterCIDRs, "nodePortAddresses": c.NodePortAddresses} {
		if _, err := parseCIDRs(cidrs); err != nil {
			bad(field, "%v", err)
		}
	}
	c.validateSchedulers(bad)
	if c.DrainTimeout.Duration < 0 {
		bad("drainTimeout", "%s is below 0", c.DrainTimeout)
	}
	if p := c.AuditPeriod.Duration; p != 0 && p < time.Second {
		bad("auditPeriod", "%s is below 1s; 0 turns audits by time off", c.AuditPeriod)
	}
	for field, address := range map[string]string{"healthzBindAddress": c.HealthzBindAddress, "metricsBindAddress": c.MetricsBindAddress} {
		if _, err := netip.ParseAddrPort(address); err != nil && address != "" {
			bad(field, "%q is not an IP address with a port, such as 127.0.0.1:10249; empty turns it off", address)
		}
	}
	oneOf(bad, "logLevel", c.LogLevel, "debug", "info", "warn", "error")
	oneOf(bad, "logFormat", c.LogFormat, "text", "json")
	return errors.Join(errs...)
}

func oneOf(bad func(field, format string, args ...any), field, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	bad(field, "%q is unknown; allowed are %s", value, strings.Join(allowed, ", "))
}

func (c Config) validateSchedulers(bad func(field, format string, args ...any)) {
	check := func(field, name string) {
		if _, known := scheduler.Lookup(name); known || name == "" {
			return
		}
		hint := ""
		if near, found := spelling.Nearest(strings.ToLower(name), scheduler.Words()); found {
			hint = fmt.Sprintf(" (did you mean %s?)", near)
		}
		bad(field, "%q is no scheduler%s; allowed are %s", name, hint, strings.Join(scheduler.Names(), ", "))
	}
	check("scheduler", c.Scheduler)
	for namespace, of := range c.Namespaces {
		check("namespaces."+namespace+".scheduler", of.Scheduler)
	}
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

// schedulers returns the operator's choices under canonical names. The Config is valid.
func (c Config) schedulers() cluster.Schedulers {
	canonical := func(name string) string {
		s, _ := scheduler.Lookup(name)
		return s.Name
	}
	s := cluster.Schedulers{Namespaces: map[string]string{}}
	if name := canonical(c.Scheduler); name != scheduler.Default {
		s.Default = name
	}
	for namespace, of := range c.Namespaces {
		s.Namespaces[namespace] = canonical(of.Scheduler)
	}
	return s
}

// dataplane returns what the dataplane goes by. The Config is valid.
func (c Config) dataplane(families []cluster.Family, facts dataplane.Facts) dataplane.Config {
	clusterCIDRs, _ := parseCIDRs(c.ClusterCIDRs)
	nodePorts, _ := parseCIDRs(c.NodePortAddresses)
	return dataplane.Config{
		Link: c.Link, Families: families, ClusterCIDRs: clusterCIDRs, MasqueradeAll: c.MasqueradeAll,
		MasqueradeMark: 1 << c.MasqueradeBit, NodePortAddresses: nodePorts, StrictARP: c.StrictARP, Facts: facts,
	}
}
