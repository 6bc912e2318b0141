package main

import (
	"fmt"
	"slices"
	"strings"
)

// row is a kernel and an iptables.
type row struct {
	name     string
	kernel   string // as lab run --kernel has it
	suite    string // as LAB_SUITE has it
	iptables string // as LAB_IPTABLES has it
	usual    bool   // it is the iptables that this kernel usually has
}

// rows are all that make kernels runs: the kernel that most tests run on elsewhere, and those of Debian that clusters
// run at the end of 2026, each with the iptables of this machine and of newer releases.
var rows = slices.Concat(
	rowsOf("uml", "uml", "", "legacy", "legacy/trixie", "legacy/sid"),
	rowsOf("trixie", "qemu", "trixie", "nft", "legacy", "nft/trixie", "nft/sid"),
	rowsOf("trixie-backports", "qemu", "trixie-backports", "nft", "legacy", "nft/trixie", "nft/sid"),
	rowsOf("sid", "qemu", "sid", "nft", "legacy", "nft/trixie", "nft/sid"),
)

// rowsOf makes the rows of a kernel; the first iptables is its usual one.
func rowsOf(name, kernel, suite string, iptables ...string) []row {
	var all []row
	for i, variant := range iptables {
		all = append(all, row{name + "-" + strings.ReplaceAll(variant, "/", "-"), kernel, suite, variant, i == 0})
	}
	return all
}

// what describes the row for people.
func (r row) what() string {
	kernel := "User-Mode Linux"
	if r.suite != "" {
		kernel = "the kernel of " + r.suite + " in QEMU"
	}
	backend, suite, found := strings.Cut(r.iptables, "/")
	whose := "this machine's"
	if found {
		whose = suite + "'s"
	}
	extent := "the contract and TestTraffic"
	if r.usual {
		extent = "everything"
	}
	return fmt.Sprintf("%s, %s iptables-%s: %s", kernel, whose, backend, extent)
}

// choose returns the rows of these names, in their own order; all when none is named.
func choose(rows []row, names []string) ([]row, error) {
	if len(names) == 0 {
		return rows, nil
	}
	var chosen []row
	for _, name := range names {
		at := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
		if at < 0 {
			var known []string
			for _, r := range rows {
				known = append(known, r.name)
			}
			return nil, fmt.Errorf("row %q is unknown; allowed are %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, rows[at])
	}
	return chosen, nil
}
