package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/internal/debian"
)

// architectures are those that images are made for, with the directory that Debian has their libraries in.
var architectures = map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

// loaders are where programs of an architecture look for their loader.
var loaders = map[string]string{"amd64": "usr/lib64/ld-linux-x86-64.so.2", "arm64": "usr/lib/ld-linux-aarch64.so.1"}

// baseDate is that of the files of packages. It is none of a commit, so that the layer stays what it is from one
// version to the next and nodes need not get it again.
var baseDate = time.Unix(0, 0).UTC()

// base is the layer with both variants of iptables and the libraries that they need.
func (o order) base(ctx context.Context, platform string, parts *contents) (*tree, error) {
	root, packages, err := o.unpacked(ctx, platform)
	if err != nil {
		return nil, err
	}
	t := newTree(baseDate)
	for _, name := range []string{"bin", "sbin", "lib"} {
		t.link(name, "usr/"+name)
	}
	t.add("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/sbin/nologin\n"))
	t.add("etc/group", 0o644, []byte("root:x:0:\n"))
	t.link("etc/os-release", "../usr/lib/os-release")
	if err := t.take(root, "usr/lib/os-release"); err != nil {
		return nil, err
	}
	libraries := filepath.Join("usr/lib", architectures[platform])
	if err := t.take(root, loaders[platform]); err != nil {
		return nil, err
	}
	if platform == "amd64" {
		t.link("lib64", "usr/lib64")
	}
	wanted := []string{}
	for _, variant := range []string{"nft", "legacy"} {
		multi := "usr/sbin/xtables-" + variant + "-multi"
		wanted = append(wanted, multi)
		for _, command := range []string{"iptables", "ip6tables"} {
			for _, suffix := range []string{"", "-save", "-restore"} {
				// By their usual names in a directory for each variant, of which the program chooses one, and for
				// people.
				t.link(filepath.Join("usr/lib/ipvs-proxier/iptables", variant, command+suffix), "/"+multi)
				t.link(filepath.Join("usr/sbin", command+"-"+variant+suffix), filepath.Base(multi))
			}
		}
	}
	// What prints rules needs the extensions of all, because rules of others are printed, too.
	extensions, err := filepath.Glob(filepath.Join(root, libraries, "xtables", "*.so"))
	if err != nil || len(extensions) == 0 {
		return nil, fmt.Errorf("no extensions of iptables in %s (%w)", libraries, err)
	}
	for _, extension := range extensions {
		wanted = append(wanted, filepath.Join(libraries, "xtables", filepath.Base(extension)))
	}
	if err := t.takeAll(root, libraries, wanted); err != nil {
		return nil, err
	}
	for _, p := range packages {
		// Scanners look there for what an image without dpkg has.
		t.add("var/lib/dpkg/status.d/"+p.name, 0o644, p.control)
		notice := "usr/share/doc/" + p.name + "/copyright"
		if err := t.take(root, notice); err != nil {
			return nil, err
		}
		parts.packages = append(parts.packages, p)
	}
	return t, nil
}

// takeAll adds files and the libraries that they need, and these need.
func (t *tree) takeAll(root, libraries string, names []string) error {
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		if _, there := t.files[name]; there {
			continue
		}
		if err := t.take(root, name); err != nil {
			return err
		}
		needed, err := neededBy(filepath.Join(root, name))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, library := range needed {
			if strings.HasPrefix(library, "ld-linux") {
				continue // the loader
			}
			names = append(names, filepath.Join(libraries, library))
		}
	}
	return nil
}

// neededBy returns the names of the libraries that a program or library is linked with.
func neededBy(path string) ([]string, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.ImportedLibraries()
}

// debianPackage is one that files of an image come from.
type debianPackage struct {
	name, version, architecture string
	// control are the fields that dpkg has of it.
	control []byte
}

// unpacked gets the packages of iptables into the cache, and returns where they are unpacked. A day's downloads serve
// for the day: the archive's stable suites change less often.
func (o order) unpacked(ctx context.Context, platform string) (root string, packages []debianPackage, err error) {
	from := debian.Suite{Name: o.suite, Dir: filepath.Join(o.cache, o.suite+"-"+platform), Arch: platform}
	day := filepath.Join(from.Dir, time.Now().UTC().Format(time.DateOnly))
	debs, root := filepath.Join(day, "packages"), filepath.Join(day, "root")
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		if err := os.RemoveAll(from.Dir); err != nil {
			return "", nil, err
		}
		if err := os.MkdirAll(debs, 0o755); err != nil {
			return "", nil, err
		}
		if err := from.Prepare(ctx); err != nil {
			return "", nil, err
		}
		libraries, err := from.Depends(ctx, "iptables", "lib")
		if err != nil {
			return "", nil, err
		}
		fmt.Fprintln(os.Stderr, "image: downloading iptables", strings.Join(libraries, " "), "of", o.suite, "for", platform)
		if err := from.Download(ctx, debs, append([]string{"iptables", "base-files"}, libraries...)...); err != nil {
			return "", nil, err
		}
		whole := root + ".part"
		if err := debian.Extract(ctx, debs, whole); err != nil {
			return "", nil, err
		}
		if err := os.Rename(whole, root); err != nil {
			return "", nil, err
		}
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return "", nil, err
	}
	for _, file := range files {
		p, err := inspect(ctx, file)
		if err != nil {
			return "", nil, err
		}
		packages = append(packages, p)
	}
	return root, packages, nil
}

// inspect reads the fields of a package's file.
func inspect(ctx context.Context, file string) (debianPackage, error) {
	out, err := exec.CommandContext(ctx, "dpkg-deb", "-f", file).Output()
	if err != nil {
		return debianPackage{}, fmt.Errorf("dpkg-deb -f %s: %w", file, err)
	}
	p := debianPackage{control: out}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "Package":
			p.name = value
		case "Version":
			p.version = value
		case "Architecture":
			p.architecture = value
		}
	}
	if p.name == "" || p.version == "" {
		return p, fmt.Errorf("%s names no package and version", file)
	}
	return p, nil
}
