package proxier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/inputfile"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/manifests"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/nodecheck"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/nodefacts"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// NodeReport is what [CheckNode] finds.
type NodeReport struct{ nodecheck.Report }

// Wrong reports whether the node lacks something without which the proxier cannot work.
func (r NodeReport) Wrong() bool { return r.Worst() == nodecheck.Fails }

// CheckNode looks at this node, and at the API servers, and says what `run` with the configuration would miss there. It
// writes nothing, and loads no module.
func CheckNode(ctx context.Context, c Config) (NodeReport, error) {
	if err := c.Validate(); err != nil {
		return NodeReport{}, fmt.Errorf("configuration: %w", err)
	}
	by := kernel.NetfilterChoice{Netfilter: kernel.NFTables}
	if c.Netfilter != string(kernel.NFTables) { // a request to ipset would load its module
		variant, why, err := kernel.ChooseIptables(ctx, c.Iptables)
		if err != nil {
			return NodeReport{}, err
		}
		by = kernel.NetfilterChoice{Netfilter: kernel.Iptables, Variant: variant, Why: why}
	}
	asked := c.asked(by)
	f := nodefacts.Node(ctx, asked)
	if c.Manifests != "" {
		ports, err := nodePortsOf(c.Manifests)
		f.NodePorts = nodecheck.Is(ports)
		if err != nil {
			f.Source, f.NodePorts = fmt.Sprintf("--manifests: %v", err), nodecheck.Not[[]uint16](err.Error())
		}
	} else {
		c.askServers(ctx, &f)
	}
	return NodeReport{nodecheck.Evaluate(f, asked.Wanted)}, nil
}

// admitted looks at the node before anything is changed there. Its error names all that keeps the program from its
// work; what only does harm is in the log.
func admitted(c Config, by kernel.NetfilterChoice, log *slog.Logger) error {
	asked := c.asked(by)
	var errs []error
	for _, f := range nodecheck.EvaluateStart(nodefacts.Process(asked), asked.Wanted) {
		switch {
		case f.Stops:
			errs = append(errs, errors.New(f.String()))
		case f.Severity > nodecheck.Unknown:
			log.Warn("this node lacks something", "code", f.Code, "name", f.Name, "found", f.Found, "consequence",
				f.Consequence, "mend", f.Fix)
		}
	}
	return errors.Join(errs...)
}

func (c Config) askServers(ctx context.Context, f *nodecheck.Facts) {
	f.NodePorts = nodecheck.Not[[]uint16]("no source of Services")
	config, err := restConfig(c)
	if err != nil {
		f.Source = err.Error()
		return
	}
	urls, err := c.serverURLs(config)
	if err != nil {
		f.Source = err.Error()
		return
	}
	nodefacts.API(ctx, f, config, urls, c.NodeName)
}

// asked returns what the configuration needs of the node. The Config is valid.
func (c Config) asked(by kernel.NetfilterChoice) nodefacts.Asked {
	_, major, minor, _ := kernel.Release()
	d := c.dataplane(kernel.Families(by.Netfilter), dataplane.Facts{KernelMajor: major, KernelMinor: minor})
	limits := c.Conntrack.limits()
	w := nodecheck.Wanted{
		NodeName: c.NodeName, Schedulers: c.schedulers(), Sysctls: maps.Clone(dataplane.Foundation(d).Sysctls),
		ClusterCIDRs: networks(c.ClusterCIDRs),
		Dummy:        d.VIPs == dataplane.ByAddress, TakeOver: c.TakeOver, Binds: map[string]netip.AddrPort{},
		MasqueradePorts: nodecheck.Range(c.MasqueradePorts), Manifests: c.Manifests != "",
		NFTables: by.Netfilter == kernel.NFTables,
	}
	maps.Copy(w.Sysctls, limits.Timeouts())
	if c.DetectLocalMode == DetectBridgeInterface {
		w.PodBridge = c.PodBridgeInterface
	}
	for flag, address := range map[string]string{
		"healthz-bind-address": c.HealthzBindAddress, "metrics-bind-address": c.MetricsBindAddress,
	} {
		if at, err := netip.ParseAddrPort(address); err == nil {
			w.Binds[flag] = at
		}
	}
	return nodefacts.Asked{Wanted: w, Conntrack: limits, Variant: by.Variant}
}

// schedulers are those that the configuration names, and the one that is in force where nobody chooses, by the kernel's
// names.
func (c Config) schedulers() []string {
	words := []string{c.Scheduler}
	if c.Scheduler == "" {
		words = []string{scheduler.Default}
	}
	for _, n := range c.Namespaces {
		words = append(words, n.Scheduler)
	}
	var names []string
	for _, word := range words {
		if s, known := scheduler.Lookup(word); known {
			names = append(names, s.Kernel)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// nodePortsOf returns the node ports of the Services in a directory of manifests. A file that cannot be read holds
// none; `check DIRECTORY` says what is wrong with it.
func nodePortsOf(dir string) (ports []uint16, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			continue
		}
		content, err := inputfile.Read(filepath.Join(dir, e.Name()), inputfile.MaxBytes)
		if err != nil {
			continue
		}
		found, _ := manifests.Read(content)
		for _, o := range found {
			if s, is := o.Value.(*v1.Service); is {
				for _, p := range s.Spec.Ports {
					ports = append(ports, uint16(p.NodePort))
				}
			}
		}
	}
	return slices.DeleteFunc(ports, func(port uint16) bool { return port == 0 }), nil
}

// serverURLs are the API servers in the order in which they are tried.
func (c Config) serverURLs(config *rest.Config) ([]string, error) {
	if len(c.APIServers) > 0 {
		return c.APIServers, nil
	}
	url, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("API server %q: %w", config.Host, err)
	}
	return []string{url.Scheme + "://" + url.Host}, nil
}
