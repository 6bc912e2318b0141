package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// suite is a part of Debian's archive from which the kernel of an emulated machine comes instead of the distribution's own, such as
// bookworm-backports, which has newer ones. Its lists are kept apart: the machine's own packages do not change because of it.
type suite struct {
	name string // empty: the machine's own archives
	dir  string
}

var suiteName = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)

// chosenSuite is the one that the environment variable LAB_SUITE names. cache is the directory for kernels.
func chosenSuite(cache string) (suite, error) {
	s := suite{name: os.Getenv("LAB_SUITE")}
	if s.name == "" {
		return s, nil
	}
	if !suiteName.MatchString(s.name) {
		return s, fmt.Errorf("LAB_SUITE %q is no name of a suite of Debian's archive", s.name)
	}
	s.dir = filepath.Join(cache, s.name)
	return s, nil
}

// options are what apt-get and apt-cache need to be told to look there.
func (s suite) options() []string {
	if s.name == "" {
		return nil
	}
	return []string{
		"-o", "Dir::Etc::sourcelist=" + filepath.Join(s.dir, "sources.list"), "-o", "Dir::Etc::sourceparts=-",
		"-o", "Dir::State::Lists=" + filepath.Join(s.dir, "lists"), "-o", "Dir::Cache=" + filepath.Join(s.dir, "cache"),
	}
}

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
	source := fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian %s main\n", s.name)
	if err := os.WriteFile(filepath.Join(s.dir, "sources.list"), []byte(source), 0o644); err != nil {
		return err
	}
	return apt(ctx, "", append(s.options(), "update", "-q")...)
}
