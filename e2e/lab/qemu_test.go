package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLoadOrder(t *testing.T) {
	const dep = `kernel/net/9p/9pnet.ko:
kernel/net/9p/9pnet_virtio.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko kernel/net/9p/9pnet.ko
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko kernel/fs/netfs/netfs.ko
kernel/fs/netfs/netfs.ko:
`
	got, err := loadOrder(dep, "kernel/drivers/virtio/virtio-pci.ko\n", "virtio_pci", "9pnet_virtio", "9p")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"kernel/net/9p/9pnet.ko", "kernel/drivers/virtio/virtio_ring.ko", "kernel/drivers/virtio/virtio.ko",
		"kernel/net/9p/9pnet_virtio.ko", "kernel/fs/netfs/netfs.ko", "kernel/fs/9p/9p.ko.xz"}
	if !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
	if _, err := loadOrder(dep, "", "virtio_pci"); err == nil || !strings.Contains(err.Error(), "virtio_pci") {
		t.Errorf("want an error that names virtio_pci, got %v", err)
	}
}

func TestInitramfsIsWhatCpioReads(t *testing.T) {
	if !hasProgram("cpio") {
		t.Skip("no cpio on this machine to read the archive with; apt-get install cpio")
	}
	dir := t.TempDir()
	image := initramfs([]byte("program"), []earlyModule{{"9pnet.ko", []byte("abc")}, {"9p.ko", []byte("12345")}})
	list := exec.Command("cpio", "-i", "--no-absolute-filenames", "--quiet", "init", "modules*")
	list.Dir, list.Stdin = dir, strings.NewReader(string(image))
	if out, err := list.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	for name, want := range map[string]string{
		"init": "program", "modules/order": "9pnet.ko\n9p.ko\n", "modules/9p.ko": "12345",
	} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: want %q, got %q, %v", name, want, got, err)
		}
	}
}

func TestArchiveEntry(t *testing.T) {
	var a archive
	a.file("init", 0o500, []byte("abcde"))
	got := a.String()
	want := "070701" + "00000001" + "00008140" + "00000000" + "00000000" + "00000001" + "00000000" + "00000005" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000005" + "00000000" + "init\x00" + "\x00" + "abcde" +
		"\x00\x00\x00"
	if got != want {
		t.Errorf("want %q\n got %q", want, got)
	}
}

func TestQEMUArgsShareReadOnlyUnlessAskedFor(t *testing.T) {
	args := qemuArgs(job{Mem: "1G", Control: "/tmp/c", Shares: []share{{"/tmp/a,b", false}, {"/tmp/c", true}}},
		processors{2, "single", -1}, "vmlinuz", "initramfs")
	for _, want := range []string{
		"local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
		"local,id=share0,path=/tmp/a,,b,security_model=none,readonly=on,multidevs=remap",
		"local,id=share1,path=/tmp/c,security_model=none,readonly=off,multidevs=remap",
		"virtio-9p-pci,fsdev=share1,mount_tag=share1",
	} {
		if !slices.Contains(args, want) {
			t.Errorf("want %s in %q", want, args)
		}
	}
}

func TestModuleIsFoundByItsKernelName(t *testing.T) {
	list := filepath.Join(t.TempDir(), "modules.dep")
	text := "kernel/net/ip-vs/ip_vs.ko.zst: kernel/lib/libcrc32c.ko.zst\nkernel/drivers/net/dummy.ko:\nkernel/x/virtio-rng.ko.xz:\n"
	if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for module, want := range map[string]bool{
		"ip_vs": true, "dummy": true, "virtio_rng": true, "libcrc32c": false, "ip": false,
	} {
		if got := fileNamesModule(list, module); got != want {
			t.Errorf("%s: want %t, got %t", module, want, got)
		}
	}
}

func TestCompressedModulesAreRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.ko")
	if err := os.WriteFile(path, []byte("module"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gzip", path).CombinedOutput(); err != nil {
		t.Fatalf("gzip: %v: %s", err, out)
	}
	got, err := readModule(t.Context(), path+".gz")
	if err != nil || string(got) != "module" {
		t.Errorf("want the module, got %q, %v", got, err)
	}
	if _, err := readModule(t.Context(), path+".xz"); err == nil {
		t.Error("want an error for a file that is not there")
	}
}

func TestProcessorsOfAnEmulatedMachine(t *testing.T) {
	for _, c := range []struct {
		count, threads, clock string
		want                  processors
		wrong                 string
	}{
		{"", "", "", processors{2, "single", -1}, ""},
		{"4", "multi", "", processors{4, "multi", -1}, ""},
		{"", "", "4ns", processors{2, "single", 2}, ""},
		{"", "", "3ns", processors{}, `LAB_CLOCK "3ns"`},
		{"", "multi", "1ns", processors{}, `LAB_THREADS=single`},
		{"0", "", "", processors{}, `LAB_CPUS "0"`},
		{"two", "", "", processors{}, `LAB_CPUS "two"`},
		{"", "both", "", processors{}, `LAB_THREADS "both"`},
	} {
		t.Setenv("LAB_CPUS", c.count)
		t.Setenv("LAB_THREADS", c.threads)
		t.Setenv("LAB_CLOCK", c.clock)
		got, err := chosenProcessors()
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%+v: want an error that names it, got %v", c, err)
			}
		} else if err != nil || got != c.want {
			t.Errorf("want %v, got %v, %v", c.want, got, err)
		}
	}
}

// From 6.19 on Debian keeps the image beside the modules and nothing below boot.
func TestAKernelIsFoundInPackagesOldAndNew(t *testing.T) {
	for name, c := range map[string]struct{ files, want string }{
		"old":      {"boot/vmlinuz-6.12.95+deb12-amd64 lib/modules/6.12.95+deb12-amd64/modules.order", "6.12.95+deb12-amd64"},
		"new":      {"lib/modules/7.2.13+deb14-amd64/vmlinuz lib/modules/7.2.13+deb14-amd64/modules.order", "7.2.13+deb14-amd64"},
		"no image": {"lib/modules/7.2.13+deb14-amd64/modules.order", ""},
		"two":      {"boot/vmlinuz-6.12 lib/modules/7.2.13/vmlinuz", ""},
	} {
		root := t.TempDir()
		for _, file := range strings.Fields(c.files) {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		k, err := openKernel(root)
		if (err == nil) != (c.want != "") || k.release != c.want {
			t.Errorf("%s: want %q, got %q, %v", name, c.want, k.release, err)
		}
		if err != nil {
			continue
		}
		if _, err := os.Stat(k.image); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
