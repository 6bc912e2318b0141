package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// suite is a part of Debian's archive from which the kernel of an emulated machine comes instead of the distribution's
// own, such as trixie-backports, which has newer ones. Its lists are kept apart: the machine's own packages do not
// change because of it.
type suite struct {
	name string // empty: the machine's own archives
	dir  string
}

// suites are those that the lab boots kernels of: 6.1, 6.12 twice, and at the end of 2026 7.3 and 7.2.
var suites = []string{"bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid"}

// chosenSuite is the one that the environment variable LAB_SUITE names. cache is the directory for kernels.
func chosenSuite(cache string) (suite, error) {
	name := os.Getenv("LAB_SUITE")
	switch {
	case name == "":
		return suite{dir: cache}, nil
	case !slices.Contains(suites, name):
		return suite{}, fmt.Errorf("LAB_SUITE %q is unknown; allowed are %s, or nothing for this machine's own archives", name, strings.Join(suites, ", "))
	}
	return suite{name, filepath.Join(cache, name)}, nil
}

// options are what apt-get and apt-cache need to be told to look there. What is installed on this machine does not
// count there.
func (s suite) options() []string {
	if s.name == "" {
		return nil
	}
	return []string{
		"-o", "Dir::Etc::sourcelist=" + s.sources(), "-o", "Dir::Etc::sourceparts=-", "-o", "Dir::State::status=/dev/null",
		"-o", "Dir::State::Lists=" + filepath.Join(s.dir, "lists"), "-o", "Dir::Cache=" + filepath.Join(s.dir, "cache"),
	}
}

func (s suite) sources() string { return filepath.Join(s.dir, "suite.sources") }

// prepare gets the suite's lists, when it is not the machine's own.
func (s suite) prepare(ctx context.Context) error {
	if s.name == "" {
		return nil
	}
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o755); err != nil {
			return err
		}
	}
	archive, err := debianSource(ctx)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.sources(), []byte(archive.of(s.name)), 0o644); err != nil {
		return err
	}
	return apt(ctx, "", append(s.options(), "update", "-q")...)
}
