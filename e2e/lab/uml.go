package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// umlModules is where Debian's package has the modules: below the kernel's version in there.
const umlModules = "/usr/lib/uml/modules"

// modulesDir is where kmod and others look for modules, below the kernel's version.
const modulesDir = "/lib/modules"

// runUML boots User-Mode Linux on this machine's own file tree, mounted read-only, and runs the command in it.
func runUML(ctx context.Context, j job) (int, error) {
	j.Kernel = uml
	raiseMapCount(mapCount, func(format string, args ...any) { fmt.Fprintf(os.Stderr, "lab: "+format+"\n", args...) })
	// A machine without a kernel of its own, such as a container, has no such directory, and the guest cannot make it.
	_ = os.MkdirAll(modulesDir, 0o755)
	return withControl(j, func(j job) (int, error) {
		init, err := copyInit(j.Control)
		if err != nil {
			return 0, err
		}
		cmd := exec.Command(program("linux.uml"),
			"mem="+j.Mem, "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
			"con=null", "con0=fd:0,fd:1", "quiet", "loglevel=3", "panic=-1", "uml_dir="+j.Control+"/",
			"init="+init, controlArg+j.Control)
		if free("/dev/shm") < bytesOf(j.Mem) {
			cmd.Env = append(os.Environ(), "TMPDIR="+os.TempDir())
		}
		return boot(ctx, j, cmd)
	})
}

// free returns the bytes that can be written in a directory. The guest's memory is a file in /dev/shm, which containers
// have only 64 MB of: where memory does not fit, the guest dies of a bus error at some later time.
func free(dir string) uint64 {
	var stat unix.Statfs_t
	if unix.Statfs(dir, &stat) != nil {
		return 0
	}
	return stat.Bavail * uint64(stat.Bsize)
}

// bytesOf reads a size as --mem takes it: a number with K, M or G. Others are left to the guest's kernel to complain
// about.
func bytesOf(size string) uint64 {
	if size == "" {
		return 0
	}
	shift := map[byte]uint{'K': 10, 'M': 20, 'G': 30}[strings.ToUpper(size)[len(size)-1]]
	if shift > 0 {
		size = size[:len(size)-1]
	}
	n, err := strconv.ParseUint(size, 10, 32)
	if err != nil {
		return 0
	}
	return n << shift
}
