package dataplane

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// contender returns the i-th Service of those that want ports of one load balancer address, the older the smaller i.
func contender(i, ports int) Fragment {
	s := wide(ports, 1, 2)
	s.Name.Name, s.ClusterIPs[0], s.Created = fmt.Sprint("contender-", i), v4(13, i), time.Unix(int64(i), 0)
	return Compile(s, Node{Name: "n1"}, Config{Families: []cluster.Family{cluster.IPv4}})
}

// contended returns what n Services want that share an address.
func contended(n, ports int) *Want {
	w := NewWant(NewState())
	for i := range n {
		w.Set(contender(i+1, ports), map[cluster.Name]struct{}{})
	}
	w.TakeLosers(math.MaxInt, map[cluster.Name]struct{}{})
	return w
}

func (t Touched) size() int { return len(t.VirtualServers) + len(t.Entries) + len(t.Addresses) }

// TestChangesDoNotWalkClaims: what a change touches and allocates does not depend on how many Services want the same
// front ends, whether one of the losers changes, the winner goes and comes, or it does so by steps.
func TestChangesDoNotWalkClaims(t *testing.T) {
	const ports = 20
	nobody := func() map[cluster.Name]struct{} { return map[cluster.Name]struct{}{} }
	for name, change := range map[string]func(w *Want, n int, affected map[cluster.Name]struct{}) int{
		"a loser changes": func(w *Want, n int, affected map[cluster.Name]struct{}) int {
			return w.Set(contender(n/2, ports), affected).size()
		},
		"the winner goes and comes": func(w *Want, _ int, affected map[cluster.Name]struct{}) int {
			f := contender(1, ports)
			return w.Remove(f.Owner, affected).size() + w.Set(f, affected).size()
		},
		"the winner goes and comes by steps": func(w *Want, _ int, affected map[cluster.Name]struct{}) (touched int) {
			f := contender(1, ports)
			w.BeginRemoval(f.Owner)
			for _, begin := range []func(){func() {}, func() { w.Begin(f) }} {
				begin()
				for over := false; !over; {
					var step Touched
					step, over = w.Step(f.Owner, 10, affected)
					touched += step.size()
				}
			}
			return touched
		},
	} {
		cost := func(n int) (touched, affected int, allocations float64) {
			w := contended(n, ports)
			all := nobody()
			touched = change(w, n, all)
			allocations = testing.AllocsPerRun(5, func() { change(w, n, nobody()) })
			return touched, len(all), allocations
		}
		touched, affected, allocations := cost(100)
		touched2, affected2, allocations2 := cost(200)
		if touched2 != touched || affected2 != affected || allocations2 > 1.1*allocations+20 {
			t.Errorf("%s: with twice the claims %d keys become %d, %d Services %d, %.0f allocations %.0f",
				name, touched, touched2, affected, affected2, allocations, allocations2)
		}
	}
}

// TestLosersAreTakenOnce: those of all front ends that have gone to another one, a piece at a time and each once.
func TestLosersAreTakenOnce(t *testing.T) {
	const n, ports = 50, 20
	w := contended(n, ports)
	w.Remove(contender(1, ports).Owner, map[cluster.Name]struct{}{})
	losers, looks := map[cluster.Name]struct{}{}, 1
	for ; w.TakeLosers(2*n, losers) > 0; looks++ {
	}
	if len(losers) != n-2 || looks < ports/3 || looks > ports {
		t.Errorf("%d losers in %d looks, want %d in some of %d", len(losers), looks, n-2, ports)
	}
	clear(losers)
	if left := w.TakeLosers(math.MaxInt, losers); left != 0 || len(losers) != 0 {
		t.Errorf("%d Services are returned again, %d front ends are left", len(losers), left)
	}
}

// TestClaimHeap: whatever comes and goes, the one that would win is at the root, and each is found; and with twice the
// claims it takes a few comparisons more.
func TestClaimHeap(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	made := func(i int) claim {
		return claim{
			&Fragment{Owner: cluster.Name{Name: fmt.Sprint(i)}, Created: time.Unix(random.Int64N(9), 0)},
			&FrontEnd{Kind: FrontEndKind(1 + random.IntN(4))},
		}
	}
	most := func(n int) (most int) {
		compared := 0
		h := claimHeap{at: map[cluster.Name]int{}, before: func(a, b claim) bool { compared++; return a.before(b) }}
		var there []claim
		for step := range 3 * n {
			compared = 0
			if i := random.IntN(n); step < n || i > len(there) {
				c := made(step)
				h.add(c)
				there = append(there, c)
			} else if i < len(there) {
				h.remove(there[i].owner())
				there = slices.Delete(there, i, i+1)
			}
			most = max(most, compared)
			if len(h.list) != len(there) || len(h.at) != len(there) {
				t.Fatalf("seed %d: %d claims at %d places, want %d", seed, len(h.list), len(h.at), len(there))
			}
			for _, c := range there {
				if has, found := h.of(c.owner()); !found || has != c || c.before(h.list[0]) {
					t.Fatalf("seed %d: %v is found: %t; at the root is %v", seed, c.owner(), found, h.list[0].owner())
				}
			}
		}
		return most
	}
	if once, twice := most(200), most(400); twice > once+6 {
		t.Errorf("seed %d: with twice the claims %d comparisons become %d", seed, once, twice)
	}
}
