package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Apt runs apt-get in a directory without asking anything. Another apt-get at work is waited for.
func Apt(ctx context.Context, dir string, args ...string) error {
	options := []string{"-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User=root"}
	cmd := exec.CommandContext(ctx, "apt-get", append(options, args...)...)
	cmd.Dir = dir
	// Killed at the wrong moment it leaves packages half installed. On SIGINT it ends where it can, and it waits for
	// dpkg.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	// needrestart would ask about, or restart, the machine's services.
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// UpdateLists gets this machine's own lists anew, and says so.
func UpdateLists(ctx context.Context) error {
	fmt.Fprintln(os.Stderr, "apt-get update")
	return Apt(ctx, "", "update", "-q")
}
