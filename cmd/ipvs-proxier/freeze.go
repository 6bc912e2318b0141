package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func freezeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "freeze [DURATION | off]",
		Short: "Have this node's proxier write nothing to the kernel for a time, or say whether it does",
		Long: "Have the daemon write nothing to the kernel for DURATION, such as 30m, from 1s to 24h. When the command returns, nothing is written any\n" +
			"more. The daemon goes on reading the API. When the time is over, or with off, all that has waited is programmed, after an audit of\n" +
			"the whole kernel. A freeze in a freeze takes its place. Without an argument the command says what is in force.\n\n" +
			"Meanwhile endpoints that go keep their traffic, and ones that come get none. status, the journal, the log and the metric\n" +
			"ipvs_proxier_frozen_until_timestamp_seconds show it, and /readyz is bad. A restart of the daemon keeps the freeze in --state-dir; a\n" +
			"boot of the machine ends it.\n\n" +
			"The exit status is 1 when the daemon cannot be asked, or has not done it.",
		Example: "  ipvs-proxier freeze 30m --reason 'incident 42'\n  ipvs-proxier freeze\n  ipvs-proxier freeze off",
	}
	at := c.Flags().String("socket", proxier.Default().Socket, "the daemon's --socket")
	reason := c.Flags().String("reason", "", "why, for all who wonder; at most 200 bytes")
	output := c.Flags().StringP("output", "o", "table", "table or json")
	var wish freezeWish
	c.Args = func(c *cobra.Command, args []string) (err error) {
		if err := tableOrJSON(*output); err != nil {
			return err
		}
		if !filepath.IsAbs(*at) {
			return usageError{Err: fmt.Errorf("--socket %q is not an absolute path, such as %s", *at, proxier.Default().Socket)}
		}
		wish, err = readFreezeWish(args, *reason)
		return err
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := wish.ask(c.Context(), *at)
		if err != nil {
			return err
		}
		if *output == "json" {
			return printJSON(c.OutOrStdout(), s)
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), proxier.Printable(freezeText(s)))
		return err
	}
	c.ValidArgs = []string{freezeOff}
	return c
}

// freezeOff is the argument that ends a freeze.
const freezeOff = "off"

// freezeWish is what freeze is to do; the zero value asks alone.
type freezeWish struct {
	off    bool
	length time.Duration
	reason string
}

// readFreezeWish reads the arguments before a request is sent.
func readFreezeWish(args []string, reason string) (w freezeWish, err error) {
	wrong := func(format string, args ...any) (freezeWish, error) {
		return freezeWish{}, usageError{Err: fmt.Errorf(format, args...)}
	}
	switch {
	case len(args) > 1:
		return wrong("freeze takes one DURATION, or off")
	case len(reason) > proxier.MaxFreezeReason:
		return wrong("--reason has %d bytes; allowed are %d", len(reason), proxier.MaxFreezeReason)
	case len(args) == 0 || args[0] == freezeOff:
		if reason != "" {
			return wrong("--reason is for a freeze that begins; give a DURATION, such as 30m")
		}
		return freezeWish{off: len(args) == 1}, nil
	}
	if w.length, err = time.ParseDuration(args[0]); err != nil {
		return wrong("DURATION %q is none; want a number with a unit, such as 30m or 1h30m, or off", args[0])
	}
	if w.length < proxier.MinFreeze || w.length > proxier.MaxFreeze {
		return wrong("DURATION %s is out of range; allowed is %s to %s", args[0], proxier.MinFreeze, proxier.MaxFreeze)
	}
	w.reason = reason
	return w, nil
}

func (w freezeWish) ask(ctx context.Context, at string) (proxier.FreezeStatus, error) {
	switch {
	case w.off:
		return proxier.EndFreeze(ctx, at)
	case w.length > 0:
		s, err := proxier.Freeze(ctx, at, w.length, w.reason)
		if err == nil && s.Frozen == nil {
			err = errors.New("freeze: somebody else has ended it already")
		}
		return s, err
	}
	return proxier.FetchFreeze(ctx, at)
}

func freezeText(s proxier.FreezeStatus) string {
	if s.Frozen == nil {
		return "not frozen: what the API wants is programmed"
	}
	text := "frozen " + s.Frozen.String() + ": nothing is written to the kernel"
	if s.Unkept != "" {
		text += "; a restart of the daemon would end it: " + s.Unkept
	}
	return text
}
