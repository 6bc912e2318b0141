package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// runOwn runs the command in network, mount and process namespaces of its own on the machine's kernel.
func runOwn(ctx context.Context, j job) (int, error) {
	setup := `mount -t sysfs none /sys 2>/dev/null; mount -t tmpfs none /run; mkdir -p /run/netns; ip link set lo up; exec "$@"`
	args := append([]string{"--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", setup, "sh"}, j.command...)
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = j.dir, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return exitStatus(cmd.Run())
}

func exitStatus(err error) (int, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("run the command: %w", err)
	}
	return 0, nil
}
