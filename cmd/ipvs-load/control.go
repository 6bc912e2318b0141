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
	c := &cobra.Command{
		Use:   "control --services N --endpoints M [--apply COMMAND] -- PROXY [ARG...]",
		Short: "Measure what a Service proxy costs the node that it programs",
		Long: `control gives any IPVS proxy, by its command line, N Services with M endpoints each, and measures: the time until the kernel has
all of them, the time of one change, processor time of its own and of its children, peak memory, processes started, netlink.

The word {manifests} in the proxy's command line becomes a directory with a file of manifests for each Service. For a proxy that
reads from an API server, --apply brings a file there: the command, by sh, in which {file} becomes the file's name.

It needs root, and an empty network namespace is a good place. The proxy is ended afterwards by SIGTERM; what it leaves in the
kernel stays.

Exit status: 0 measured; 1 the proxy or a command failed; 2 wrong use; 3 the kernel did not get everything within --timeout.`,
		Example: `  ipvs-load control --services 1000 --endpoints 5 -- ipvs-proxier run --node-name node1 --manifests {manifests}
  ipvs-load control --services 1000 --endpoints 5 --timeout 20m --apply 'kubectl apply --server-side -f {file}' -- kube-proxy --proxy-mode ipvs --kubeconfig k`,
	}
	f := c.Flags()
	f.IntVar(&config.Services, "services", 1000, "number of Services")
	f.IntVar(&config.Endpoints, "endpoints", 5, "endpoints of each")
	f.BoolVar(&config.IPv6, "ipv6", false, "Services of IPv6 instead of IPv4")
	f.IntVar(&config.Changes, "changes", 20, "exchanges of one endpoint to measure")
	f.DurationVar(&config.Idle, "idle", 10*time.Second, "how long to watch when there is nothing to do")
	f.DurationVar(&config.Timeout, "timeout", 10*time.Minute, "for the first programming, and for each change")
	f.StringVar(&config.Apply, "apply", "", "command, by sh, that brings the manifests in {file} to the API server")
	f.BoolVar(&asJSON, "json", false, "print one JSON object instead of text")
	c.RunE = func(c *cobra.Command, args []string) error {
		config.Command, config.Log = args, c.ErrOrStderr()
		if err := config.Validate(); err != nil {
			return usageError{err}
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
