// A kernel without Multipath TCP runs modprobe twice when a process opens such a socket. Package net does that when a
// process first listens.
//
//go:debug multipathtcp=0

// Command ipvs-proxier is a Kubernetes service proxy on the kernel's IPVS, and the tool by which an operator looks at
// it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	versioncommand "github.com/ipvs-proxier/ipvs-proxier/internal/version/command"
	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// version is set by the linker.
var version = "unknown"

// Exit statuses: 0 is fine.
const (
	exitWrong = 1 // something is wrong, and said
	exitUsage = 2 // wrong use: flags, arguments, configuration
)

// usageError is wrong use.
type usageError = wronguse.Error

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := rootCommand().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "ipvs-proxier:", printableLines(err.Error()))
	if usage := (usageError{}); errors.As(err, &usage) {
		return exitUsage
	}
	return exitWrong
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "ipvs-proxier",
		Short:         "A Kubernetes service proxy on IPVS, with a scheduler of your choice for each Service",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          noCommand,
		// No template of our own: with one the linker keeps all methods of all types, 4 MiB more (cobra 1.10,
		// text/template).
		Version: version,
	}
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(runCommand(), statusCommand(), checkCommand(), cleanupCommand(), explainCommand(), planCommand(),
		diffCommand(),
		journalCommand(), freezeCommand(), bundleCommand(), convertCommand(), versioncommand.New(version))
	completeFlags(root)
	strictHelp(root)
	return root
}

// printableLines returns a text of several lines without what may control a terminal: errors contain names from
// outside.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = proxier.Printable(line)
	}
	return strings.Join(lines, "\n")
}

// strictHelp has "help foo" and "completion foo" end as any other unknown command does. cobra prints help for both,
// with status 0 (1.10).
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			print := c.Run
			c.Run = nil
			c.RunE = func(c *cobra.Command, args []string) error {
				if found, rest, err := root.Find(args); err != nil || found == root && len(rest) > 0 {
					return noCommand(root, args)
				}
				print(c, args)
				return nil
			}
		case "completion":
			c.Args, c.RunE = cobra.ArbitraryArgs, noCommand
		}
	}
}

// noCommand runs when the first argument is no command.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	return usageError{Err: wronguse.Command(c, args)}
}
