// Package wronguse answers wrong use of a command line: it names what somebody may have meant by a command or a flag
// that does not exist. Both programs answer alike.
package wronguse

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ipvs-proxier/ipvs-proxier/internal/spelling"
)

// Error is wrong use: of flags, arguments or configuration. Programs end with an exit status of its own for it.
type Error struct{ Err error }

// Error returns the text of what is wrong.
func (e Error) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e Error) Unwrap() error { return e.Err }

// NoArgs refuses arguments with an [Error] that names the first one. It is for [cobra.Command.Args].
func NoArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Error{fmt.Errorf("%s takes no arguments, found %q", c.CommandPath(), args[0])}
	}
	return nil
}

// Command returns the error for arguments in the place of a subcommand: the first one is none. It names the nearest
// subcommand, or all.
func Command(c *cobra.Command, args []string) error {
	var names []string
	for _, known := range c.Commands() {
		names = append(names, known.Name())
	}
	hint := "allowed are " + strings.Join(names, ", ")
	if near, ok := spelling.Nearest(args[0], names); ok {
		hint = "did you mean " + near + "?"
	}
	return fmt.Errorf("%q is not a command (%s)", args[0], hint)
}

var unknownFlag = regexp.MustCompile(`^unknown flag: --(\S+)$`)

// Flag returns an error of cobra's about flags, with the nearest flag where one does not exist. known says what else is
// known of a flag that is near to none, "" for nothing; it may be nil.
func Flag(c *cobra.Command, err error, known func(name string) string) error {
	if found := unknownFlag.FindStringSubmatch(err.Error()); found != nil {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near, ok := spelling.Nearest(found[1], names); ok {
			return fmt.Errorf("%w (did you mean --%s?)", err, near)
		}
		if known != nil {
			if hint := known(found[1]); hint != "" {
				return fmt.Errorf("%w: %s", err, hint)
			}
		}
	}
	return fmt.Errorf("%w (see %s --help)", err, c.CommandPath())
}
