// Command benchpage writes what make bench has measured as Markdown, to standard output or between the markers of a
// page:
//
//	benchpage RUNS.json ...
//	benchpage -page docs/benchmarking.md -plots docs/benchmarking RUNS.json ...
//
//	benchpage -builds RUNS.json ...
//
// -builds prints instead how the builds in it compare that make bench-builds has measured.
//
// Several files are several runs of the same kind of guest, which make one page together.
//
// A page has a place for each kind of guest (uml, qemu, own): <!-- measured KIND --> ... <!-- end KIND -->.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/benchmark"
)

func main() { os.Exit(run()) }

func run() int {
	page := flag.String("page", "", "the page to write into")
	plots := flag.String("plots", "", "directory for its plots, below the page's")
	builds := flag.Bool("builds", false, "compare the builds")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: benchpage [-builds | -page FILE -plots DIR] RUNS.json ...")
		return 2
	}
	if err := write(flag.Args(), *page, *plots, *builds); err != nil {
		fmt.Fprintln(os.Stderr, "benchpage:", err)
		return 1
	}
	return 0
}

func write(files []string, page, plots string, builds bool) error {
	var p benchmark.Page
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var next benchmark.Page
		if err := json.Unmarshal(text, &next); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if i == 0 {
			p = next
		} else if err := p.Join(next); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	if builds {
		_, err := fmt.Print(p.Builds())
		return err
	}
	if page == "" {
		_, err := fmt.Print(p.Markdown(""))
		return err
	}
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	var err error
	for name, svg := range p.Plots() {
		err = errors.Join(err, os.WriteFile(filepath.Join(plots, p.Kind()+"-"+name+".svg"), []byte(svg), 0o644))
	}
	old, failed := os.ReadFile(page)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	whole, err := benchmark.Insert(string(old), p.Kind(), p.Markdown(filepath.Base(plots)))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, []byte(whole), 0o644)
}
