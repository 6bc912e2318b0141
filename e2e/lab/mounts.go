package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func mount(source, at, fs string, flags uintptr, options string) error {
	if err := unix.Mount(source, at, fs, flags, options); err != nil {
		return fmt.Errorf("mount %s at %s: %w", fs, at, err)
	}
	return nil
}

// hide puts empty, writable file systems over the places that programs write to.
func hide() error {
	for _, dir := range hidden {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			continue
		}
		if err := mount("tmpfs", dir, "tmpfs", 0, "mode=1777"); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/run/netns", "/run/lock"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// mountDevices fills /dev. A kernel without devtmpfs gets the few devices that programs expect.
func mountDevices() error {
	if err := mount("devtmpfs", "/dev", "devtmpfs", 0, ""); err != nil {
		if err := mount("tmpfs", "/dev", "tmpfs", 0, "mode=755"); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		name         string
		major, minor uint32
	}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}, {"ptmx", 5, 2}} {
		err := unix.Mknod("/dev/"+d.name, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor)))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("make /dev/%s: %w", d.name, err)
		}
		if err := os.Chmod("/dev/"+d.name, 0o666); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil && !os.IsExist(err) {
			return err
		}
	}
	for _, m := range []struct{ dir, fs, options string }{{"/dev/pts", "devpts", ""}, {"/dev/shm", "tmpfs", "mode=1777"}} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := mount(m.fs, m.dir, m.fs, 0, m.options); err != nil {
			return err
		}
	}
	return nil
}
