package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/internal/debian"
)

// install gets packages with apt-get when we are root; otherwise the error holds the one command to type.
func install(ctx context.Context, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return errTodo{"packages are missing", installCommand(packages)}
	}
	fmt.Fprintln(os.Stderr, "lab: installing", strings.Join(packages, " "))
	args := append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)
	if debian.Apt(ctx, "", args...) == nil {
		return nil
	}
	// Lists that are some weeks old name files that the archive has replaced since.
	if err := debian.UpdateLists(ctx); err != nil {
		return err
	}
	if err := debian.Apt(ctx, "", args...); err != nil {
		return fmt.Errorf("%w\nlab: to see it yourself, type: %s", err, installCommand(packages))
	}
	return nil
}

// installPrograms gets the programs that are not there. Each is named by itself, which is also the name of its package,
// or as "nft:nftables", with its package.
func installPrograms(ctx context.Context, names []string) int {
	if err := install(ctx, missingPrograms(names, packageOf)); err != nil {
		return refused(err)
	}
	if missing := missingPrograms(names, programOf); len(missing) > 0 {
		return refused(fmt.Errorf("the packages are installed, but these programs are not on the PATH: %s",
			strings.Join(missing, " ")))
	}
	return 0
}

// missingPrograms returns what is said of those names whose programs are not there.
func missingPrograms(names []string, say func(name string) string) []string {
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(programOf(name)); err != nil {
			missing = append(missing, say(name))
		}
	}
	return missing
}

func programOf(name string) string {
	program, _, _ := strings.Cut(name, ":")
	return program
}

func packageOf(name string) string {
	program, of, other := strings.Cut(name, ":")
	if other {
		return of
	}
	return program
}

func installCommand(packages []string) string {
	return "sudo apt-get install -y --no-install-recommends " + strings.Join(packages, " ")
}
