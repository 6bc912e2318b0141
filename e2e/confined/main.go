// Command confined runs a program as a container engine runs a container's: with some capabilities and no other, no new
// privileges, and the engines' default seccomp profile, which Kubernetes calls RuntimeDefault.
//
//	confined -capabilities CAP_NET_ADMIN,CAP_NET_RAW PROGRAM [ARGUMENT...]
//	confined -capabilities CAP_NET_ADMIN,CAP_NET_RAW -print
//
// The latter prints the profile as a container's configuration (OCI) has it.
//
// It becomes the program, so that the process that was started is the one that runs. The profile is Moby's; containerd
// and CRI-O keep copies of it. It is a module of its own, so that what compiles filters is no dependency of the
// programs.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "confined:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("confined", flag.ContinueOnError)
	list := flags.String("capabilities", "",
		"names with commas between them, such as CAP_NET_ADMIN; all others are taken away")
	show := flags.Bool("print", false, "print the seccomp profile that a container with these capabilities has, and run nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	names := strings.FieldsFunc(*list, func(r rune) bool { return r == ',' })
	if *show {
		return printProfile(os.Stdout, names)
	}
	if flags.NArg() == 0 {
		return fmt.Errorf("name the program to run")
	}
	program, err := exec.LookPath(flags.Arg(0))
	if err != nil {
		return err
	}
	keep, err := capabilities(names)
	if err != nil {
		return err
	}
	filter, err := defaultProfile(names)
	if err != nil {
		return err
	}
	// Capabilities and filters are a thread's, and a program keeps those of the thread that became it.
	runtime.LockOSThread()
	if err := limit(keep); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if err := install(filter); err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", program, syscall.Exec(program, flags.Args(), os.Environ()))
}
