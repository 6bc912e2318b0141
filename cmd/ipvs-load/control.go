package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/control"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

func controlCommand() *cobra.Command {
	var config control.Config
	var asJSON bool
	var vips, sets []string
	var ready string
	c := &cobra.Command{
		Use:   "control --services N --endpoints M [--kubeconfig FILE] [--set NAME=N]... [--settled COMMAND] -- PROXY [ARG...]",
		Short: "Measure what a Service proxy costs the node that it programs",
		Long: `control gives any IPVS proxy, by its command line, N Services with M endpoints each, and measures: the time until the kernel has
all of them, the time of one change, processor time of its own and of its children, peak memory, processes started, netlink.

The word {manifests} in the proxy's command line becomes a directory with a file of manifests for each Service. For a proxy that
reads from an API server, --kubeconfig writes the objects there: afterwards namespace default has those Services of the name
load-NUMBER and no others of such a name. --apply brings a file there instead: the command, by sh, in which {file} becomes its name.

Real servers are found in the kernel. What else belongs to a complete dataplane is named: addresses that are local by a link
(--vips), entries of sets (--set), and a command, by sh, that succeeds when the rest is there (--settled).

It needs root, and an empty network namespace is a good place. The proxy is started when the machine is quiet, or after half a minute,
and ended afterwards by SIGTERM; what it leaves in the kernel stays.

Exit status: 0 measured; 1 the proxy or a command failed; 2 wrong use; 3 the kernel did not get everything within --timeout.`,
		Example: `  ipvs-load control --services 1000 --endpoints 5 -- ipvs-proxier run --node-name node1 --manifests {manifests}
  ipvs-load control --services 1000 --endpoints 5 --timeout 20m --kubeconfig k --vips kube-ipvs0=1000 --set KUBE-CLUSTER-IP=1000 \
    --settled 'iptables-save -t nat | grep -q "match-set KUBE-CLUSTER-IP"' -- kube-proxy --proxy-mode ipvs --kubeconfig k`,
	}
	f := c.Flags()
	f.IntVar(&config.Services, "services", 1000, "number of Services")
	f.IntVar(&config.Endpoints, "endpoints", 5, "endpoints of each")
	f.BoolVar(&config.IPv6, "ipv6", false, "Services of IPv6 instead of IPv4")
	f.IntVar(&config.Changes, "changes", 20, "exchanges of one endpoint to measure")
	f.DurationVar(&config.Pause, "pause", 0, "how long to rest before each change")
	f.DurationVar(&config.Idle, "idle", 10*time.Second, "how long to watch when there is nothing to do")
	f.BoolVar(&config.Restart, "restart", false, "end the proxy and start it again, with nothing to do; needs --ready")
	f.DurationVar(&config.Timeout, "timeout", 10*time.Minute, "for the first programming, and for each change")
	f.StringVar(&config.Kubeconfig, "kubeconfig", "", "write the objects to the API server that this file names")
	f.StringVar(&config.Apply, "apply", "", "command, by sh, that brings the manifests in {file} to the API server")
	f.StringArrayVar(&vips, "vips", nil, "LINK=N: a complete dataplane has N addresses that are local by the link; may be repeated")
	f.StringArrayVar(&sets, "set", nil, "NAME=N: a complete dataplane has N entries in the ipset; may be repeated")
	f.BoolVar(&config.Iptables, "iptables", false,
		"the proxy is kube-proxy in its iptables mode, whose rules are read by iptables-save")
	f.StringVar(&config.Settled, "settled", "",
		"command, by sh, that succeeds when the rest of a complete dataplane is there")
	f.StringVar(&ready, "ready", "", "\"URL PATTERN\": the proxy is ready when the regular expression matches that page of it")
	f.StringVar(&config.Metrics, "metrics", "",
		"URL of the proxy's page of Prometheus metrics, for --histogram and --counter")
	f.StringArrayVar(&config.Histograms, "histogram", nil,
		"name of a histogram there to report about the changes; may be repeated")
	f.StringArrayVar(&config.Counters, "counter", nil,
		"name of a counter there, with its labels as they are written, to report about the changes and the idle time; may be repeated")
	f.StringVar(&config.Record, "record", "",
		"keep in this file what the first programming wrote by netlink, for ipvs-load replay")
	f.BoolVar(&asJSON, "json", false, "print one JSON object instead of text")
	c.RunE = func(c *cobra.Command, args []string) error {
		config.Command, config.Log = args, c.ErrOrStderr()
		if err := errors.Join(
			counts(&config.VIPs, vips), counts(&config.Sets, sets), readiness(&config.Ready, ready),
		); err != nil {
			return usageError{Err: err}
		}
		if err := config.Validate(); err != nil {
			return usageError{Err: err}
		}
		ctx, stop := untilSignal(c.Context())
		defer stop()
		result, failed := control.Run(ctx, config)
		interrupted := ctx.Err() != nil
		p := control.NewReport(version, config, result, failed, interrupted)
		write := p.WriteText
		if asJSON {
			write = p.WriteJSON
		}
		if err := write(c.OutOrStdout()); err != nil {
			return err
		}
		switch {
		case failed == nil, interrupted && p.First != nil:
			return nil
		case errors.Is(failed, control.ErrNotConverged):
			return exitError(report.ExitUnreachable)
		}
		return failed
	}
	return c
}

// counts parses what repeated flags say.
func counts(into *[]control.Count, texts []string) error {
	for _, text := range texts {
		n, err := control.ParseCount(text)
		if err != nil {
			return err
		}
		*into = append(*into, n)
	}
	return nil
}

func readiness(into **control.Ready, text string) (err error) {
	if text != "" {
		*into, err = control.ParseReady(text)
	}
	return err
}
