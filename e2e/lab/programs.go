package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// guestDir holds what a booted guest needs other than the machine has it; its programs come first in the command's
// PATH.
const (
	guestDir      = "/run/lab"
	guestPrograms = guestDir + "/bin"
)

// guestModules are loaded before the command starts, and those of the iptables. The kernel loads the rest on demand,
// but programs that need them in namespaces of their own, or in parallel, should find these.
var guestModules = []string{"nf_conntrack", "ip_vs", "ip_vs_rr", "ip_vs_lc", "ip_vs_sh", "xt_set", "dummy", "veth"}

// setUpPrograms makes the programs that differ in a booted guest, and takes them for lab itself.
func setUpPrograms(j job) error {
	if err := os.MkdirAll(guestPrograms, 0o755); err != nil {
		return err
	}
	root := j.Modules
	if j.Kernel == uml {
		var err error
		if root, err = arrangeUMLModules(); err != nil {
			return err
		}
	}
	if err := useIptables(j.Iptables); err != nil {
		return err
	}
	os.Setenv("PATH", j.Path)
	// The kernel calls modprobe too, and neither looks where the guest's modules are.
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s -d '%s' \"$@\"\n", program("modprobe"), root)
	path := filepath.Join(guestPrograms, "modprobe")
	if err := os.WriteFile(path, []byte(wrapper), 0o755); err != nil {
		return err
	}
	os.Setenv("PATH", guestPrograms+":"+j.Path)
	return os.WriteFile("/proc/sys/kernel/modprobe", []byte(path), 0o644)
}

// arrangeUMLModules lays the modules of User-Mode Linux out as modprobe wants them, and returns the root for it.
func arrangeUMLModules() (string, error) {
	source := filepath.Join(umlModules, release())
	const root = guestDir
	dir := filepath.Join(root, modulesDir, release())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	names, err := filepath.Glob(filepath.Join(source, "*"))
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", fmt.Errorf("no modules for the guest's kernel in %s: install user-mode-linux again", source)
	}
	for _, name := range names {
		if err := os.Symlink(name, filepath.Join(dir, filepath.Base(name))); err != nil {
			return "", err
		}
	}
	// Where programs look what there is; runUML has seen to it that the place is there if it can be.
	if _, err := os.Stat(modulesDir); err == nil {
		if err := mount(filepath.Join(root, modulesDir), modulesDir, "", unix.MS_BIND, ""); err != nil {
			return "", err
		}
	}
	return root, nil
}

func loadModules(modules []string) error {
	out, err := exec.Command(program("modprobe"), append([]string{"-a"}, modules...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("load %s: %w\n%s", strings.Join(modules, " "), err, out)
	}
	return nil
}
