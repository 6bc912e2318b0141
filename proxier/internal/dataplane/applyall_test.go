package dataplane

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestApplyAll: many operations at once make what they make one by one, in the same order of the lists.
func TestApplyAll(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		one, all := NewState(), NewState()
		var ops []Op
		for vs := range 3 {
			id := VirtualServerID{Addr: v4(11, vs), Port: 80, Protocol: cluster.TCP}
			if vs < 2 {
				one.SetVirtualServer(id, VirtualServer{Scheduler: "rr"})
				all.SetVirtualServer(id, VirtualServer{Scheduler: "rr"})
			}
			for range random.IntN(60) {
				verb := []Verb{Create, Create, Renew, Update, Delete}[random.IntN(5)]
				ops = append(ops, Op{Verb: verb, Object: RealServerObject{
					id, RealServer{Addr: v4(10, random.IntN(20)), Port: 80, Weight: random.Uint32N(9)},
				}})
				if random.IntN(30) == 0 {
					ops = append(ops, Op{Verb: Create, Object: Address{Addr: v4(11, vs)}})
				}
			}
		}
		for _, op := range ops {
			one.Apply(op)
		}
		all.ApplyAll(ops)
		if diff := cmp.Diff(
			fmt.Sprint(one.VirtualServers, one.Addresses), fmt.Sprint(all.VirtualServers, all.Addresses),
		); diff != "" {
			t.Fatalf("seed %d, %v (-one by one +at once):\n%s", seed, ops, diff)
		}
	}
}

// TestApplyAllToSets: sets that come, go and are made anew among other operations leave the entries that they leave one
// by one.
func TestApplyAllToSets(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	names := []string{SetVIP, SetName(SetVIP, cluster.IPv6), SetFrontEnd, Prefix + "OTHERS"}
	for range 300 {
		one, all := NewState(), NewState()
		var ops []Op
		for range random.IntN(40) {
			e := SetEntry{
				Set: names[random.IntN(len(names))], Type: ipset.HashIP, Entry: ipset.Entry{Addr: v4(10, random.IntN(5))},
			}
			op := Op{Verb: Create, Object: e}
			if random.IntN(3) == 0 {
				op = Op{Verb: []Verb{Create, Update, Renew, Delete}[random.IntN(4)], Object: Set{
					ipset.Set{Name: e.Set, Type: ipset.HashIP},
				}}
			}
			ops = append(ops, op)
		}
		for _, op := range ops {
			one.Apply(op)
		}
		all.ApplyAll(ops)
		if diff := cmp.Diff(
			fmt.Sprint(one.Sets, one.Entries.Sorted()), fmt.Sprint(all.Sets, all.Entries.Sorted()),
		); diff != "" {
			t.Fatalf("seed %d, %v (-one by one +at once):\n%s", seed, ops, diff)
		}
	}
}

// TestApplyAllIsLinear: twice as many real servers take little more than twice the memory on the way.
func TestApplyAllIsLinear(t *testing.T) {
	id := VirtualServerID{Addr: v4(11, 1), Port: 80, Protocol: cluster.TCP}
	bytes := func(n int) int64 {
		var ops []Op
		for i := range n {
			ops = append(ops, Op{Verb: Create, Object: RealServerObject{id, RealServer{Addr: v4(10, i), Port: 80, Weight: 1}}})
		}
		s := NewState()
		s.SetVirtualServer(id, VirtualServer{})
		result := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				s.SetVirtualServer(id, VirtualServer{})
				s.ApplyAll(ops)
			}
		})
		return result.AllocedBytesPerOp()
	}
	if once, twice := bytes(2000), bytes(4000); twice > 3*once {
		t.Errorf("%d bytes become %d", once, twice)
	}
}
