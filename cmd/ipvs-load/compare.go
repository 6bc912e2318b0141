package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/compare"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/scenario"
)

func compareCommand() *cobra.Command {
	var threshold float64
	var asJSON bool
	c := &cobra.Command{
		Use:   "compare BASE.json OTHER.json...",
		Short: "Compare runs, and distinguish differences from noise",
		Long: `compare holds the runs in each file against those in the first. A file is what "run --json" printed, once or several
times one after the other (its rounds), or what "scenario --json" printed (each variant is compared with the first).

A difference counts when it is significant, larger than the threshold, and larger than what the client itself adds. From
five rounds on each side the rounds are compared; with fewer, blocks of time within them, which can only show larger
differences. Rounds that alternate between the sides, as a scenario makes them, are worth more than runs made one day
after the other.

Exit status: 0 nothing is slower; 1 something is slower, or has more errors; 2 wrong use.`,
		Example: `  ipvs-load compare before.json after.json
  ipvs-load compare --threshold 0.05 --json kube-proxy.json ipvs-proxier.json`,
	}
	c.Flags().Float64Var(&threshold, "threshold", compare.DefaultThreshold,
		"relative difference from which on one counts; a p99 must differ by three times as much")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of text")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError{Err: errors.New("no file is given; compare needs what \"run --json\" or \"scenario --json\" printed")}
		}
		var sides []compare.Side
		for _, path := range args {
			more, err := readSides(path)
			if err != nil {
				return usageError{Err: err}
			}
			sides = append(sides, more...)
		}
		result, err := compare.Compare(sides, threshold)
		if err != nil {
			return usageError{Err: err}
		}
		write := result.WriteText
		if asJSON {
			write = result.WriteJSON
		}
		if err := write(c.OutOrStdout()); err != nil {
			return err
		}
		if result.Worse() {
			return exitError(report.ExitErrors)
		}
		return nil
	}
	return c
}

func readSides(path string) ([]compare.Side, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the runs: %w", err)
	}
	defer f.Close()
	return scenario.ReadSides(strings.TrimSuffix(filepath.Base(path), ".json"), f)
}
