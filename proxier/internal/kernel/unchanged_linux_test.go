//go:build kernel

package kernel_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// summarize reads the kernel, and returns what was seen and how many programs were started for it.
func summarize(t *testing.T, k *kernel.Linux, r dataplane.Reader) (seen dataplane.Summary, programs uint64) {
	t.Helper()
	before := k.Traffic().Processes
	seen, err := r.Summarize(dataplane.AllParts)
	if err != nil {
		t.Fatal(err)
	}
	return seen, k.Traffic().Processes - before
}

// TestRulesAreListedAgainWhenTheyHaveChanged: where the kernel reports a generation, rules are listed again only after
// a change. A rule of ours that somebody deletes is seen to be missing. A rule of others that takes packets away is
// seen.
func TestRulesAreListedAgainWhenTheyHaveChanged(t *testing.T) {
	kerneltest.Own(t)
	path, err := exec.LookPath("iptables-save")
	if err != nil {
		t.Fatal(err)
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	tells := strings.Contains(target, "nft")
	k := openLinux(t)
	want := want(3, 2)
	apply(t, k, from(dataplane.NewState(), want))
	r := openBeside(t, k)
	first, started := summarize(t, k, r)
	if started < 2 {
		t.Errorf("the first reading started %d programs, want one for each family at least", started)
	}
	again, started := summarize(t, k, r)
	if !again.State.SameFoundation(first.State) {
		t.Error("nothing has changed, and something else is seen")
	}
	if tells && started > 0 {
		t.Errorf("%d programs were started although nothing has changed", started)
	}
	for _, change := range []struct {
		command string
		sees    func(dataplane.Summary) bool
	}{
		{"iptables -w -t nat -F " + dataplane.ChainServices, func(s dataplane.Summary) bool {
			return len(s.State.Chains[dataplane.ChainID{
				Family: cluster.IPv4, Table: "nat", Name: dataplane.ChainServices,
			}].Rules) == 0
		}},
		{"ip6tables -w -t nat -I PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080", func(s dataplane.Summary) bool {
			return !s.Captures.Same(first.Captures)
		}},
		{"iptables -w -P INPUT DROP", func(s dataplane.Summary) bool { return len(s.State.Closed) == 1 }},
	} {
		if out, err := exec.Command("sh", "-c", change.command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", change.command, err, out)
		}
		for range 2 { // read, and then taken from memory
			if seen, _ := summarize(t, k, r); !change.sees(seen) {
				t.Errorf("after %s it is not seen", change.command)
			}
		}
	}
}

// TestTablesAreReadAgainWhenTheyHaveChanged does so with tables of our own, whose entries have the same number.
func TestTablesAreReadAgainWhenTheyHaveChanged(t *testing.T) {
	if !hasNFTables(t) {
		return
	}
	kerneltest.Own(t)
	k := openLinuxWithNFTables(t)
	want := want(100, 2)
	apply(t, k, from(dataplane.NewState(), want))
	r := openBeside(t, k)
	messages := func(entries int) uint64 {
		t.Helper()
		before := k.Traffic().Messages
		seen, _ := summarize(t, k, r)
		if !seen.State.SameFoundation(want) || seen.State.Entries.Len() != entries {
			t.Fatalf("%d entries are seen, want %d, with the same foundation", seen.State.Entries.Len(), entries)
		}
		return k.Traffic().Messages - before
	}
	all := want.Entries.Len()
	whole := messages(all)
	if again := messages(all); again+20 > whole {
		t.Errorf("%d messages to read all, and %d to read it again although nothing has changed", whole, again)
	}
	gone := want.Entries.Sorted()[0]
	for _, err := range k.Apply([]dataplane.Op{{Verb: dataplane.Delete, Object: gone}}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	messages(all - 1)
	messages(all - 1)
}
