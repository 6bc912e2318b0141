package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-proxier/internal/convert"
	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// options are the flags of `run`, which come from the table of [proxier.Options].
type options struct {
	flags  *pflag.FlagSet
	config string
	given  proxier.Config
}

// newOptions declares the flags, with the defaults of [proxier.Default].
func newOptions(flags *pflag.FlagSet) *options {
	o := &options{flags: flags, given: proxier.Default()}
	flags.StringVar(&o.config, "config", "", "configuration file (docs/configuration.md); flags override it")
	for _, option := range proxier.Options() {
		for i, name := range option.Flags {
			help := option.Help
			if i > 0 {
				help = "the same as --" + option.Flags[0]
			}
			declare(flags, name, help, option.Value(&o.given))
		}
	}
	return o
}

// declare makes a flag that writes to where the pointer leads. What is there is its default.
func declare(flags *pflag.FlagSet, name, help string, to any) {
	switch to := to.(type) {
	case *string:
		flags.StringVar(to, name, *to, help)
	case *bool:
		flags.BoolVar(to, name, *to, help)
	case *int:
		flags.IntVar(to, name, *to, help)
	case *[]string:
		flags.StringSliceVar(to, name, *to, help)
	case *proxier.Duration:
		flags.DurationVar(&to.Duration, name, to.Duration, help)
	case pflag.Value:
		flags.Var(to, name, help)
	default:
		panic(fmt.Sprintf("BUG: --%s has the type %T", name, to))
	}
}

// complete returns the configuration in force: defaults, under the file, under the flags that were given.
func (o *options) complete() (proxier.Config, error) {
	c := proxier.Default()
	if o.config != "" {
		var err error
		if c, err = proxier.ReadConfig(o.config, c); err != nil {
			return c, usageError{Err: err}
		}
	}
	for _, option := range proxier.Options() {
		if slices.ContainsFunc(option.Flags, o.flags.Changed) {
			option.Copy(&c, &o.given)
		}
	}
	if c.LogLevel == "warning" { // so journald, klog and others call it
		c.LogLevel = "warn"
	}
	if c.NodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, usageError{Err: fmt.Errorf("give --node-name: %w", err)}
		}
		c.NodeName = strings.ToLower(strings.TrimSpace(host))
	}
	if err := c.Validate(); err != nil {
		return c, usageError{Err: fmt.Errorf("configuration: %w", err)}
	}
	return c, nil
}

// flagError names the nearest flag for one that does not exist, and convert for one of kube-proxy's.
func flagError(c *cobra.Command, err error) error {
	return usageError{Err: wronguse.Flag(c, err, func(name string) string {
		if !convert.IsKubeProxyFlag(name) {
			return ""
		}
		return fmt.Sprintf("it is kube-proxy's; `ipvs-proxier convert -- --%s=...` says what becomes of it here", name)
	})}
}
