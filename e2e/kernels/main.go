// Command kernels runs the contract of the kernel adapters and the end-to-end tests on every kernel and iptables of a
// list, and writes what passed and what failed into a page.
//
//	kernels [flags] [ROW...]   run the rows, or all of them
//	kernels -list              name them
//
// Each test's result is kept as soon as it is there, in a file a row: what was cut off goes on where it was, and what
// failed is run again. A row of which there is no file here, because it was run elsewhere, stays as it is on the page,
// and goes on from there when it is run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	flags := flag.NewFlagSet("kernels", flag.ContinueOnError)
	var c config
	flags.StringVar(&c.page, "page", "docs/kernels.md", "the page to write, between its markers")
	flags.StringVar(&c.out, "out", "bin/out/kernels", "where the results are kept")
	flags.StringVar(&c.bin, "bin", "bin", "the directory with lab, guests, e2e.test and kernel/*.test")
	flags.StringVar(&c.pattern, "run", "", "only end-to-end tests whose names match, and no contract; all when empty")
	flags.StringVar(&c.timeout, "timeout", "4h", "how long the tests of a row may take")
	fresh := flags.Bool("fresh", false, "forget the results of these rows first")
	list := flags.Bool("list", false, "name the rows and end")
	pageOnly := flags.Bool("write", false, "run nothing, write the page from what is there")
	if err := flags.Parse(args); err != nil {
		return 64
	}
	chosen, err := choose(rows, flags.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		return 64
	}
	if *list {
		for _, r := range chosen {
			fmt.Printf("%-28s %s\n", r.name, r.what())
		}
		return 0
	}
	// The end-to-end tests look there for the programs, even when they are only listed.
	bin, err := filepath.Abs(c.bin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		return 1
	}
	os.Setenv("IPVSP_BIN", bin)
	os.Setenv("IPVSP_PEERS", filepath.Join(bin, "peers"))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	passed := true
	for _, r := range chosen {
		if *fresh {
			if err := c.forget(r); err != nil {
				fmt.Fprintln(os.Stderr, "kernels:", err)
				return 1
			}
		}
		if *pageOnly || ctx.Err() != nil {
			continue
		}
		good, err := c.play(ctx, r)
		if err != nil {
			fmt.Fprintln(os.Stderr, "kernels:", err)
			return 1
		}
		passed = passed && good
		// A row at a time, so that a run that is cut off has written what it knows.
		if err := c.writePage(); err != nil {
			fmt.Fprintln(os.Stderr, "kernels:", err)
			return 1
		}
	}
	if err := c.writePage(); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		return 1
	}
	if !passed || ctx.Err() != nil {
		return 1
	}
	return 0
}

// config is what the command line chooses.
type config struct{ page, out, bin, pattern, timeout string }

func (c config) results(r row) string { return filepath.Join(c.out, r.name+".jsonl") }

func (c config) contract() ([]string, error) {
	return filepath.Glob(filepath.Join(c.bin, "kernel", "*.test"))
}

// forget leaves an empty file of results, so that the row does not go on from the page either.
func (c config) forget(r row) error {
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return err
	}
	return os.WriteFile(c.results(r), nil, 0o644)
}

// play runs what is left of a row. The usual iptables of a kernel runs everything, the others the contract and
// TestTraffic.
func (c config) play(ctx context.Context, r row) (bool, error) {
	if err := c.goOn(r); err != nil {
		return false, fmt.Errorf("go on with row %s of %s: %w", r.name, c.page, err)
	}
	contract, err := c.contract()
	if err != nil || len(contract) == 0 {
		return false, fmt.Errorf("no tests of the contract in %s/kernel (%w)", c.bin, err)
	}
	fmt.Printf("\n== %s: %s\n", r.name, r.what())
	pattern := c.pattern
	if pattern == "" && !r.usual {
		pattern = "^TestTraffic$"
	}
	good := true
	if c.pattern == "" {
		good = c.guests(ctx, r, "", "tests of the contract", contract...)
	}
	return c.guests(ctx, r, pattern, "end-to-end tests", filepath.Join(c.bin, "e2e.test")) && good, nil
}

// guests runs test programs on the row's kernel.
func (c config) guests(ctx context.Context, r row, pattern, what string, programs ...string) bool {
	out := filepath.Join(c.out, r.name)
	if os.MkdirAll(out, 0o755) != nil || ctx.Err() != nil {
		return false
	}
	args := []string{"-lab", filepath.Join(c.bin, "lab") + " run --kernel " + r.kernel, "-run", pattern, "-what", what,
		"-timeout", c.timeout,
		"-results", c.results(r), "-out", out}
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "guests"), append(args, programs...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), "LAB_SUITE="+r.suite, "LAB_IPTABLES="+r.iptables)
	return cmd.Run() == nil
}

// tests lists the tests that a row has, as the results name them.
func (c config) tests(r row) (contract, e2e []string, err error) {
	programs, err := c.contract()
	if err != nil {
		return nil, nil, err
	}
	for _, program := range programs {
		names, err := testsOf(program)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range names {
			if len(programs) > 1 { // as e2e/guests names them
				name = strings.TrimSuffix(filepath.Base(program), ".test") + ":" + name
			}
			contract = append(contract, name)
		}
	}
	if !r.usual {
		return contract, []string{"TestTraffic"}, nil
	}
	e2e, err = testsOf(filepath.Join(c.bin, "e2e.test"))
	return contract, e2e, err
}

func testsOf(program string) ([]string, error) {
	path, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	out, err := exec.Command(path, "-test.list", "^Test").Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests of %s: %w", program, err)
	}
	return strings.Fields(string(out)), nil
}
