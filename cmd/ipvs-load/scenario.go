package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/html"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/scenario"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/spec"
)

func scenarioCommand() *cobra.Command {
	var set map[string]string
	var asJSON, list, show bool
	var page htmlFile
	var repetitions int
	var variant string
	c := &cobra.Command{
		Use:   "scenario NAME|FILE.yaml [--set NAME=VALUE]...",
		Short: "Carry out a scenario: a load with its events, in variants and rounds",
		Long: `scenario carries out a file that says everything about a measurement, so that it can be made again: mode, rate, duration,
targets, events, variants and rounds. A name without a dot or a slash is one of the library that is built in.

Exit status: that of the worst run (see "run --help"); 1 also when a variant is slower than the first.`,
		Example: `  ipvs-load scenario --list
  ipvs-load scenario --show cps
  ipvs-load scenario cps --set TARGET=tcp://10.96.0.10:80
  ipvs-load scenario ./mine.yaml --json > mine.json`,
	}
	f := c.Flags()
	f.StringToStringVar(&set, "set", nil, "value of a ${NAME} in the file; the environment has the others")
	f.IntVar(&repetitions, "repetitions", 0, "rounds, in the place of what the file says")
	f.StringVar(&variant, "variant", "", "carry out this variant alone")
	f.BoolVar(&asJSON, "json", false, "print one JSON object instead of text")
	f.StringVar((*string)(&page), "html", "",
		"write a page with plots of all runs to this `FILE`; one that exists is replaced")
	f.BoolVar(&list, "list", false, "list the library")
	f.BoolVar(&show, "show", false, "print the scenario instead of carrying it out")
	c.RunE = func(c *cobra.Command, args []string) error {
		if list {
			return scenario.WriteLibrary(c.OutOrStdout())
		}
		if len(args) != 1 {
			return usageError{Err: errors.New("give one scenario: a name of the library (--list shows it) or a file")}
		}
		text, err := scenarioText(args[0])
		if err != nil {
			return usageError{Err: err}
		}
		if show {
			_, err := fmt.Fprint(c.OutOrStdout(), text)
			return err
		}
		s, err := scenario.Parse(text, scenario.Variables(set))
		if err != nil {
			return usageError{Err: fmt.Errorf("scenario %s: %w", args[0], err)}
		}
		if variant != "" {
			err = s.Only(variant)
		}
		if err == nil && c.Flags().Changed("repetitions") {
			err = s.Repeat(repetitions)
		}
		if err == nil {
			err = page.try()
		}
		if err != nil {
			return usageError{Err: err}
		}
		return runScenario(c, s, asJSON, page)
	}
	return c
}

func scenarioText(name string) (string, error) {
	if !strings.ContainsAny(name, "./") {
		return scenario.Library(name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read the scenario: %w", err)
	}
	return string(text), nil
}

func runScenario(c *cobra.Command, s *scenario.Scenario, asJSON bool, page htmlFile) error {
	ctx, stop := untilSignal(c.Context())
	defer stop()
	run := func(ctx context.Context, l spec.Load) (*report.Report, error) {
		config, settings, err := l.Config()
		if err != nil {
			return nil, err
		}
		p, _, err := load(ctx, c.ErrOrStderr(), config, settings, l.Events, true)
		return p, err
	}
	result, failed := s.Run(ctx, version, run, c.ErrOrStderr())
	write := result.WriteText
	if asJSON {
		write = result.WriteJSON
	}
	if err := errors.Join(failed, write(c.OutOrStdout()), page.save(runsOf(result)...)); err != nil {
		return err
	}
	if status := result.ExitStatus(); status != report.ExitFine {
		return exitError(status)
	}
	return nil
}

func runsOf(r *scenario.Result) []html.Run {
	var runs []html.Run
	for _, v := range r.Variants {
		runs = append(runs, roundsOf(v.Name, v.Rounds)...)
	}
	return runs
}
