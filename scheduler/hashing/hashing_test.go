package hashing_test

import (
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler/hashing"
)

func servers(weights ...uint32) []hashing.RealServer {
	var list []hashing.RealServer
	for i, w := range weights {
		list = append(list, hashing.RealServer{
			Addr: netip.AddrFrom4([4]byte{10, 244, byte(i >> 8), byte(i)}), Port: 8080, Weight: w, LastWeight: w,
		})
	}
	return list
}

// clients returns n clients, each with an address of its own.
func clients(n int) []netip.AddrPort {
	var all []netip.AddrPort
	for i := range n {
		all = append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, byte(16 + i>>16), byte(i >> 8), byte(i)}),
			uint16(1024+i%60000)))
	}
	return all
}

func shares(t *testing.T, table hashing.Table, n int) []int {
	t.Helper()
	counts := make([]int, 16)
	for _, c := range clients(n) {
		i, ok := table.Choose(c)
		if !ok {
			t.Fatalf("%s is refused", c)
		}
		counts[i]++
	}
	return counts
}

func table(t *testing.T, name string, flags scheduler.Flags, list []hashing.RealServer) hashing.Table {
	t.Helper()
	made, ok := hashing.New(name, flags, list)
	if !ok {
		t.Fatalf("%s has no table", name)
	}
	return made
}

// TestSharesFollowWeights: within what the sizes of the tables allow.
func TestSharesFollowWeights(t *testing.T) {
	const n = 100_000
	for name, weights := range map[string][]uint32{"mh": {1, 2, 3, 0, 10}, "sh": {16, 32, 48, 0, 160}} {
		got := shares(t, table(t, name, scheduler.Fallback, servers(weights...)), n)
		sum := uint32(0)
		for _, w := range weights {
			sum += w
		}
		for i, w := range weights {
			if want := float64(n) * float64(w) / float64(sum); math.Abs(float64(got[i])-want) > 0.02*n {
				t.Errorf("%s: real server %d of weight %d has %d of %d, want about %.0f", name, i, w, got[i], n, want)
			}
		}
	}
}

// TestMaglevMovesFew: where one of ten goes, hardly anybody moves but its own clients.
func TestMaglevMovesFew(t *testing.T) {
	list := servers(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	before, after := table(t, "mh", 0, list), table(t, "mh", 0, slices.Delete(slices.Clone(list), 4, 5))
	moved, own := 0, 0
	for _, c := range clients(10_000) {
		i, _ := before.Choose(c)
		j, _ := after.Choose(c)
		if i == 4 {
			own++
		} else if j >= 4 && j+1 != i || j < 4 && j != i {
			moved++
		}
	}
	if own < 900 || own > 1100 || moved > 300 {
		t.Errorf("%d clients of the one that went, and %d others moved", own, moved)
	}
}

// TestIdle: a real server that had a weight keeps its slots in mh, and its clients fall back or are refused; one that
// never had has none.
func TestIdle(t *testing.T) {
	for _, name := range []string{"mh", "sh"} {
		list := servers(64, 64, 64, 64)
		list[2].Weight = 0
		refused := 0
		for _, c := range clients(1000) {
			if _, ok := table(t, name, 0, list).Choose(c); !ok {
				refused++
			}
			if i, ok := table(t, name, scheduler.Fallback, list).Choose(c); !ok || i == 2 {
				t.Fatalf("%s: %s goes to %d, %t", name, c, i, ok)
			}
		}
		if refused == 0 {
			t.Errorf("%s refuses nobody without fallback", name)
		}
	}
	renewed := servers(64, 64, 64, 64)
	renewed[2].Weight, renewed[2].LastWeight = 0, 0
	without := slices.Delete(servers(64, 64, 64, 64), 2, 3)
	if a, b := table(t, "mh", 0, renewed).Digest(), table(t, "mh", 0, without).Digest(); a != b {
		t.Errorf("a renewed real server of weight 0 changes the table: %s, without it %s", a, b)
	}
}

func TestDigest(t *testing.T) {
	list := servers(1, 1, 1)
	turned := []hashing.RealServer{list[2], list[1], list[0]}
	seen := map[string]string{}
	for what, made := range map[string]hashing.Table{
		"mh":           table(t, "mh", 0, list),
		"mh with port": table(t, "mh", scheduler.Port, list), "mh in another order": table(t, "mh", 0, turned),
		"mh of two": table(t, "mh", 0, list[:2]), "mh of none": table(t, "mh", 0, nil), "sh": table(t, "sh", 0, list),
		"sh in another order": table(t, "sh", 0, turned),
	} {
		if other, twice := seen[made.Digest()]; twice {
			t.Errorf("%s and %s have the same digest", what, other)
		}
		seen[made.Digest()] = what
	}
	if a, b := table(t, "mh", 0, list).Digest(), table(t, "mh", 0, servers(7, 7, 7)).Digest(); a != b {
		t.Error("the same clients go to the same real servers, and the digest differs")
	}
}

func TestNobodyThere(t *testing.T) {
	for _, name := range []string{"mh", "sh"} {
		for _, list := range [][]hashing.RealServer{nil, servers(0), servers(0, 0)} {
			if i, ok := table(t, name, scheduler.Fallback, list).Choose(clients(1)[0]); ok {
				t.Errorf("%s of %v chooses %d", name, list, i)
			}
		}
	}
	if _, ok := hashing.New("rr", 0, servers(1)); ok {
		t.Error("rr has a table")
	}
}

func BenchmarkDigest(b *testing.B) {
	list := servers(slices.Repeat([]uint32{1}, 100)...)
	for b.Loop() {
		made, _ := hashing.New("mh", 0, list)
		made.Digest()
	}
}
