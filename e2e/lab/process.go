package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit statuses by which shells say that a program could not be run.
const (
	statusNotRun   = 126
	statusNotFound = 127
)

// runAsInit runs the command as a first process does: it also collects the processes that lose their parent meanwhile.
func runAsInit(j job, env []string) int {
	path, err := lookUp(j.Command[0], j.Dir, env)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return statusNotFound
	}
	return supervise(&exec.Cmd{Path: path, Args: j.Command, Dir: j.Dir, Env: env})
}

// guardArg is the argument with which this program is the first process of a guest's processes on the host. User-Mode
// Linux cannot be it itself: it aborts by a signal when its kernel panics, and a namespace's first process is spared
// such signals.
const guardArg = "guard"

// guard runs a program, and ends when it does.
func guard(args []string) int {
	return supervise(&exec.Cmd{Path: args[0], Args: args, SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}})
}

// supervise runs a program and returns its exit status, collecting whatever else ends meanwhile.
func supervise(cmd *exec.Cmd) int {
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return statusNotRun
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			fmt.Fprintln(os.Stderr, "lab: wait for the command:", err)
			return exitBroken
		case pid == cmd.Process.Pid && status.Signaled():
			return exitSignal + int(status.Signal())
		case pid == cmd.Process.Pid && status.Exited():
			return status.ExitStatus()
		}
	}
}

// lookUp finds the program as a shell would with the command's own PATH and directory.
func lookUp(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		_, err := os.Stat(name)
		return name, err
	}
	for _, kv := range env {
		path, found := strings.CutPrefix(kv, "PATH=")
		if !found {
			continue
		}
		for _, d := range filepath.SplitList(path) {
			candidate := filepath.Join(d, name)
			if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return candidate, nil
			}
		}
	}
	return "", fmt.Errorf("%s: not found in the PATH", name)
}
