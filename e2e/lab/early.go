package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ninep are the mount options of the host's directories in an emulated machine. Messages are large, because each one is
// a round trip through the emulator, and everything is cached. With a lesser cache than "loose" a program is read anew
// at every start, which takes seconds. So what the host changes meanwhile is not seen. What is written reaches the host
// within a second or so (machineSysctls), at the latest when the machine goes off.
const ninep = "trans=virtio,version=9p2000.L,msize=512000,cache=loose"

// enterHostTree makes the host's file tree the root. In User-Mode Linux it is the root already; an emulated machine
// starts in an initramfs and has to load the modules for it first.
func enterHostTree() error {
	order, err := os.ReadFile("/" + earlyOrder)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(order)) {
		if err := insert(filepath.Join("/", earlyDir, name)); err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	if err := mountSoon(rootTag, "/root", "9p", unix.MS_RDONLY, ninep); err != nil {
		return err
	}
	if err := os.Chdir("/root"); err != nil {
		return err
	}
	// The initramfs cannot be unmounted; the new root is moved over it.
	if err := mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

func insert(module string) error {
	file, err := os.Open(module)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.FinitModule(int(file.Fd()), "", 0)
}

// mountSoon mounts what may appear in a moment: devices are found while init runs already.
func mountSoon(source, at, fs string, flags uintptr, options string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := mount(source, at, fs, flags, options)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
