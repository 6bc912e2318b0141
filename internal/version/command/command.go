// Package command is the subcommand version, the same in both programs. It is not in package version, so that what only
// asks for a version needs no command line.
package command

import (
	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/internal/version"
	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
)

// New returns the subcommand of a program that was built as that version.
func New(built string) *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "Print the version", Args: wronguse.NoArgs}
	output := c.Flags().StringP("output", "o", "text", "text, the version alone, or json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := version.Check(*output); err != nil {
			return wronguse.Error{Err: err}
		}
		return version.Of(built).Print(c.OutOrStdout(), *output)
	}
	return c
}
