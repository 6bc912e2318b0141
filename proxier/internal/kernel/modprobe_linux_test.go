//go:build kernel

package kernel_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// recordModprobe replaces the kernel's modprobe by a script that records its arguments. called returns them.
func recordModprobe(t *testing.T) (called func() []string) {
	t.Helper()
	const setting = "/proc/sys/kernel/modprobe"
	before, err := os.ReadFile(setting)
	if err != nil {
		t.Skip("a kernel without modules: ", err)
	}
	dir := t.TempDir()
	list, program := filepath.Join(dir, "list"), filepath.Join(dir, "modprobe")
	script := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s\nexec %s \"$@\"\n", list, strings.TrimSpace(string(before)))
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(setting, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(setting, before, 0o644); err != nil {
			t.Error(err)
		}
	})
	return func() []string {
		text, err := os.ReadFile(list)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
	}
}

// TestALookAsksForNoModule: before the kernel answers that a link is not there, it may run modprobe for the link's
// name, with each audit.
func TestALookAsksForNoModule(t *testing.T) {
	kerneltest.Own(t)
	linux, err := kernel.NewLinux(kernel.LinuxConfig{
		Link: "kube-ipvs0", Families: []cluster.Family{cluster.IPv4, cluster.IPv6}, IgnoreLinks: []string{"kube-dummy-if"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer linux.Close()
	look := func() {
		t.Helper()
		if _, err := linux.Observe(); err != nil {
			t.Fatal(err)
		}
	}
	look() // the first one may load what lists sockets
	called := recordModprobe(t)
	look()
	if list := called(); len(list) > 0 {
		t.Errorf("the kernel ran modprobe for %q", list)
	}
	// An ioctl is one of the ways that do.
	request, err := unix.NewIfreq("no-such-link")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_ = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request)
	if list := called(); len(list) == 0 {
		t.Error("BUG: this test does not see what the kernel asks modprobe for")
	}
}
