package dataplane_test

import (
	"net/netip"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestAdditionsComeBeforeDeletions: whatever a pass changes, all its real servers are added before any is deleted, over all Services; and none is
// deleted that comes back. The kernel keeps deleted ones on a list for minutes, which every addition walks (BenchmarkTrash).
func TestAdditionsComeBeforeDeletions(t *testing.T) {
	r := seeded(t)
	have, both := dataplane.NewState(), 0
	for range 300 {
		want := anyWant(r).State
		type server struct {
			id dataplane.VirtualServerID
			at netip.AddrPort
		}
		added, deleted := map[server]bool{}, map[server]bool{}
		for _, op := range dataplane.Diff(have, want, dataplane.All(nil, have, want)) {
			switch o := op.Object.(type) {
			case dataplane.RealServerObject:
				at := server{o.VirtualServer, netip.AddrPortFrom(o.Addr, o.Port)}
				if op.Verb == dataplane.Delete {
					deleted[at] = true
					break
				}
				added[at] = true
				if len(deleted) > 0 {
					t.Fatalf("%s comes after deletions", op)
				}
			case dataplane.VirtualServerObject:
				if op.Verb == dataplane.Delete {
					for _, rs := range have.VirtualServers[o.ID].RealServers {
						deleted[server{o.ID, netip.AddrPortFrom(rs.Addr, rs.Port)}] = true
					}
				}
			}
		}
		for at := range deleted {
			if added[at] {
				t.Fatalf("%v is deleted and comes back", at)
			}
		}
		if len(added) > 0 && len(deleted) > 0 {
			both++
		}
		have = want
	}
	if both < 100 {
		t.Errorf("only %d of the changes add and delete", both)
	}
}
