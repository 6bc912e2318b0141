package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func cleanupCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove everything of ipvs-proxier's from this node's kernel, and nothing else",
		Long: "Remove everything of ipvs-proxier's from this node's kernel: its virtual servers, the dummy link with its addresses, chains and sets.\n" +
			"What others made stays. Sysctls keep their values. Stop the daemon first: it would put everything back.",
		Args: noArgs,
	}
	config := proxier.Default()
	c.Flags().StringVar(&config.Link, "link", config.Link, "name of the dummy link")
	c.RunE = func(c *cobra.Command, _ []string) error {
		n, err := proxier.Cleanup(config)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%d objects removed\n", n)
		return nil
	}
	return c
}
