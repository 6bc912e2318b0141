package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func planCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "plan",
		Short: "Print what run would change in this node's kernel now, and change nothing",
		Long: "Read this node's kernel and the Services, and print each operation by which run with these flags would bring the kernel in line,\n" +
			"in their order. Nothing is written. A running proxier is neither needed nor asked: where one is at work and all is well, there is\n" +
			"nothing to do. So plan shows what somebody else has changed, and what other flags, another configuration or other manifests would do.\n\n" +
			"It takes run's flags. Not in the plan: the limits of connection tracking, and what only time brings, such as the end of draining.",
		Example: "  ipvs-proxier plan --config /etc/ipvs-proxier/config.yaml\n" +
			"  ipvs-proxier plan --config /etc/ipvs-proxier/config.yaml --vip-mode route\n" +
			"  ipvs-proxier plan --manifests ./manifests --exit-code",
		Args: wronguse.NoArgs,
	}
	o := newOptions(c.Flags())
	output := c.Flags().StringP("output", "o", "table", "table or json")
	exit := c.Flags().Bool("exit-code", false, "end with status 1 when there is something to do")
	timeout := c.Flags().Duration("timeout", time.Minute, "how long to wait for the Services")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := tableOrJSON(*output); err != nil {
			return err
		}
		if *timeout <= 0 {
			return usageError{Err: fmt.Errorf("--timeout %s is out of range; want more than 0", *timeout)}
		}
		config, err := o.complete()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Context(), *timeout)
		defer cancel()
		plan, err := proxier.MakePlan(ctx, config, version, logger(config))
		if err != nil {
			return err
		}
		if *output == "json" {
			err = printJSON(c.OutOrStdout(), plan)
		} else {
			for _, operation := range plan.Operations {
				fmt.Fprintln(c.OutOrStdout(), proxier.Printable(operation.String()))
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), plan.Summary())
		}
		if err == nil && *exit && len(plan.Operations) > 0 {
			err = errors.New("the kernel is not in line, see above")
		}
		return err
	}
	return c
}
