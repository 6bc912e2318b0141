package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// runQEMU boots a distribution's kernel in an emulated machine, on this machine's own file tree passed in read-only,
// and runs the command in it.
func runQEMU(ctx context.Context, j job) (int, error) {
	processors, err := chosenProcessors()
	if err != nil {
		return 0, err
	}
	kernel, err := getKernel(ctx)
	if err != nil {
		return 0, err
	}
	j.Kernel, j.Modules = qemu, kernel.root
	j.show(kernel.root)
	return withControl(j, func(j job) (int, error) {
		image := filepath.Join(j.Control, "initramfs")
		if err := writeInitramfs(ctx, image, kernel); err != nil {
			return 0, err
		}
		return boot(ctx, j, exec.Command(program("qemu-system-x86_64"), qemuArgs(j, processors, kernel.image, image)...))
	})
}

// processors are those of an emulated machine.
type processors struct {
	count   int
	threads string // multi: each is a thread of the machine, and they truly run at once; single: they take turns
	// shift is the logarithm of the nanoseconds that the guest's clock advances by with each instruction; -1 where it
	// is the machine's own.
	shift int
}

// chosenProcessors reads LAB_CPUS and LAB_THREADS. By turns is the default: of machines whose processors run at once,
// one in four died while the kernel booted.
func chosenProcessors() (processors, error) {
	p := processors{threads: envOr("LAB_THREADS", "single")}
	if p.threads != "single" && p.threads != "multi" {
		return p, fmt.Errorf("LAB_THREADS %q is unknown; allowed are single and multi", p.threads)
	}
	clock := envOr("LAB_CLOCK", clocks[0])
	if p.shift = slices.Index(clocks, clock) - 1; p.shift < -1 {
		return p, fmt.Errorf("LAB_CLOCK %q is unknown; allowed are %s", clock, strings.Join(clocks, ", "))
	}
	if p.shift >= 0 && p.threads != "single" {
		return p, fmt.Errorf("LAB_CLOCK=%s needs LAB_THREADS=single: QEMU counts the instructions of processors that take turns", clock)
	}
	text := envOr("LAB_CPUS", "2")
	count, err := strconv.Atoi(text)
	if err != nil || count < 1 || count > 64 {
		return p, fmt.Errorf("LAB_CPUS %q is not a number of processors from 1 to 64", text)
	}
	p.count = count
	return p, nil
}

// clocks are the values of LAB_CLOCK. With all but the first one the guest's clock advances by so much with each
// instruction that it executes (QEMU's -icount): what it measures of its own work does not depend on what else this
// machine does.
var clocks = []string{"real", "1ns", "2ns", "4ns", "8ns"}

// qemuArgs describes the machine. There is no /dev/kvm in it on purpose: on some machines that have the device,
// unmodified guests die in it.
func qemuArgs(j job, p processors, kernel, initramfs string) []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio",
		"-machine", "q35", "-accel", "tcg,thread=" + p.threads, "-cpu", "max", "-smp", strconv.Itoa(p.count), "-m", j.Mem,
		"-kernel", kernel, "-initrd", initramfs,
		// A panic, and an oops as well, reboots at once, which with -no-reboot ends the machine.
		"-append", "console=ttyS0 quiet loglevel=3 panic=-1 oops=panic " + controlArg + j.Control,
	}
	if p.shift >= 0 {
		args = append(args, "-icount", fmt.Sprintf("shift=%d,sleep=on,align=off", p.shift))
	}
	args = append(args, export(rootTag, "/", false)...)
	for i, s := range j.Shares {
		args = append(args, export(shareTag(i), s.Dir, s.Write)...)
	}
	return args
}

// rootTag is the name by which the guest mounts the host's file tree; shares are numbered.
const rootTag = "root"

func shareTag(i int) string { return fmt.Sprintf("share%d", i) }

func export(tag, dir string, write bool) []string {
	readonly := "on"
	if write {
		readonly = "off"
	}
	// QEMU splits at commas; a comma in a value is written twice. Inodes are renumbered when the tree spans several
	// devices.
	fs := fmt.Sprintf("local,id=%s,path=%s,security_model=none,readonly=%s,multidevs=remap",
		tag, strings.ReplaceAll(dir, ",", ",,"), readonly)
	return []string{"-fsdev", fs, "-device", fmt.Sprintf("virtio-9p-pci,fsdev=%s,mount_tag=%s", tag, tag)}
}

// writeInitramfs writes the first root of the machine for one kernel.
func writeInitramfs(ctx context.Context, path string, k kernel) error {
	dep, err := os.ReadFile(filepath.Join(k.modules(), "modules.dep"))
	if err != nil {
		return err
	}
	builtin, err := os.ReadFile(filepath.Join(k.modules(), "modules.builtin"))
	if err != nil {
		return err
	}
	order, err := loadOrder(string(dep), string(builtin), "virtio_pci", "9pnet_virtio", "9p")
	if err != nil {
		return err
	}
	var modules []earlyModule
	for _, file := range order {
		content, err := readModule(ctx, filepath.Join(k.modules(), file))
		if err != nil {
			return err
		}
		modules = append(modules, earlyModule{name: moduleName(file) + ".ko", content: content})
	}
	self, err := readSelf()
	if err != nil {
		return err
	}
	return os.WriteFile(path, initramfs(self, modules), 0o600)
}

// unpackers are the programs for the suffixes of compressed modules.
var unpackers = map[string]requirement{".xz": {"xz", "xz-utils"}, ".zst": {"zstd", "zstd"}, ".gz": {"gzip", "gzip"}}

// readModule returns a module uncompressed: not every kernel unpacks what it is given.
func readModule(ctx context.Context, path string) ([]byte, error) {
	unpacker, compressed := unpackers[filepath.Ext(path)]
	if !compressed {
		return os.ReadFile(path)
	}
	if !hasProgram(unpacker.program) {
		if err := install(ctx, []string{unpacker.debianPackage}); err != nil {
			return nil, err
		}
	}
	var problem bytes.Buffer
	cmd := exec.CommandContext(ctx, program(unpacker.program), "-dc", path)
	cmd.Stderr = &problem
	content, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w %s", path, err, problem.Bytes())
	}
	return content, nil
}
