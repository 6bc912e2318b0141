package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Suite is a part of the archive, such as trixie-backports, for one architecture. Its lists are kept apart: this
// machine's own packages do not change because of it.
type Suite struct {
	// Name is the suite's; empty is what this machine's own sources name.
	Name string
	// Dir is where lists and downloads are kept.
	Dir string
	// Arch is an architecture such as arm64; empty is this machine's own.
	Arch string
}

// Options returns the options with which apt-get and apt-cache use the suite, and ignore what is installed on this
// machine.
func (s Suite) Options() []string {
	if s.Name == "" {
		return nil
	}
	options := []string{
		"-o", "Dir::Etc::sourcelist=" + s.sources(), "-o", "Dir::Etc::sourceparts=-", "-o", "Dir::State::status=/dev/null",
		"-o", "Dir::State::Lists=" + filepath.Join(s.Dir, "lists"), "-o", "Dir::Cache=" + filepath.Join(s.Dir, "cache"),
	}
	if s.Arch != "" {
		options = append(options, "-o", "APT::Architecture="+s.Arch, "-o", "APT::Architectures::="+s.Arch)
	}
	return options
}

func (s Suite) sources() string { return filepath.Join(s.Dir, "suite.sources") }

// Prepare gets the suite's lists, when it is not this machine's own.
func (s Suite) Prepare(ctx context.Context) error {
	if s.Name == "" {
		return nil
	}
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	archive, err := debianSource(ctx)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.sources(), []byte(archive.of(s.Name, s.Arch)), 0o644); err != nil {
		return err
	}
	return Apt(ctx, "", append(s.Options(), "update", "-q")...)
}

// Download puts the packages' files into the directory.
func (s Suite) Download(ctx context.Context, dir string, packages ...string) error {
	return Apt(ctx, dir, slices.Concat(s.Options(), []string{"download", "-q"}, packages)...)
}

// Depends returns the packages on which one depends and whose names have one of the prefixes, sorted.
func (s Suite) Depends(ctx context.Context, name string, prefixes ...string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", append(s.Options(), "depends", name)...).Output()
	if err != nil {
		return nil, fmt.Errorf("apt-cache depends %s in %s: %w", name, s.Name, err)
	}
	return dependencies(string(out), prefixes...), nil
}

// Has reports whether there is such a package.
func (s Suite) Has(ctx context.Context, name string) bool {
	return exec.CommandContext(ctx, "apt-cache", append(s.Options(), "show", name)...).Run() == nil
}

// dependencies reads the output of apt-cache depends.
func dependencies(text string, prefixes ...string) []string {
	var names []string
	for line := range strings.Lines(text) {
		name, found := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "| "), "Depends: ")
		for _, prefix := range prefixes {
			if found && strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Extract unpacks all packages of a directory.
func Extract(ctx context.Context, packages, root string) error {
	files, err := filepath.Glob(filepath.Join(packages, "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", file, root).CombinedOutput(); err != nil {
			return fmt.Errorf("dpkg-deb -x %s: %w\n%s", file, err, out)
		}
	}
	return nil
}
