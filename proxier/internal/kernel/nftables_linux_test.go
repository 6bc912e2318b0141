//go:build kernel

package kernel_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/nftables"
)

// hasNFTables reports whether this kernel has nftables for IP. User-Mode Linux has not: there the refusal must say so.
func hasNFTables(t *testing.T) bool {
	t.Helper()
	err := nftables.Check(from(dataplane.NewState(), rulesAlone(dataplane.Foundation(kerneltest.Config))))
	if err == nil {
		return true
	}
	if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "no nftables for IP") {
		t.Fatal(err)
	}
	t.Logf("refused: %v", err)
	return false
}

// rulesAlone returns the State without what netfilter does not hold.
func rulesAlone(s *dataplane.State) *dataplane.State {
	s = s.Clone()
	clear(s.Links)
	clear(s.Sysctls)
	return s
}

func openLinuxWithNFTables(t *testing.T) *kernel.Linux {
	t.Helper()
	var sysctls []string
	for name := range dataplane.Foundation(kerneltest.Config).Sysctls {
		sysctls = append(sysctls, name)
	}
	k, err := kernel.NewLinux(kernel.LinuxConfig{
		Link: kerneltest.Config.Link, Families: kerneltest.Config.Families, Sysctls: sysctls, Netfilter: kernel.NFTables,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func TestLinuxWithNFTablesKeepsTheContract(t *testing.T) {
	if !hasNFTables(t) {
		return
	}
	kerneltest.Run(t, func(t *testing.T) (kerneltest.Kernel, kerneltest.Reader, kerneltest.Flows) {
		kerneltest.Own(t)
		k := openLinuxWithNFTables(t)
		return k, openBeside(t, k), newLinuxFlows(t)
	})
}

// TestNoProgramIsStartedWithNFTables, and what is written at once is one transaction.
func TestNoProgramIsStartedWithNFTables(t *testing.T) {
	if !hasNFTables(t) {
		return
	}
	kerneltest.Own(t)
	t.Setenv("PATH", "")
	k := openLinuxWithNFTables(t)
	apply(t, k, from(dataplane.NewState(), want(1000, 5)))
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	if ops := from(seen.State, want(1000, 5)); len(ops) > 0 {
		t.Errorf("%d operations are still to be done, the first one %s", len(ops), ops[0])
	}
	if now := k.Traffic(); now.Processes != 0 || now.Sends > 300 {
		t.Errorf("%d processes and %d sends", now.Processes, now.Sends)
	}
}

// TestTheOtherBackendGoes, and what is in force stays as it is, whichever of the two it is.
func TestTheOtherBackendGoes(t *testing.T) {
	if !hasNFTables(t) {
		return
	}
	kerneltest.Own(t)
	adapters := map[kernel.Netfilter]*kernel.Linux{
		kernel.Iptables: openLinux(t), kernel.NFTables: openLinuxWithNFTables(t),
	}
	want := want(3, 2)
	for _, inForce := range []kernel.Netfilter{kernel.NFTables, kernel.Iptables} {
		for _, k := range adapters {
			seen, err := k.Observe()
			if err != nil {
				t.Fatal(err)
			}
			apply(t, k, from(seen.State, want))
		}
		said, err := kernel.RemoveRules(inForce.Other(), kerneltest.Config.Families, true)
		if err != nil || len(said) == 0 {
			t.Fatalf("%d objects would be removed, %v", len(said), err)
		}
		removed, err := kernel.RemoveRules(inForce.Other(), kerneltest.Config.Families, false)
		if err != nil || !slices.Equal(removed, said) {
			t.Fatalf("%q are removed, %q were said to be, %v", removed, said, err)
		}
		gone, err := adapters[inForce.Other()].Observe()
		if err != nil {
			t.Fatal(err)
		}
		if s := gone.State; len(s.Sets)+len(s.Chains)+len(s.Hooks)+s.Entries.Len() > 0 {
			t.Errorf("%s has still:\n%s", inForce.Other(), s.Text())
		}
		seen, err := adapters[inForce].Observe()
		if err != nil {
			t.Fatal(err)
		}
		if ops := from(seen.State, want); len(ops) > 0 {
			t.Errorf("%s lacks %v", inForce, ops)
		}
	}
	if !kernel.HasTables() {
		return
	}
	t.Error("tables of ours are left")
}
