package proxier

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/socket"
)

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
	c.validateNetworks(bad)
	c.validateTimeouts(bad)
	c.validateSchedulers(bad)
	for _, server := range c.APIServers {
		if strings.Contains(server, placeholder) {
			bad("apiServers", "%q is the placeholder of deploy/ipvs-proxier.yaml: write the addresses of your API servers there, such as https://192.0.2.1:6443", server)
			continue
		}
		if u, err := url.Parse(server); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" ||
			u.Path != "" {
			bad("apiServers", "%q is not a URL such as https://192.0.2.1:6443", server)
		}
	}
	if len(c.APIServers) > 0 && c.Manifests != "" {
		bad("apiServers", "cannot be used together with manifests")
	}
	if errs := validation.IsValidLabelValue(c.ServiceProxyName); len(errs) > 0 {
		bad("serviceProxyName", "%q is not a label value: %s", c.ServiceProxyName, strings.Join(errs, "; "))
	}
	if _, err := parsePorts(c.ProtectedPorts); err != nil {
		bad("protectedPorts", "%v", err)
	}
	if c.DrainTimeout.Duration < 0 {
		bad("drainTimeout", "%s is below 0", c.DrainTimeout)
	}
	if a := c.MaxViewAge.Duration; a != 0 && a < time.Minute {
		bad("maxViewAge", "%s is below 1m, and API servers say once a minute that nothing is missing; 0 is no bound", c.MaxViewAge)
	}
	if c.ServiceMetrics < 0 || c.ServiceMetrics > mostServiceMetrics {
		bad("serviceMetrics", "%d is not a number of Services from 0 to %d; 0 is none", c.ServiceMetrics, mostServiceMetrics)
	}
	if p := c.AuditPeriod.Duration; p != 0 && p < time.Second {
		bad("auditPeriod", "%s is below 1s; 0 turns audits by time off", c.AuditPeriod)
	}
	if n := c.ContestAfter; n != 0 && (n < 2 || n > mostContestAfter) {
		bad("contestAfter", "%d is not a number of repairs from 2 to %d; 0 has nothing contested", n, mostContestAfter)
	}
	if w := c.ContestWindow.Duration; w < minContestWindow || w > maxContestWindow {
		bad("contestWindow", "%s is not from %s to %s; contestAfter 0 has nothing contested",
			c.ContestWindow, minContestWindow, maxContestWindow)
	}
	for field, address := range map[string]string{
		"healthzBindAddress": c.HealthzBindAddress, "metricsBindAddress": c.MetricsBindAddress,
	} {
		if _, err := netip.ParseAddrPort(address); err != nil && address != "" {
			bad(field, "%q is not an IP address with a port, such as 127.0.0.1:10249; empty turns it off", address)
		}
	}
	if c.Socket != "" && (!filepath.IsAbs(c.Socket) || len(c.Socket) > socket.MaxPath) {
		bad("socket", "%q is not an absolute path of at most %d bytes, such as %s; empty turns it off",
			c.Socket, socket.MaxPath, Default().Socket)
	}
	if c.StateDir != "" && !filepath.IsAbs(c.StateDir) {
		bad("stateDir", "%q is not an absolute path, such as %s; empty keeps nothing", c.StateDir, Default().StateDir)
	}
	c.validateWords(bad)
	return errors.Join(errs...)
}

func (c Config) validateNetworks(bad func(field, format string, args ...any)) {
	if _, err := parseCIDRs(withoutWords(c.NodePortAddresses)); err != nil {
		bad(
			"nodePortAddresses",
			"%v, nor %s or %s (%s, which kube-proxy takes, is missing here: node ports are not served on loopback addresses)",
			err, wordPrimary, wordAll, wordLocalhost,
		)
	}
	for field, cidrs := range map[string][]string{
		"clusterCIDRs": c.ClusterCIDRs, "externalIPCIDRs": c.ExternalIPCIDRs, "excludeCIDRs": c.ExcludeCIDRs,
	} {
		if _, err := parseCIDRs(cidrs); err != nil {
			bad(field, "%v", err)
		}
	}
	for _, by := range []struct{ mode, field, value string }{
		{DetectBridgeInterface, "podBridgeInterface", c.PodBridgeInterface},
		{DetectInterfaceNamePrefix, "podInterfaceNamePrefix", c.PodInterfaceNamePrefix},
	} {
		if c.DetectLocalMode == by.mode && !linkName.MatchString(by.value) {
			bad(by.field, "%q is not a link name of 1 to 15 bytes, which detectLocalMode %s needs", by.value, by.mode)
		}
	}
}

// The bounds of contests: what is remembered of an object has one time for each repair.
const (
	mostContestAfter = 100
	minContestWindow = 10 * time.Second
	maxContestWindow = 24 * time.Hour
)

// mostServiceMetrics is the most that serviceMetrics may be: five series each are as many as one scrape should bring.
const mostServiceMetrics = 10000

// placeholder is in the API server's address that deploy/ipvs-proxier.yaml comes with.
const placeholder = "REPLACE-WITH"

// linkName is what goes into a rule as the name of a link. The kernel allows more, up to 15 bytes without "/" and
// spaces.
var linkName = regexp.MustCompile(`^[a-zA-Z0-9_.:@-]{1,15}$`)

func (c Config) validateTimeouts(bad func(field, format string, args ...any)) {
	for field, d := range map[string]Duration{
		"tcpTimeout": c.TCPTimeout, "tcpFinTimeout": c.TCPFinTimeout, "udpTimeout": c.UDPTimeout,
		"conntrack.tcpEstablishedTimeout": c.Conntrack.TCPEstablishedTimeout,
		"conntrack.tcpCloseWaitTimeout":   c.Conntrack.TCPCloseWaitTimeout,
		"conntrack.udpTimeout":            c.Conntrack.UDPTimeout, "conntrack.udpStreamTimeout": c.Conntrack.UDPStreamTimeout,
	} {
		// The kernel counts in jiffies, of which there may be 1000 in a second, in 31 bits.
		if d.Duration < 0 || d.Duration%time.Second != 0 || d.Duration > maxTimeout {
			bad(field, "%s is not whole seconds from 0s, which leaves what the kernel has, to %s", d, maxTimeout)
		}
	}
	for field, n := range map[string]int{
		"conntrack.maxPerCore": c.Conntrack.MaxPerCore, "conntrack.min": c.Conntrack.Min,
	} {
		if n < 0 {
			bad(field, "%d is below 0; 0 leaves what the node has", n)
		}
	}
	if c.MinSyncPeriod.Duration < 0 {
		bad("minSyncPeriod", "%s is below 0", c.MinSyncPeriod)
	}
}

// maxTimeout is the longest timeout that the kernel takes (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_set_timeout, Linux
// 6.12).
const maxTimeout = (1<<31 - 1) / 1000 * time.Second

func (c Config) validateSchedulers(bad func(field, format string, args ...any)) {
	check := func(prefix string, choices map[string]string) {
		for name, text := range choices {
			if _, err := operatorValue(name, text); err != nil && text != "" {
				bad(prefix+fieldNamed(name), "%s", err)
			}
		}
	}
	check("", c.choices())
	for namespace, of := range c.Namespaces {
		check("namespaces."+namespace+".", of.choices())
	}
}

// fieldNamed returns the field for an annotation: schedulerFlags for scheduler-flags.
func fieldNamed(key string) string {
	words := strings.Split(key, "-")
	for i := range words[1:] {
		words[i+1] = strings.ToUpper(words[i+1][:1]) + words[i+1][1:]
	}
	return strings.Join(words, "")
}

// operatorValue reads a value that is in force for every port alike.
func operatorValue(name, text string) (string, error) {
	key, _ := annotation.Lookup(annotation.Service, name)
	values, err := key.Parse(text)
	if err != nil {
		return "", err
	}
	value, all := values[annotation.AllPorts]
	if !all || len(values) > 1 {
		return "", fmt.Errorf("%q names ports, which only a Service can", text)
	}
	return value, nil
}
