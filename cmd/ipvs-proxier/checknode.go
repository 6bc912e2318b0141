package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func checkNodeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "node",
		Short: "Report what this node lacks for `run`, with the command that fixes it",
		Long: "Look at this node and at the API servers, and report what run would miss there: modules, capabilities, kernel parameters,\n" +
			"iptables, bridges, other proxies, node ports, tables, API servers, permissions, clocks. Each finding has a code, the\n" +
			"consequence and the command that fixes it. Give it the flags and the configuration of run: what is right depends on them.\n\n" +
			"It writes nothing and loads no module, before the installation and later. Run it as root, or in the container of the\n" +
			"DaemonSet: what it may not look at, it says.\n\n" +
			"The exit status is 1 when something fails. What only warns leaves it 0.",
		Example: "  ipvs-proxier check node --config /etc/ipvs-proxier/config.yaml\n" +
			"  kubectl -n ipvs-proxier exec ds/ipvs-proxier -- ipvs-proxier check node --config /etc/ipvs-proxier/config.yaml -o json",
		Args: wronguse.NoArgs,
	}
	o := newOptions(c.Flags())
	output := c.Flags().StringP("output", "o", "table", "table or json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := tableOrJSON(*output); err != nil {
			return err
		}
		config, err := o.complete()
		if err != nil {
			return err
		}
		report, err := proxier.CheckNode(c.Context(), config)
		if err != nil {
			return err
		}
		if *output == "json" {
			err = printJSON(c.OutOrStdout(), report)
		} else {
			err = report.WriteText(c.OutOrStdout(), proxier.Printable)
		}
		if err == nil && report.Wrong() {
			err = errors.New("the node is not ready, see above")
		}
		return err
	}
	return c
}
