package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/internal/debian"
)

// iptables is which of the iptables a booted guest has.
type iptables struct {
	Backend string // nft (nf_tables), legacy (the old tables), or empty: as is usual for the guest
	Suite   string // of Debian's archive, from which they come; empty: this machine's own
	Root    string // where that suite's are unpacked
}

const (
	nft    = "nft"
	legacy = "legacy"
)

// chosenIptables reads LAB_IPTABLES: BACKEND or BACKEND/SUITE.
func chosenIptables(k kind) (iptables, error) {
	text := os.Getenv("LAB_IPTABLES")
	if text == "" {
		return iptables{Backend: map[kind]string{uml: legacy}[k]}, nil
	}
	backend, suite, hasSuite := strings.Cut(text, "/")
	switch {
	case backend != nft && backend != legacy:
		return iptables{}, fmt.Errorf(
			"LAB_IPTABLES %q is unknown; allowed are %s and %s, each with a slash and a suite after it or without", text, nft,
			legacy,
		)
	case hasSuite && !slices.Contains(suites, suite):
		return iptables{}, fmt.Errorf("LAB_IPTABLES %q names an unknown suite; allowed are %s",
			text, strings.Join(suites, ", "))
	case k == own:
		return iptables{}, fmt.Errorf("LAB_IPTABLES=%s is for kernels that are booted, not for the machine's own", text)
	case k == uml && backend == nft:
		return iptables{}, errors.New("the kernel of User-Mode Linux has no nf_tables for IP: LAB_IPTABLES must be legacy there")
	}
	return iptables{Backend: backend, Suite: suite}, nil
}

// modules are those that a kernel needs for them.
func (i iptables) modules() []string {
	if i.Backend == legacy {
		return []string{"iptable_nat", "ip6table_nat", "iptable_filter", "ip6table_filter"}
	}
	// The old tables must not exist where iptables means nf_tables: it would warn about them at every call.
	return []string{"nf_tables", "nft_compat"}
}

// fetchIptables gets those of a suite, with all the libraries that they need, into the cache, once.
func fetchIptables(ctx context.Context, i iptables) (iptables, error) {
	if i.Suite == "" {
		return i, nil
	}
	cache, err := kernelCache()
	if err != nil {
		return i, err
	}
	from := debian.Suite{Name: i.Suite, Dir: filepath.Join(cache, i.Suite)}
	if err := os.MkdirAll(from.Dir, 0o755); err != nil {
		return i, err
	}
	release, err := waitForLock(ctx, filepath.Join(from.Dir, "lock"))
	if err != nil {
		return i, err
	}
	defer release()
	i.Root = filepath.Join(from.Dir, "iptables")
	if _, err := os.Stat(i.Root); err == nil {
		return i, nil
	}
	if err := from.Prepare(ctx); err != nil {
		return i, err
	}
	libraries, err := from.Depends(ctx, "iptables", "lib")
	if err != nil {
		return i, err
	}
	packages := append([]string{"iptables"}, libraries...)
	fmt.Fprintln(os.Stderr, "lab: downloading", strings.Join(packages, " "), "of", i.Suite, "to", i.Root)
	temp, err := os.MkdirTemp(from.Dir, "unpacking-")
	if err != nil {
		return i, err
	}
	defer os.RemoveAll(temp)
	if err := from.Download(ctx, temp, packages...); err != nil {
		return i, err
	}
	root := filepath.Join(temp, "root")
	if err := debian.Extract(ctx, temp, root); err != nil {
		return i, err
	}
	return i, os.Rename(root, i.Root)
}

// useIptables puts the programs into a guest's directory of programs.
func useIptables(i iptables) error {
	if i.Backend == "" {
		return nil
	}
	multi := "xtables-" + i.Backend + "-multi"
	own := program(multi)
	if i.Root == "" && own == "" {
		return fmt.Errorf("no %s, which the package iptables has", multi)
	}
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			path := filepath.Join(guestPrograms, family+suffix)
			if i.Root == "" {
				if err := os.Symlink(own, path); err != nil {
					return err
				}
				continue
			}
			script, err := i.wrapper(multi, family+suffix)
			if err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

// wrapper is a script that runs a program of another release with that release's own loader and libraries.
func (i iptables) wrapper(multi, name string) (string, error) {
	find := func(pattern string) (string, error) {
		for _, prefix := range []string{"usr", ""} {
			if found, _ := filepath.Glob(filepath.Join(i.Root, prefix, pattern)); len(found) == 1 {
				return found[0], nil
			}
		}
		return "", fmt.Errorf("%s: no %s; remove the directory to have it made again", i.Root, pattern)
	}
	loader, err := find("lib64/ld-linux-x86-64.so.2")
	if err != nil {
		return "", err
	}
	if info, err := os.Lstat(loader); err == nil && info.Mode()&os.ModeSymlink != 0 {
		if loader, err = find("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"); err != nil {
			return "", err
		}
	}
	program, err := find("sbin/" + multi)
	if err != nil {
		return "", err
	}
	extensions, err := find("lib/x86_64-linux-gnu/xtables")
	if err != nil {
		return "", err
	}
	libraries := filepath.Join(i.Root, "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(i.Root, "lib/x86_64-linux-gnu")
	return fmt.Sprintf("#!/bin/sh\nXTABLES_LIBDIR='%s' exec '%s' --library-path '%s' '%s' %s \"$@\"\n",
		extensions, loader, libraries, program, name), nil
}
