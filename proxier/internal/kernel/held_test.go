package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestOneWaitForTheLock (kubernetes#105742): while another program holds the lock of iptables, a pass waits for it
// once, and each operation says why it was not done.
func TestOneWaitForTheLock(t *testing.T) {
	dir := t.TempDir()
	waits := filepath.Join(dir, "waits")
	for _, name := range []string{"iptables", "ip6tables"} {
		for suffix, script := range map[string]string{
			"-save":    "exit 0\n",
			"-restore": "echo wait >>" + waits + "\necho 'Another app is currently holding the xtables lock; still -9s 0us time ahead to have a chance to grab the lock...' >&2\nexit 4\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name+suffix), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	c, err := newChains([]cluster.Family{cluster.IPv4, cluster.IPv6})
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range c.families {
		var ops []dataplane.Op
		for _, name := range []string{"IPVSP-A", "IPVSP-B", "IPVSP-C"} {
			id := dataplane.ChainID{Family: family, Table: "filter", Name: name}
			ops = append(ops, dataplane.Op{Verb: dataplane.Create, Object: dataplane.Chain{
				ID: id, Rules: []dataplane.Rule{{Verdict: dataplane.Verdict{Action: dataplane.Return}}},
			}})
		}
		for i, err := range c.apply(ops) {
			if !errors.Is(err, errHeld) {
				t.Errorf("%s: %v, want that the lock is held", ops[i], err)
			}
		}
	}
	text, err := os.ReadFile(waits)
	if n := strings.Count(string(text), "wait"); err != nil || n != 1 {
		t.Errorf("waited %d times (%v), want once", n, err)
	}
}
