package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// TestDiffText: each kind of difference as it is printed, with room on 80 columns.
func TestDiffText(t *testing.T) {
	value := func(text string) *string { return &text }
	d := proxier.Diff{
		API: proxier.DiffSide{Objects: 4}, Memory: proxier.DiffSide{Objects: 3}, Kernel: proxier.DiffSide{Objects: 3},
		Notes: []string{"the daemon is of version 1 and this program of version 2: rules may differ in words"},
		Differences: []proxier.DiffDifference{
			{Object: "real-server tcp 10.96.0.10:80 -> 10.244.1.7:8080", API: value("weight 1"), Memory: value("weight 1"), Kernel: value("weight 3"), Behind: proxier.DiffKernel},
			{Object: "chain ipv4 nat IPVSP-SERVICES", API: value(strings.Repeat("-m set --match-set IPVSP-LOCAL dst,dst -j ACCEPT; ", 4)), Memory: value("empty"), Behind: proxier.DiffBoth},
			{Object: "address 10.96.0.10", API: value("there"), Behind: proxier.DiffMemory},
		},
	}
	var out bytes.Buffer
	printDiff(plain(&out), d, false)
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	golden.Compare(t, "testdata/diff.txt", out.String())
}

// TestDiffIsShort where very much differs, unless all is asked for; json has all.
func TestDiffIsShort(t *testing.T) {
	var d proxier.Diff
	for i := range 60 {
		d.Differences = append(d.Differences, proxier.DiffDifference{Object: fmt.Sprintf("address 10.96.0.%d",
			i), Behind: proxier.DiffKernel})
	}
	for all, want := range map[bool]string{false: "and 10 more (--all prints them)", true: "address 10.96.0.59"} {
		var out bytes.Buffer
		printDiff(plain(&out), d, all)
		if text := out.String(); !strings.Contains(text, want) || !all && strings.Contains(text, "10.96.0.50") {
			t.Errorf("all %v: %s", all, text)
		}
	}
}

// TestDiffEndsWith 0 only where all three are known and the same.
func TestDiffEndsWith(t *testing.T) {
	side := proxier.DiffSide{Objects: 1}
	for want, d := range map[string]proxier.Diff{
		"":                                 {API: side, Memory: side, Kernel: side},
		"1 object differs":                 {Differences: make([]proxier.DiffDifference, 1)},
		"2 objects differ":                 {Differences: make([]proxier.DiffDifference, 2)},
		"not all three could be asked":     {API: proxier.DiffSide{Unknown: "x"}},
		"not all three could be asked: se": {Memory: proxier.DiffSide{Unknown: "x"}},
	} {
		switch err := diffError(d); {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestDiffChecksItsArguments before anybody is asked.
func TestDiffChecksItsArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", "yaml"}, `output "yaml" is unknown; allowed are table, json`},
		{[]string{"--timeout", "0s"}, "--timeout 0s is out of range"},
		{[]string{"web"}, "web"},
		{[]string{"--vip-mode", "none"}, `vipMode: "none" is unknown`},
	} {
		_, _, err := execute(t, append([]string{"diff"}, c.args...)...)
		if !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want wrong use: %s", c.args, err, c.want)
		}
	}
}
