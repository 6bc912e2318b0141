package main

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func runCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Program Services into this node's kernel until it is stopped",
		Long: "Program Services into this node's kernel until SIGTERM or SIGINT stops it. The dataplane then stays in place: " +
			"`ipvs-proxier cleanup` removes it.",
		Example: "  ipvs-proxier run --manifests /etc/ipvs-proxier/manifests --cluster-cidr 10.244.0.0/16\n" +
			"  ipvs-proxier run --kubeconfig /etc/kubernetes/proxy.conf --cluster-cidr 10.244.0.0/16",
		Args: wronguse.NoArgs,
	}
	o := newOptions(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := o.complete()
		if err != nil {
			return err
		}
		return proxier.Run(c.Context(), config, version, logger(config))
	}
	return c
}

// logger writes to standard error, client-go's messages included.
func logger(c proxier.Config) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(c.LogLevel)) // validated
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(os.Stderr, options)
	if c.LogFormat == "json" {
		handler = slog.NewJSONHandler(os.Stderr, options)
	}
	log := slog.New(handler)
	klog.SetSlogLogger(slog.New(saidOnce{handler}))
	return log
}
