package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// bootTime is how long a guest may take until the command starts. 4 to 40 s are usual, on a busy machine; a guest that
// hangs in boot should not use up the command's own, much longer time.
const bootTime = 3 * time.Minute

// errBoot is the death of a guest before the command started: nothing was done yet, and it may be tried again.
type errBoot struct{ error }

func (e errBoot) Unwrap() error { return e.error }

// boot runs the job in a guest. One that dies while its kernel boots is started once more, as a person would do.
func boot(ctx context.Context, j job, guest *exec.Cmd) (int, error) {
	status, err := bootOnce(ctx, bootTime, j, guest)
	if again := (errBoot{}); ctx.Err() == nil && errors.As(err, &again) {
		fmt.Fprintf(os.Stderr, "lab: %s; it is started once more\n", err)
		status, err = bootOnce(ctx, bootTime, j, guest)
	}
	return status, err
}

// bootOnce starts a guest and waits until it has ended, in one way or another. Nothing of it is left when bootOnce
// returns.
func bootOnce(ctx context.Context, bootTime time.Duration, j job, guest *exec.Cmd) (int, error) {
	console := newConsole(os.Stdout)
	var noise bytes.Buffer
	cmd, err := startAlone(guest, console, &noise)
	if err != nil {
		return 0, fmt.Errorf("start the guest: %w", err)
	}
	kill := func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	failure := wait(ctx, bootTime, console.ready, ended, kill)
	kill() // helpers that outlived it
	status, statusErr := readStatus(j.Control)
	console.flush()
	if failure == nil && statusErr == nil {
		return status, nil
	}
	if failure == nil {
		failure = fmt.Errorf("the guest died: it left no exit status (%w)", statusErr)
	}
	console.writeLast(os.Stderr, noise.String())
	if ctx.Err() == nil && !console.announced() {
		failure = errBoot{fmt.Errorf("the guest's kernel did not get as far as the command: %w", failure)}
	}
	return 0, failure
}

// startAlone starts a guest so that it ends with lab and can be ended as a whole.
//
// User-Mode Linux is several processes: in a process namespace of their own they end together with the first, which is
// this program again (guard) and ends when lab is killed. As a group of their own they are not reached by a ^C at the
// terminal: lab alone is. Where root may not make namespaces, as in a container, the group has to do.
func startAlone(guest *exec.Cmd, stdout, stderr io.Writer) (*exec.Cmd, error) {
	attributes := syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd, err := startGuard(guest, attributes, stdout, stderr)
	if errors.Is(err, syscall.EPERM) {
		attributes.Cloneflags = 0
		cmd, err = startGuard(guest, attributes, stdout, stderr)
	}
	return cmd, err
}

func startGuard(guest *exec.Cmd, attributes syscall.SysProcAttr, stdout, stderr io.Writer) (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe", append([]string{guardArg, guest.Path}, guest.Args[1:]...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = guest.Env, stdout, stderr
	// What of the guest lives on would hold the console open.
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &attributes
	return cmd, cmd.Start()
}

// wait returns when the guest has ended, by itself (nil) or because it was killed: when the context ended, or the
// command had not started in time.
func wait(ctx context.Context, bootTime time.Duration, ready <-chan struct{}, ended <-chan error, kill func()) error {
	timer := time.NewTimer(bootTime)
	defer timer.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-ready:
			ready = nil
			timer.Stop()
		case <-timer.C:
			kill()
			<-ended
			return fmt.Errorf("it was killed after %s", bootTime)
		case <-ctx.Done():
			kill()
			<-ended
			return context.Cause(ctx)
		}
	}
}

// copyInit puts a copy of this program into the control directory: the guest's init, untouched by a rebuild meanwhile.
func copyInit(control string) (string, error) {
	self, err := readSelf()
	if err != nil {
		return "", err
	}
	path := filepath.Join(control, "init")
	return path, os.WriteFile(path, self, 0o700)
}

// readSelf returns this program's file. A guest's init must be static: there are no libraries in an initramfs.
func readSelf() ([]byte, error) {
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	if !isStatic(data) {
		return nil, errors.New("lab is linked dynamically and cannot be the guest's init; build it with CGO_ENABLED=0")
	}
	return data, nil
}
