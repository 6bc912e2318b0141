package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func cleanupCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove everything of ipvs-proxier from this node's kernel, and nothing else",
		Long: "Remove everything of ipvs-proxier from this node's kernel: its virtual servers, the dummy link with its addresses, chains and sets.\n" +
			"What others made stays. Sysctls keep their values.\n\n" +
			"cleanup removes nothing while ipvs-proxier, kube-proxy or kube-router runs on the node: stop it first. kube-proxy has a link kube-ipvs0,\n" +
			"too. That link counts as ours only while sets of ours (IPVSP-...) are there.\n\n" +
			"To go back to kube-proxy: stop ipvs-proxier, start kube-proxy in ipvs mode, then run cleanup --hand-over. It removes our chains, sets and\n" +
			"routes. It leaves virtual servers, addresses and the link to kube-proxy, which has adopted them. So no connection breaks.",
		Example: "  ipvs-proxier cleanup --dry-run\n  ipvs-proxier cleanup\n  ipvs-proxier cleanup --hand-over",
		Args:    wronguse.NoArgs,
	}
	config := proxier.Default()
	var o proxier.CleanupOptions
	c.Flags().StringVar(&config.Link, "link", config.Link, "name of the dummy link")
	c.Flags().StringVar(&config.Iptables, "iptables", config.Iptables,
		"variant of iptables that our chains are in: auto, nft or legacy")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false,
		"print a line for each object that would be removed, and remove nothing; status 1 and the reason where cleanup would refuse")
	c.Flags().BoolVar(&o.HandOver, "hand-over", false,
		"leave virtual servers, addresses and the link to a running kube-proxy in ipvs mode")
	c.Flags().BoolVar(&o.Force, "force", false,
		"clean up beside a running kube-proxy or kube-router, and take what is on the link for ours even without a set of ours; "+
			"a running ipvs-proxier is refused all the same: it would restore everything")
	c.RunE = func(c *cobra.Command, _ []string) error {
		removal, err := proxier.Cleanup(c.Context(), config, o)
		out := c.OutOrStdout()
		if removal.Left != "" {
			fmt.Fprintln(c.ErrOrStderr(), proxier.Printable(removal.Left))
		}
		if o.DryRun {
			for _, object := range removal.Objects {
				fmt.Fprintln(out, proxier.Printable(object))
			}
		}
		switch {
		case o.DryRun && err == nil:
			fmt.Fprintf(out, "%d objects would be removed\n", len(removal.Objects))
		case !o.DryRun && (err == nil || len(removal.Objects) > 0):
			fmt.Fprintf(out, "%d objects removed\n", len(removal.Objects))
		}
		return err
	}
	return c
}
