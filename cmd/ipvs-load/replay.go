package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/replay"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

func replayCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "replay FILE",
		Short: "Send to the kernel what a Service proxy wrote: the floor of its time",
		Long: `replay sends the netlink messages in a file that ipvs-load control --record has made, in the same order, as many in a system call as
fit, and says how long the kernel took: no proxy that makes the same dataplane can be faster. Then it reads everything back, the floor
of a restart. Rules are not among the messages. The kernel refuses again what it refused the proxy, such as a scheduler that it lacks.

It needs root and an empty network namespace of the same machine, in which it leaves what was recorded.

Exit status: 0 sent; 1 the program itself failed; 2 wrong use.`,
		Example: `  ipvs-load control --services 1000 --endpoints 5 --record writes -- ipvs-proxier run --node-name node1 --manifests {manifests}
  unshare -n ipvs-load replay writes`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{Err: fmt.Errorf("replay needs one file, got %d", len(args))}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of text")
	c.RunE = func(c *cobra.Command, args []string) error {
		file, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer file.Close()
		r, err := replay.Run(file)
		if err != nil {
			return err
		}
		if asJSON {
			err = report.WriteObject(c.OutOrStdout(), r)
		} else {
			_, err = fmt.Fprintf(c.OutOrStdout(), "%d messages in %d system calls: %.3f s; %d were refused %s\nread back, %d virtual servers, %d addresses and routes, and the sets: %.3f s\n",
				r.Messages, r.Sends, r.Took, r.Failed, r.Failure, r.Look.Services, r.Look.Addresses, r.Look.Took)
		}
		return err
	}
	return c
}
