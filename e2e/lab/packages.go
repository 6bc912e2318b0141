package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
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
	if apt(ctx, "", args...) == nil {
		return nil
	}
	// Lists that are some weeks old name files that the archive has replaced since.
	if err := updateLists(ctx); err != nil {
		return err
	}
	if err := apt(ctx, "", args...); err != nil {
		return fmt.Errorf("%w\nlab: to see it yourself, type: %s", err, installCommand(packages))
	}
	return nil
}

// installPrograms gets the programs that are not there, each from the package of its name.
func installPrograms(ctx context.Context, names []string) int {
	if err := install(ctx, missingPrograms(names)); err != nil {
		return refused(err)
	}
	if missing := missingPrograms(names); len(missing) > 0 {
		return refused(fmt.Errorf("the packages are installed, but these programs are not on the PATH: %s", strings.Join(missing, " ")))
	}
	return 0
}

func missingPrograms(names []string) []string {
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	return missing
}

func installCommand(packages []string) string {
	return "sudo apt-get install -y --no-install-recommends " + strings.Join(packages, " ")
}

func updateLists(ctx context.Context) error {
	fmt.Fprintln(os.Stderr, "lab: apt-get update")
	return apt(ctx, "", "update", "-q")
}

// apt runs apt-get in a directory without asking anything. Another apt-get at work is waited for.
func apt(ctx context.Context, dir string, args ...string) error {
	options := []string{"-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User=root"}
	cmd := exec.CommandContext(ctx, "apt-get", append(options, args...)...)
	cmd.Dir = dir
	// Killed at the wrong moment it leaves packages half installed. On SIGINT it ends where it can, and it waits for dpkg.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	// needrestart would ask about, or restart, the machine's services.
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
