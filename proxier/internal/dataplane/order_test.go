package dataplane_test

import (
	"net/netip"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestAdditionsComeBeforeDeletions: whatever a pass changes, all its real servers are added before any is deleted, over
// all Services; and none is deleted that comes back. The kernel keeps deleted ones on a list for minutes, which every
// addition walks (BenchmarkTrash).
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

// TestAFrontEndIsHeldForItsOwnExchange: however many schedulers a pass exchanges, between the entry that holds a front
// end and its end stands its own exchange and nothing else, and what comes new is there before the first of them.
func TestAFrontEndIsHeldForItsOwnExchange(t *testing.T) {
	r := seeded(t)
	exchanged, most := 0, 0
	have := dataplane.NewState()
	for range 300 {
		want := anyWant(r).State
		leftover := map[dataplane.SetEntry]bool{}
		if r.IntN(3) == 0 { // a proxier was killed while it held some of them
			for id := range have.VirtualServers {
				if entry := holdOf(id); r.IntN(2) == 0 {
					have.Entries.Put(entry)
					leftover[entry] = true
				}
			}
		}
		ops := dataplane.Diff(have, want, dataplane.All(nil, have, want))
		released, here := map[dataplane.SetEntry]bool{}, 0
		for i, op := range ops {
			switch o := op.Object.(type) {
			case dataplane.SetEntry:
				if op.Verb == dataplane.Delete {
					released[o] = true
				}
			case dataplane.VirtualServerObject:
				if op.Verb == dataplane.Create && here > 0 {
					t.Fatalf("%s waits for exchanges", op)
				}
				if op.Verb != dataplane.Update || have.VirtualServers[o.ID].Scheduler == o.Scheduler {
					break
				}
				here++
				hold := dataplane.Op{Verb: dataplane.Create, Object: holdOf(o.ID)}
				if before := ops[i-1]; !leftover[holdOf(o.ID)] && before != hold ||
					leftover[holdOf(o.ID)] && released[holdOf(o.ID)] {
					t.Fatalf("%s is not held: before it comes %s", op, before)
				}
				if after := (dataplane.Op{Verb: dataplane.Delete, Object: holdOf(o.ID)}); ops[i+1] != after {
					t.Fatalf("%s is held on: after it comes %s", op, ops[i+1])
				}
			}
		}
		for entry := range leftover {
			if !released[entry] {
				t.Fatalf("%s stays", entry)
			}
		}
		exchanged, most = exchanged+here, max(most, here)
		have = want
	}
	if exchanged < 100 || most < 3 {
		t.Errorf("%d schedulers were exchanged, %d at most in one pass", exchanged, most)
	}
}

// holdOf returns the entry that holds the front end.
func holdOf(id dataplane.VirtualServerID) dataplane.SetEntry {
	return dataplane.SetEntry{
		Set: dataplane.SetName(dataplane.SetHold, cluster.FamilyOf(id.Addr)), Type: ipset.HashIPPort,
		Entry: ipset.Entry{Addr: id.Addr, Protocol: ipset.Protocol(id.Protocol), Port: id.Port},
	}
}
