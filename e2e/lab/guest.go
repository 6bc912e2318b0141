package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// controlArg is the word of the guest kernel's command line that names the control directory.
const controlArg = "lab.control="

// guestInit is the first process of a booted guest. It makes a usable machine of the host's file tree without writing
// to it, runs the command, leaves its exit status and ends the machine. The exit status is for the compiler: if the
// first process ended, the kernel would panic.
func guestInit() int {
	defer powerOff()
	if err := guest(); err != nil {
		fmt.Println("lab: guest:", err)
	}
	return exitBroken
}

func guest() error {
	if err := enterHostTree(); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	control, err := bootArg(controlArg)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(control, jobFile))
	if err != nil {
		return err
	}
	j, err := parseJob(text)
	if err != nil {
		return err
	}
	if err := makeMachine(j); err != nil {
		return err
	}
	fmt.Println(announcement)
	status := runAsInit(j, guestEnv(j))
	if err := os.WriteFile(filepath.Join(j.Control, statusFile), []byte(strconv.Itoa(status)), 0o644); err != nil {
		return err
	}
	fmt.Println(farewell)
	return nil
}

// makeMachine mounts and loads what a machine has.
func makeMachine(j job) error {
	if err := mountDevices(); err != nil {
		return err
	}
	if err := mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return err
	}
	if err := mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""); err != nil {
		return err
	}
	if err := hide(); err != nil {
		return err
	}
	for i, s := range j.Shares {
		if err := attachHost(j.Kernel, i, s); err != nil {
			return fmt.Errorf("show %s: %w", s.Dir, err)
		}
	}
	if err := setUpPrograms(j); err != nil {
		return err
	}
	if err := loadModules(slices.Concat(guestModules, j.Iptables.modules())); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("lab")); err != nil {
		return err
	}
	// Files are plentiful, as on a server.
	limit := unix.Rlimit{Cur: 65536, Max: 65536}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	return writeSysctls(slices.Concat(namespaceSysctls, machineSysctls))
}

// attachHost mounts a directory of the host at its own place in the guest.
func attachHost(k kind, i int, s share) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	var flags uintptr
	if !s.Write {
		flags = unix.MS_RDONLY
	}
	if k == uml {
		return mount("none", s.Dir, "hostfs", flags, s.Dir)
	}
	return mount(shareTag(i), s.Dir, "9p", flags, ninep)
}

// patience is the factor by which everything takes longer in an emulated machine than elsewhere, or more; LAB_PATIENCE
// overrides it. Tests wait that much longer for what they await.
const patience = "4"

// guestEnv is the environment of the command.
func guestEnv(j job) []string {
	name := map[kind]string{uml: "User-Mode Linux ", qemu: "QEMU ", own: "own "}[j.Kernel] + release()
	env := append(j.Env, "PATH="+guestPrograms+":"+j.Path, "HOME=/run", "TMPDIR=/tmp", "LAB_GUEST="+name)
	given := slices.ContainsFunc(j.Env, func(kv string) bool { return strings.HasPrefix(kv, "LAB_PATIENCE=") })
	if j.Kernel == qemu && !given {
		env = append(env, "LAB_PATIENCE="+patience)
	}
	return env
}

func bootArg(name string) (string, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return "", err
	}
	for _, word := range strings.Fields(string(line)) {
		if value, found := strings.CutPrefix(word, name); found {
			return value, nil
		}
	}
	return "", fmt.Errorf("BUG: no %s on the kernel's command line", name)
}

// powerOff ends the machine once its console is drained.
func powerOff() {
	const drain = 1 // TCSBRK with an argument other than 0 waits for the output, as tcdrain does
	unix.IoctlSetInt(1, unix.TCSBRK, drain)
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	time.Sleep(time.Minute) // the machine goes off meanwhile
}
