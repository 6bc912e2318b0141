package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/debian"
)

// kernel is an unpacked kernel package.
type kernel struct {
	root    string // the directory that the package was unpacked in
	release string
	image   string
}

func (k kernel) modules() string { return filepath.Join(k.root, "lib", "modules", k.release) }

// getKernel returns the kernel that an emulated machine boots: the distribution's, or that of LAB_SUITE, downloaded and
// unpacked into the user's cache once, never installed into this machine. Each suite has a directory of its own there.
func getKernel(ctx context.Context) (kernel, error) {
	cache, err := kernelCache()
	if err != nil {
		return kernel{}, err
	}
	from, err := chosenSuite(cache)
	if err != nil {
		return kernel{}, err
	}
	if err := os.MkdirAll(from.Dir, 0o755); err != nil {
		return kernel{}, err
	}
	// Labs that start at once want the same kernel; one of them gets it.
	release, err := waitForLock(ctx, filepath.Join(from.Dir, "lock"))
	if err != nil {
		return kernel{}, err
	}
	defer release()
	// What is there is good: tests should not change kernels because the archive did.
	if cached, _ := filepath.Glob(filepath.Join(from.Dir, "linux-image-*")); len(cached) > 0 {
		slices.Sort(cached)
		return openKernel(cached[len(cached)-1])
	}
	if err := from.Prepare(ctx); err != nil {
		return kernel{}, err
	}
	packages, err := kernelPackages(ctx, from)
	if err != nil && from.Name == "" {
		if err := debian.UpdateLists(ctx); err != nil {
			return kernel{}, err
		}
		packages, err = kernelPackages(ctx, from)
	}
	if err != nil {
		return kernel{}, err
	}
	return fetchKernel(ctx, from, packages)
}

func kernelCache() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/cache" // no HOME: a service or a bare container
	}
	dir := filepath.Join(cache, "ipvs-proxier", "lab")
	return dir, os.MkdirAll(dir, 0o755)
}

// waitForLock locks a file that it makes, however long another process has it.
func waitForLock(ctx context.Context, path string) (release func(), err error) {
	for {
		file, err := lock(path, os.O_CREATE)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// kernelPackages names the packages that hold the distribution's current kernel and its modules, the image first.
// Debian's kernel for clouds will not do: it lacks the 9p file system.
func kernelPackages(ctx context.Context, from debian.Suite) ([]string, error) {
	for _, meta := range []string{"linux-image-amd64", "linux-image-generic"} {
		if images, err := from.Depends(ctx, meta, "linux-image-"); err == nil && len(images) > 0 {
			return withParts(ctx, from, images[0]), nil
		}
	}
	return nil, fmt.Errorf("apt-get has neither linux-image-amd64 nor linux-image-generic")
}

// withParts adds the packages that the kernel is spread over, if the archive has them: Ubuntu keeps modules in packages
// of their own, and so does Debian from 6.19 on, whose image package is empty; there the image is in linux-binary and
// modules.builtin in linux-base.
func withParts(ctx context.Context, from debian.Suite, image string) []string {
	packages := []string{image}
	release := strings.TrimPrefix(image, "linux-image-")
	for _, prefix := range []string{"linux-binary-", "linux-base-", "linux-modules-", "linux-modules-extra-"} {
		if name := prefix + release; from.Has(ctx, name) {
			packages = append(packages, name)
		}
	}
	return packages
}

// fetchKernel unpacks packages beside the cache and moves the result into place: what is in the cache is complete.
func fetchKernel(ctx context.Context, from debian.Suite, packages []string) (kernel, error) {
	cache := from.Dir
	fmt.Fprintln(os.Stderr, "lab: downloading", strings.Join(packages, " "), "to", cache)
	temp, err := os.MkdirTemp(cache, "unpacking-")
	if err != nil {
		return kernel{}, err
	}
	defer os.RemoveAll(temp)
	if err := from.Download(ctx, temp, packages...); err != nil {
		return kernel{}, err
	}
	root := filepath.Join(temp, "root")
	if err := unpack(ctx, temp, root); err != nil {
		return kernel{}, err
	}
	place := filepath.Join(cache, packages[0])
	if err := os.Rename(root, place); err != nil && !os.IsExist(err) {
		return kernel{}, err
	}
	return openKernel(place)
}

// unneeded are the bulkiest modules, none of which an emulated machine without hardware can use.
var unneeded = []string{"sound", "drivers/gpu", "drivers/media", "drivers/infiniband", "drivers/iio",
	"drivers/net/ethernet",
	"drivers/net/wireless", "drivers/scsi", "drivers/staging", "drivers/usb"}

func unpack(ctx context.Context, packages, root string) error {
	if err := debian.Extract(ctx, packages, root); err != nil {
		return err
	}
	// Newer packages have everything below /usr, and depmod looks below /lib.
	if _, err := os.Lstat(filepath.Join(root, "lib")); os.IsNotExist(err) {
		if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
			return err
		}
	}
	k, err := openKernel(root)
	if err != nil {
		return err
	}
	for _, dir := range unneeded {
		if err := os.RemoveAll(filepath.Join(k.modules(), "kernel", dir)); err != nil {
			return err
		}
	}
	return tool(ctx, program("depmod"), "-b", root, k.release)
}

// openKernel finds the one kernel in an unpacked package: below boot, or from 6.19 on beside its modules.
func openKernel(root string) (kernel, error) {
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil {
		return kernel{}, err
	}
	beside, err := filepath.Glob(filepath.Join(root, "lib", "modules", "*", "vmlinuz"))
	if err != nil {
		return kernel{}, err
	}
	if found := len(images) + len(beside); found != 1 {
		return kernel{}, fmt.Errorf("%s: %d kernel images, want one; remove the directory to have it made again", root, found)
	}
	if len(beside) == 1 {
		return kernel{root: root, image: beside[0], release: filepath.Base(filepath.Dir(beside[0]))}, nil
	}
	return kernel{root: root, image: images[0], release: strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")}, nil
}

func tool(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
