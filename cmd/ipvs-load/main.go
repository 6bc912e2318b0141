package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	versioncommand "github.com/ipvs-proxier/ipvs-proxier/internal/version/command"
	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
)

// version is set by the linker.
var version = "unknown"

// Exit statuses beside those of package report.
const (
	exitWrong = 1 // something failed, and said so
	exitUsage = 2 // wrong use: flags, arguments
)

// usageError is wrong use.
type usageError = wronguse.Error

// exitError ends the program with a status and nothing more to say.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "ipvs-load",
		Short: "Measure a Service proxy: true latencies, who answered, what broke",
		Long: `ipvs-load measures Service proxies at layer 4. "serve" answers with its identity; "run" sends requests at a
rate that does not depend on how fast they are answered, and reports latency from the intended start of each
request, the share of each endpoint, and errors by kind.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{Err: wronguse.Command(c, args)}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError{Err: wronguse.Flag(c, err, nil)} })
	root.AddCommand(serveCommand(), runCommand(), scenarioCommand(), compareCommand(), probeCommand(), controlCommand(),
		replayCommand(), reportCommand(), versioncommand.New(version))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if exit := exitError(0); errors.As(err, &exit) {
		return int(exit)
	}
	fmt.Fprintln(stderr, "ipvs-load:", err)
	if usage := (usageError{}); errors.As(err, &usage) {
		return exitUsage
	}
	return exitWrong
}
