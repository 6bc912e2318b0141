//go:build kernel

package kernel

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestOtherVariantsRules: a rule of the other kind of iptables that takes packets away is seen within the time that its
// reading is good for, and is gone when it is. Each kind is the other one's other kind.
func TestOtherVariantsRules(t *testing.T) {
	for _, ours := range []string{"nft", "legacy"} {
		t.Run(ours, func(t *testing.T) {
			runtime.LockOSThread() // and never unlocked: the thread's network goes with the test
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				t.Fatal(err)
			}
			for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
				program := commands[family] + "-" + map[string]string{"nft": "legacy", "legacy": "nft"}[ours]
				// To list works on a kernel that cannot have the table: nf_tables may be there for bridges only.
				if out, err := exec.Command(program, "-w", "-t", "nat", "-N", "PROBE").CombinedOutput(); err != nil {
					t.Logf("NOT TESTED: %s does not work here: %v: %s", program, err, out)
					return
				}
				use(t, family, ours)
				other := newOtherVariant(family)
				if other == nil || other.program != program {
					t.Fatalf("the other kind is %+v, want %s", other, program)
				}
				id := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.10"), Port: 80, Protocol: cluster.TCP}
				if family == cluster.IPv6 {
					id.Addr = netip.MustParseAddr("fd00:96::10")
				}
				read := func() []dataplane.Capture {
					t.Helper()
					c := &chains{}
					other.at = other.at.Add(-otherEvery)
					found, err := other.captures(family, c.run)
					if err != nil {
						t.Fatal(err)
					}
					return dataplane.NewCaptures(found).Of(id)
				}
				if found := read(); len(found) > 0 {
					t.Errorf("without a rule: %+v", found)
				}
				for _, verb := range []string{"-A", "-D"} {
					rule := strings.Fields("-w -t nat " + verb + " PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080")
					if out, err := exec.Command(program, rule...).CombinedOutput(); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
					want := map[string]string{"-A": "-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080"}[verb]
					got := ""
					for _, c := range read() {
						got += c.Rule
						if c.Program != program || c.Hook != "PREROUTING" {
							t.Errorf("%+v, want one of %s in PREROUTING", c, program)
						}
					}
					if got != want {
						t.Errorf("after %s: %q, want %q", verb, got, want)
					}
				}
			}
		})
	}
}

// use has the family's programs be those of one kind.
func use(t *testing.T, family cluster.Family, kind string) {
	t.Helper()
	path, err := exec.LookPath(commands[family] + "-" + kind + "-save")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(path, filepath.Join(dir, commands[family]+"-save")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}
