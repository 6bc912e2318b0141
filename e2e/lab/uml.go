package main

import (
	"context"
	"os/exec"
)

// umlModules is where Debian's package has the modules: below the kernel's version in there.
const umlModules = "/usr/lib/uml/modules"

// runUML boots User-Mode Linux on this machine's own file tree, mounted read-only, and runs the command in it.
func runUML(ctx context.Context, j job) (int, error) {
	j.Kernel = uml
	return withControl(j, func(j job) (int, error) {
		init, err := copyInit(j.Control)
		if err != nil {
			return 0, err
		}
		return boot(ctx, j, exec.Command(program("linux.uml"),
			"mem="+j.Mem, "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
			"con=null", "con0=fd:0,fd:1", "quiet", "loglevel=3", "panic=-1", "uml_dir="+j.Control+"/",
			"init="+init, controlArg+j.Control))
	})
}
