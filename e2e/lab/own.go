package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownInitArg is the argument with which this program is the first process of new namespaces on the machine's own
// kernel.
const ownInitArg = "own-init"

// namespaces are those in which nothing that the command does reaches the machine: links, addresses, rules, sets,
// virtual servers, mounts and processes of their own. All go when the first process in them ends.
const namespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID |
	syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// runOwn runs the command in namespaces of its own on the machine's kernel. The one thing that stays afterwards is
// modules that had to be loaded, and it says which.
func runOwn(ctx context.Context, j job) (int, error) {
	before := loadedModules()
	defer func() { reportModules(before, loadedModules()) }()
	return inNamespaces(ctx, j, os.Stdout, os.Stderr)
}

func inNamespaces(ctx context.Context, j job, stdout, stderr io.Writer) (int, error) {
	j.Kernel = own
	text, err := json.Marshal(j)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", ownInitArg, string(text))
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	err = cmd.Run()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	case err != nil:
		return 0, fmt.Errorf("run in namespaces: %w", err)
	}
	return 0, nil
}

// ownInit is the first process of the namespaces; args is the job as JSON.
func ownInit(args []string) int {
	j, err := parseJob([]byte(strings.Join(args, " ")))
	if err == nil {
		err = makeNamespace(j)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return exitBroken
	}
	return runAsInit(j, guestEnv(j))
}

// makeNamespace turns the machine's file tree, as this mount namespace sees it, into what a booted guest has:
// read-only, with empty writable places and the shares.
func makeNamespace(j job) error {
	// First of all: no mount below may travel back to the machine.
	if err := mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	shown, err := cloneTrees(j.Shares)
	if err != nil {
		return err
	}
	readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &readOnly); err != nil {
		return fmt.Errorf("make the file tree read-only (Linux 5.12 or newer is needed): %w", err)
	}
	// The /proc of new process and network namespaces, and the /sys of the latter.
	for _, m := range []struct{ dir, fs string }{{"/proc", "proc"}, {"/sys", "sysfs"}, {"/dev/shm", "tmpfs"}} {
		if err := mount(m.fs, m.dir, m.fs, 0, ""); err != nil {
			return err
		}
	}
	if err := hide(); err != nil {
		return err
	}
	if err := attachTrees(j.Shares, shown); err != nil {
		return err
	}
	os.Setenv("PATH", j.Path)
	if err := loopbackUp(); err != nil {
		return err
	}
	return writeSysctls(namespaceSysctls)
}

// cloneTrees takes hold of the shares before they are hidden.
func cloneTrees(shares []share) ([]int, error) {
	var trees []int
	for _, s := range shares {
		tree, err := unix.OpenTree(unix.AT_FDCWD, s.Dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return nil, fmt.Errorf("show %s: %w", s.Dir, err)
		}
		if !s.Write {
			readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
			if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &readOnly); err != nil {
				return nil, fmt.Errorf("show %s read-only: %w", s.Dir, err)
			}
		}
		trees = append(trees, tree)
	}
	return trees, nil
}

func attachTrees(shares []share, trees []int) error {
	for i, s := range shares {
		if err := os.MkdirAll(s.Dir, 0o755); err != nil {
			return err
		}
		if err := unix.MoveMount(trees[i], "", unix.AT_FDCWD, s.Dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("show %s: %w", s.Dir, err)
		}
		unix.Close(trees[i])
	}
	return nil
}

// tryOwn loads what the machine's own kernel needs, and runs the checks just as a command would be run. It says why
// that kernel does not serve; "" when it does.
func tryOwn(ctx context.Context) string {
	before := loadedModules()
	for _, module := range guestModules {
		// Some are built in, and what is loaded needs no modprobe: the checks below decide.
		exec.CommandContext(ctx, program("modprobe"), "-q", module).Run()
	}
	reportModules(before, loadedModules())
	j, err := newJob([]string{"/proc/self/exe", checkInsideArg}, nil)
	if err != nil {
		return err.Error()
	}
	var out, problem bytes.Buffer
	status, err := inNamespaces(ctx, j, &out, &problem)
	if status == 0 && err == nil {
		return ""
	}
	reasons := failures(out.String())
	if err != nil {
		reasons = append(reasons, err.Error())
	}
	if text := strings.TrimSpace(problem.String()); text != "" {
		reasons = append(reasons, text)
	}
	return fmt.Sprintf("this machine's kernel %s, tried in namespaces: %s", release(), strings.Join(reasons, "; "))
}

func loadedModules() []string {
	text, err := os.ReadFile("/proc/modules")
	if err != nil {
		return nil
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if name, _, found := strings.Cut(line, " "); found {
			names = append(names, name)
		}
	}
	return names
}

// reportModules says what stays loaded: modules belong to the machine, whoever caused them to be loaded.
func reportModules(before, after []string) {
	var loaded []string
	for _, name := range after {
		if !slices.Contains(before, name) {
			loaded = append(loaded, name)
		}
	}
	if len(loaded) > 0 {
		slices.Sort(loaded)
		fmt.Fprintln(os.Stderr, "lab: these kernel modules were loaded and stay loaded:", strings.Join(loaded, " "))
	}
}
