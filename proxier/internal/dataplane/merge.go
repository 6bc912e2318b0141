package dataplane

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Want is the State that all Fragments together want. It grows and shrinks by one Fragment at a time, at a cost that
// depends on that Fragment alone.
//
// Where two Services want the same front end, that of the API wins: cluster IPs and node ports are given out by it,
// each once, while whoever may write a Service's status or spec chooses an external address. Among equals the one
// created first wins, then the one whose name sorts first. The loser has nothing of that front end in the State, and
// takes it over as soon as the winner lets go of it.
type Want struct {
	// State is read only: it is what the winners want, over the foundation.
	State *State

	fragments map[cluster.Name]*Fragment
	claims    map[VirtualServerID]contenders
	// won are front ends that have losers, which TakeLosers has not returned since the winner became another one.
	won map[VirtualServerID]struct{}
	// transitions are the Services that go over to their Fragments by steps.
	transitions map[cluster.Name]*transition
	// sources are those of the routes.
	sources Sources
	// binds and entries count how many more than one want an address or route, or an entry, of the State. The
	// foundation wants each of its entries once, for ever.
	binds   map[netip.Addr]int
	entries map[SetEntry]int
	// sizes are how many entries Services have in each of knownSets.
	sizes []int
	// touched is what Set returns, in maps that are used again.
	touched Touched
}

// Touched is a set of keys of a State that may have changed, each with the Service that its operations belong to; the
// zero Name stands for none.
type Touched struct {
	VirtualServers map[VirtualServerID]cluster.Name
	Entries        map[SetEntry]cluster.Name
	// Addresses are VIPs, whether they have an address or a route.
	Addresses map[netip.Addr]cluster.Name
	// Foundation says that links, sysctls, sets, chains and hooks are to be looked at as well.
	Foundation bool
}

// NewTouched returns an empty set of keys.
func NewTouched() Touched {
	return Touched{
		VirtualServers: map[VirtualServerID]cluster.Name{},
		Entries:        map[SetEntry]cluster.Name{},
		Addresses:      map[netip.Addr]cluster.Name{},
	}
}

// Clear empties the set and keeps its memory.
func (t *Touched) Clear() {
	clear(t.VirtualServers)
	clear(t.Entries)
	clear(t.Addresses)
	t.Foundation = false
}

// Empty reports whether there is nothing to look at.
func (t Touched) Empty() bool {
	return len(t.VirtualServers) == 0 && len(t.Entries) == 0 && len(t.Addresses) == 0 && !t.Foundation
}

// Add adds the keys of other. A key of other without a Service keeps the Service that t has for it.
func (t *Touched) Add(other Touched) {
	addKeys(t.VirtualServers, other.VirtualServers)
	addKeys(t.Entries, other.Entries)
	addKeys(t.Addresses, other.Addresses)
	t.Foundation = t.Foundation || other.Foundation
}

// Remove removes the keys of other.
func (t *Touched) Remove(other Touched) {
	removeKeys(t.VirtualServers, other.VirtualServers)
	removeKeys(t.Entries, other.Entries)
	removeKeys(t.Addresses, other.Addresses)
	t.Foundation = t.Foundation && !other.Foundation
}

func removeKeys[K comparable](from, other map[K]cluster.Name) {
	for key := range from {
		if _, is := other[key]; is {
			delete(from, key)
		}
	}
}

func addKeys[K comparable](to, from map[K]cluster.Name) {
	for key, owner := range from {
		if _, known := to[key]; !known || owner != (cluster.Name{}) {
			to[key] = owner
		}
	}
}

// NewWant returns what is wanted before there is any Service. The foundation belongs to the Want from now on.
func NewWant(foundation *State) *Want {
	foundation.serversAt = nil
	return &Want{
		State:       foundation,
		fragments:   map[cluster.Name]*Fragment{},
		claims:      map[VirtualServerID]contenders{},
		won:         map[VirtualServerID]struct{}{},
		transitions: map[cluster.Name]*transition{},
		binds:       map[netip.Addr]int{},
		entries:     map[SetEntry]int{},
		sizes:       make([]int, len(knownSets)),
		touched:     NewTouched(),
	}
}

// Reserve makes room for n Services more.
func (w *Want) Reserve(n int) {
	w.State.Reserve(n)
	w.fragments = withRoom(w.fragments, n)
	w.claims = withRoom(w.claims, n)
}

// Set puts the Fragment in the place of its owner's previous one and returns the keys whose wanted value may differ
// now. Services that win a front end by it, or had it until now, are added to affected; others that want it as well are
// returned by TakeLosers. The keys are valid until the next call.
func (w *Want) Set(f Fragment, affected map[cluster.Name]struct{}) Touched {
	if w.Changing(f.Owner) {
		w.Begin(f)
		touched, _ := w.Step(f.Owner, math.MaxInt, affected)
		return touched
	}
	old := w.fragments[f.Owner]
	if old == nil {
		old = &Fragment{Owner: f.Owner}
	}
	w.touched.Clear()
	now, touched := &f, w.touched
	w.touch(&touched, old)
	w.touch(&touched, now)
	before := w.winners(touched)

	for i := range old.FrontEnds {
		w.removeClaim(old.FrontEnds[i].ID, f.Owner)
	}
	w.fragments[f.Owner] = now
	for i := range now.FrontEnds {
		w.insertClaim(claim{now, &now.FrontEnds[i]})
	}
	w.applyWinners(touched, before, &touched, affected)
	w.recount(old.Entries, f.Entries)
	return touched
}

// Remove takes out the Fragment of a Service that is gone; otherwise like Set.
func (w *Want) Remove(owner cluster.Name, affected map[cluster.Name]struct{}) Touched {
	touched := w.Set(Fragment{Owner: owner}, affected)
	delete(w.fragments, owner)
	return touched
}

// Fragment returns what the Service wants, or is on its way to want.
func (w *Want) Fragment(owner cluster.Name) (Fragment, bool) {
	if f := w.fragments[owner]; f != nil {
		return *f, true
	}
	return Fragment{}, false
}

// FrontEnd returns what the Service that has the front end wants there.
func (w *Want) FrontEnd(id VirtualServerID) (FrontEnd, bool) {
	if cs, wanted := w.claims[id]; wanted {
		return *cs.winner.front, true
	}
	return FrontEnd{}, false
}

// Owner returns the Service that has the front end, or the zero Name.
func (w *Want) Owner(id VirtualServerID) cluster.Name {
	return w.claims[id].winner.owner()
}

// NameOwners names for each entry and each VIP of t, which has names for none, the first Service by name that wants it.
func (w *Want) NameOwners(t Touched) {
	for owner, f := range w.fragments {
		for i := range f.FrontEnds {
			front := &f.FrontEnds[i]
			if w.Owner(front.ID) != owner {
				continue
			}
			if front.Bind {
				nameOwner(t.Addresses, front.ID.Addr, owner)
			}
			nameOwners(t, front.Entries, owner)
		}
		nameOwners(t, f.Entries, owner)
	}
}

func nameOwners(t Touched, entries EntryList, owner cluster.Name) {
	if len(t.Entries) == 0 {
		return
	}
	for e := range entries.All() {
		nameOwner(t.Entries, e, owner)
	}
}

func nameOwner[K comparable](keys map[K]cluster.Name, key K, owner cluster.Name) {
	if before, is := keys[key]; is && (before == (cluster.Name{}) || owner.Compare(before) < 0) {
		keys[key] = owner
	}
}

// touch adds the keys of what the Fragment wants, but not those of its front ends' entries and addresses: these are
// wanted where it wins.
func (w *Want) touch(t *Touched, f *Fragment) {
	for i := range f.FrontEnds {
		t.VirtualServers[f.FrontEnds[i].ID] = f.Owner
	}
	for e := range f.Entries.All() {
		t.Entries[e] = f.Owner
	}
}

func (t *Touched) frontEnd(front *FrontEnd, owner cluster.Name) {
	for e := range front.Entries.All() {
		t.Entries[e] = owner
	}
	if front.Bind {
		t.Addresses[front.ID.Addr] = owner
	}
}

// winners returns the winning claims of the touched front ends.
func (w *Want) winners(t Touched) map[VirtualServerID]claim {
	won := make(map[VirtualServerID]claim, len(t.VirtualServers))
	for id := range t.VirtualServers {
		if cs, wanted := w.claims[id]; wanted {
			won[id] = cs.winner
		}
	}
	return won
}

func (w *Want) removeClaim(id VirtualServerID, owner cluster.Name) {
	cs, wanted := w.claims[id]
	if !wanted {
		return
	}
	if left, wanted := cs.remove(owner); wanted {
		w.claims[id] = left
	} else {
		delete(w.claims, id)
	}
}

func (w *Want) insertClaim(c claim) { w.claims[c.front.ID] = w.claims[c.front.ID].add(c) }

// applyWinners brings State in line with the winners of front ends, and touches what belongs to them and to those
// before. A front end whose winner is as it was is not touched.
func (w *Want) applyWinners(
	servers Touched, before map[VirtualServerID]claim, touched *Touched, affected map[cluster.Name]struct{},
) {
	for id, owner := range servers.VirtualServers {
		old, had := before[id]
		cs, has := w.claims[id]
		now := cs.winner
		if old == now {
			delete(touched.VirtualServers, id)
			continue
		}
		touched.VirtualServers[id] = owner
		if had {
			touched.frontEnd(old.front, owner)
			w.release(old.front)
		}
		if has {
			touched.frontEnd(now.front, owner)
			w.hold(now.front)
			w.State.SetVirtualServer(id, now.front.VirtualServer)
		} else {
			w.State.DropVirtualServer(id)
		}
		if old.owner() == now.owner() {
			continue
		}
		if cs.losers != nil {
			w.won[id] = struct{}{}
		}
		if has {
			affected[now.owner()] = struct{}{}
		}
		if had {
			affected[old.owner()] = struct{}{}
		}
	}
}

func (w *Want) hold(front *FrontEnd) {
	for e := range front.Entries.All() {
		w.count(e, 1)
	}
	if front.Bind {
		w.bind(front, 1)
	}
}

func (w *Want) release(front *FrontEnd) {
	for e := range front.Entries.All() {
		w.count(e, -1)
	}
	if front.Bind {
		w.bind(front, -1)
	}
}

func (w *Want) recount(old, now EntryList) {
	for e := range now.All() {
		w.count(e, 1)
	}
	for e := range old.All() {
		w.count(e, -1)
	}
}

func (w *Want) count(e SetEntry, by int) {
	there := w.State.Entries.Has(e)
	switch wanted := recount(w.entries, e, there, by); {
	case wanted && !there:
		w.State.Entries.Put(e)
		w.sizes[knownSetAt[e.Set]]++
	case there && !wanted:
		w.State.Entries.Drop(e)
		w.sizes[knownSetAt[e.Set]]--
	}
}

// bind counts how many want the VIP local. All want it by the same mode, which is the node's.
func (w *Want) bind(front *FrontEnd, by int) {
	addr := front.ID.Addr
	_, address := w.State.Addresses[addr]
	_, route := w.State.Routes[addr]
	wanted := recount(w.binds, addr, address || route, by)
	if front.Route {
		put(w.State.Routes, addr, w.sources.For(addr), !wanted)
	} else {
		put(w.State.Addresses, addr, struct{}{}, !wanted)
	}
}

// Prefer gives all routes these sources, and returns the VIPs whose route is another one now. It costs nothing while
// they stay.
func (w *Want) Prefer(s Sources) Touched {
	touched := NewTouched()
	if s == w.sources {
		return touched
	}
	w.sources = s
	for addr, source := range w.State.Routes {
		if now := s.For(addr); now != source {
			w.State.Routes[addr] = now
			touched.Addresses[addr] = cluster.Name{}
		}
	}
	return touched
}

// Sources returns the last argument of Prefer.
func (w *Want) Sources() Sources { return w.sources }

// recount adds by to the number of those that want a key, and reports whether any are left. there stands for the first
// of them, more counts the others.
func recount[K comparable](more map[K]int, key K, there bool, by int) bool {
	n := more[key] + by
	if there {
		n++
	}
	if n < 0 {
		// What is wanted is corrupt, and with it what other Services have: no error of one of them says so. A new start
		// makes it anew, and the kernel serves on meanwhile.
		panic(fmt.Sprintf("BUG: %v is wanted %d times", key, n))
	}
	if n > 1 {
		more[key] = n - 1
	} else {
		delete(more, key)
	}
	return n > 0
}
