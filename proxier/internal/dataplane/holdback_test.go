package dataplane_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestHoldBack: whatever waits, what is done without it is neither blocked nor refused, nothing urgent is held, and
// afterwards the kernel gets where it was to get.
func TestHoldBack(t *testing.T) {
	r := seeded(t)
	m := newMemory()
	for range 150 {
		want := anyWant(r).State
		have := m.State().Clone()
		ops := dataplane.Diff(have, want, dataplane.All(nil, have, want))
		waiting, urgent := map[dataplane.Identity]bool{}, map[dataplane.Identity]bool{}
		part := r.IntN(10)
		for _, op := range ops {
			waiting[dataplane.IdentityOf(op.Object)] = r.IntN(10) < part
			urgent[dataplane.IdentityOf(op.Object)] = r.IntN(20) == 0
		}
		waits := func(op dataplane.Op) bool { return waiting[dataplane.IdentityOf(op.Object)] }
		isUrgent := func(op dataplane.Op) bool { return urgent[dataplane.IdentityOf(op.Object)] }
		now, held := dataplane.HoldBack(ops, have, want, waits, isUrgent)
		if len(now)+len(held) != len(ops) {
			t.Fatalf("of %d operations %d are done and %d held", len(ops), len(now), len(held))
		}
		for _, op := range held {
			if isUrgent(op) {
				t.Errorf("%s is urgent, and held", op)
			}
		}
		mirror := have.Clone()
		for _, phase := range dataplane.Phases(now) {
			gate := dataplane.NewGate(mirror, want, now)
			for _, op := range phase {
				if why := gate.Blocked(op); why != "" {
					t.Fatalf("%s is blocked: %s\nheld: %v\ndone: %v", op, why, held, now)
				}
			}
			mirror.ApplyAll(phase)
		}
		carryOut(t, m, now)
		have = m.State().Clone()
		rest := dataplane.Diff(have, want, dataplane.All(nil, have, want))
		if len(held) == 0 != (len(rest) == 0) {
			t.Fatalf("held are %v, and then there is left to do: %v", held, rest)
		}
		carryOut(t, m, rest)
		same(t, "after what was held", m.State(), want)
	}
}

// TestHoldBackHoldsNoMore: what does not need what waits is done.
func TestHoldBackHoldsNoMore(t *testing.T) {
	id := func(last byte, port uint16) dataplane.VirtualServerID {
		return dataplane.VirtualServerID{Addr: netip.AddrFrom4([4]byte{10, 96, 0, last}), Port: port, Protocol: cluster.TCP}
	}
	create := func(o dataplane.Object) dataplane.Op { return dataplane.Op{Verb: dataplane.Create, Object: o} }
	real := func(of dataplane.VirtualServerID) dataplane.Op {
		return create(dataplane.RealServerObject{
			VirtualServer: of, RealServer: dataplane.RealServer{Addr: netip.MustParseAddr("10.244.0.1"), Port: 8080},
		})
	}
	ops := []dataplane.Op{
		create(dataplane.VirtualServerObject{ID: id(1, 80)}), real(id(1, 80)),
		create(dataplane.VirtualServerObject{ID: id(1, 81)}), real(id(1, 81)),
		create(dataplane.VirtualServerObject{ID: id(2, 80)}), real(id(2, 80)),
		create(dataplane.Address{Addr: id(1, 0).Addr}), create(dataplane.Address{Addr: id(2, 0).Addr}),
	}
	held := func(urgent int, waiting ...int) (places []int) {
		_, held := dataplane.HoldBack(ops, dataplane.NewState(), dataplane.NewState(), func(op dataplane.Op) bool {
			return slices.ContainsFunc(waiting, func(i int) bool { return cmp.Equal(ops[i].String(), op.String()) })
		}, func(op dataplane.Op) bool { return urgent >= 0 && ops[urgent].String() == op.String() })
		for i, op := range ops {
			if slices.ContainsFunc(held, func(h dataplane.Op) bool { return h.String() == op.String() }) {
				places = append(places, i)
			}
		}
		return places
	}
	for _, c := range []struct {
		name          string
		urgent        int
		waiting, want []int
	}{
		{"nothing waits", -1, nil, nil},
		{"a real server waits alone", -1, []int{1}, []int{1}},
		{"an address has another virtual server", -1, []int{0}, []int{0, 1}},
		{"an address has no virtual server", -1, []int{4}, []int{4, 5, 7}},
		{"a real server is urgent", 5, []int{4}, nil},
		{"what is urgent needs another one", 1, []int{4}, []int{4, 5, 7}},
	} {
		if diff := cmp.Diff(c.want, held(c.urgent, c.waiting...)); diff != "" {
			t.Errorf("%s: held (-want +got):\n%s", c.name, diff)
		}
	}
}
