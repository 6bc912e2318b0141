package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// bootTime is how long a guest may take until the command starts. Seconds are usual; a guest that hangs in boot should not
// use up the command's own, much longer time.
const bootTime = 2 * time.Minute

// boot starts a guest and waits until it has ended, in one way or another. Nothing of it is left when boot returns.
func boot(ctx context.Context, j job, cmd *exec.Cmd) (int, error) {
	console := newConsole(os.Stdout)
	var noise bytes.Buffer
	cmd.Stdout, cmd.Stderr = console, &noise
	cmd, err := startAlone(cmd)
	if err != nil {
		return 0, fmt.Errorf("boot: %w", err)
	}
	kill := func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	failure := wait(ctx, bootTime, console.ready, ended, kill)
	kill() // helpers that outlived it
	status, statusErr := readStatus(j.Control)
	if failure == nil && statusErr == nil {
		console.flush()
		return status, nil
	}
	if failure == nil {
		failure = fmt.Errorf("the guest ended without an exit status (%w)", statusErr)
	}
	if held := console.flush(); len(held)+noise.Len() > 0 {
		fmt.Fprintf(os.Stderr, "lab: the guest's console:\n%s%s", held, noise.Bytes())
	}
	return 0, failure
}

// startAlone starts a guest so that it ends with lab and can be ended as a whole.
//
// User-Mode Linux is several processes: in a process namespace of their own they end together with the first, which is this
// program again (guard) and ends when lab is killed. As a group of their own they are not reached by a ^C at the terminal:
// lab alone is. Where root may not make namespaces, as in a container, the group has to do.
func startAlone(guest *exec.Cmd) (*exec.Cmd, error) {
	attributes := syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd, err := startGuard(guest, attributes)
	if errors.Is(err, syscall.EPERM) {
		attributes.Cloneflags = 0
		cmd, err = startGuard(guest, attributes)
	}
	return cmd, err
}

func startGuard(guest *exec.Cmd, attributes syscall.SysProcAttr) (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe", append([]string{guardArg, guest.Path}, guest.Args[1:]...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = guest.Env, guest.Stdout, guest.Stderr
	// What of the guest lives on would hold the console open.
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &attributes
	return cmd, cmd.Start()
}

// wait returns when the guest has ended, by itself (nil) or because it was killed: when the context ended, or the command
// had not started in time.
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
			return fmt.Errorf("the guest did not start the command within %s", bootTime)
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
