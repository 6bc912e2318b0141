package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func diffCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff",
		Short: "Compare what the API wants, what the daemon has in memory, and what the kernel holds",
		Long: "Read the Services from the API (or the manifests), ask the daemon what it knows of the kernel, read the kernel, and print each object\n" +
			"that is not the same in all three: virtual and real servers, addresses, routes, set entries, sets, rules, sysctls, the link. Nothing\n" +
			"is written. What differs is looked at twice, a second apart.\n\n" +
			"Where the API or the daemon cannot be asked, the other one is compared with the kernel, and the output says so.\n\n" +
			"It takes run's flags: give it the configuration that the daemon has.\n\n" +
			"The exit status is 0 when nothing differs and all three could be asked, 1 otherwise; 2 is wrong use.",
		Example: "  ipvs-proxier diff --config /etc/ipvs-proxier/config.yaml\n" +
			"  ipvs-proxier diff --config /etc/ipvs-proxier/config.yaml -o json",
		Args: wronguse.NoArgs,
	}
	o := newOptions(c.Flags())
	output := c.Flags().StringP("output", "o", "table", "table or json")
	all := c.Flags().Bool(
		"all", false, fmt.Sprintf("print all objects that differ, and not %d of each kind of difference", mostDifferences),
	)
	timeout := c.Flags().Duration("timeout", 20*time.Second, "how long to wait for the Services")
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
		d, err := proxier.MakeDiff(c.Context(), config, version, *timeout, logger(config))
		if err != nil {
			return err
		}
		if *output == "json" {
			err = printJSON(c.OutOrStdout(), d)
		} else {
			printDiff(screenOf(c.OutOrStdout()), d, *all)
		}
		if err == nil {
			err = diffError(d)
		}
		return err
	}
	return c
}

// mostDifferences is how many objects of one kind of difference are printed without --all.
const mostDifferences = 50

// diffError is what the command ends with.
func diffError(d proxier.Diff) error {
	switch {
	case len(d.Differences) > 0:
		return fmt.Errorf("%s: see above", counted(len(d.Differences), "object differs", "objects differ"))
	case d.API.Unknown != "" || d.Memory.Unknown != "":
		return errors.New("not all three could be asked: see above")
	}
	return nil
}

func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// differences are the kinds of them, in the order in which they are printed: a heading, and what it means.
var differences = []struct {
	behind    proxier.DiffBehind
	one, more string
	means     string
}{
	{proxier.DiffKernel, "object in the kernel is", "objects in the kernel are",
		"not as wanted: somebody else changed it, and the next audit repairs it"},
	{proxier.DiffMemory, "object is", "objects are",
		"not as the API wants, and the daemon knows no better: its view of the API is old, the kernel refused it, it is frozen, " +
			"or it has other flags than these. status says which"},
	{proxier.DiffBoth, "object is", "objects are",
		"neither as the API wants nor as the daemon knows it: somebody else changed it, and the daemon is behind the API as well"},
}

// printDiff prints the verdict, what could not be asked, and the objects that differ.
func printDiff(s screen, d proxier.Diff, all bool) {
	for _, side := range []struct{ name, unknown string }{{"API", d.API.Unknown}, {"daemon", d.Memory.Unknown}} {
		if side.unknown != "" {
			s.say(yellow, "  ", fmt.Sprintf("the %s is left out: %s", side.name, side.unknown))
		}
	}
	for _, note := range d.Notes {
		s.say(yellow, "  ", note)
	}
	if len(d.Differences) == 0 {
		s.say(green, "  ", "nothing differs: "+diffSides(d))
		return
	}
	for _, kind := range differences {
		var rows []proxier.DiffDifference
		for _, row := range d.Differences {
			if row.Behind == kind.behind {
				rows = append(rows, row)
			}
		}
		if len(rows) == 0 {
			continue
		}
		s.say(red, "  ", counted(len(rows), kind.one, kind.more)+" "+kind.means)
		left := 0
		if !all && len(rows) > mostDifferences {
			left = len(rows) - mostDifferences
		}
		for _, row := range rows[:len(rows)-left] {
			printDifference(s, d, row)
		}
		if left > 0 {
			s.say(0, "  ", fmt.Sprintf("  and %d more (--all prints them)", left))
		}
	}
}

func printDifference(s screen, d proxier.Diff, row proxier.DiffDifference) {
	s.say(0, "    ", "  "+row.Object)
	for _, side := range []struct {
		name, unknown string
		value         *string
	}{{"API", d.API.Unknown, row.API}, {"memory", d.Memory.Unknown, row.Memory}, {"kernel", "", row.Kernel}} {
		if side.unknown != "" {
			continue
		}
		value := "absent"
		if side.value != nil {
			value = *side.value
		}
		s.say(0, "            ", fmt.Sprintf("    %s: %s", side.name, value))
	}
}

// diffSides says what was compared.
func diffSides(d proxier.Diff) string {
	objects := counted(d.Kernel.Objects, "object", "objects")
	switch {
	case d.API.Unknown != "":
		return "memory and kernel have the same " + objects
	case d.Memory.Unknown != "":
		return "the kernel holds the " + objects + " that the API wants"
	}
	return "API, memory and kernel have the same " + objects
}
