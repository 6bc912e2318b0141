package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/html"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

func reportCommand() *cobra.Command {
	var out htmlFile
	c := &cobra.Command{
		Use:   "report FILE.json... --html OUT.html",
		Short: "Draw saved runs as one HTML file",
		Long: `report reads what "run --json" or "scenario --json" printed and draws it as one HTML file that loads nothing else. Several
runs stand on one page, and above them their latencies in one plot. A file may hold several runs, one after the other.`,
		Example: `  ipvs-load run --mode crr --rate 500 --json tcp://10.96.0.10:80 > rr.json
  ipvs-load report rr.json wlc.json --html runs.html`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{Err: errors.New(`no file is given; report needs what "run --json" or "scenario --json" printed`)}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return usageError{Err: errors.New("--html is not given; it names the file to write")}
			}
			var runs []html.Run
			for _, path := range args {
				more, err := readRuns(path)
				if err != nil {
					return usageError{Err: err}
				}
				runs = append(runs, more...)
			}
			return out.save(runs...)
		},
	}
	c.Flags().StringVar((*string)(&out), "html", "", "`FILE` to write; one that exists is replaced")
	return c
}

// readRuns names each run after its file or its variant, and its round where there are several.
func readRuns(path string) ([]html.Run, error) {
	sides, err := readSides(path)
	if err != nil {
		return nil, err
	}
	var runs []html.Run
	for _, side := range sides {
		runs = append(runs, roundsOf(side.Name, side.Rounds)...)
	}
	return runs, nil
}

func roundsOf(name string, rounds []*report.Report) []html.Run {
	var runs []html.Run
	for i, p := range rounds {
		r := html.Run{Name: name, Report: p}
		if len(rounds) > 1 {
			r.Name = fmt.Sprintf("%s, round %d", name, i+1)
		}
		runs = append(runs, r)
	}
	return runs
}
