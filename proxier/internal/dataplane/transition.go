package dataplane

import (
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// tableWeight is what a table weighs that the kernel builds anew: as many other objects take as long.
const tableWeight = 64

// exchangeWeight is what an exchange of schedulers weighs: the kernel waits for an RCU grace period meanwhile, some 10
// ms where there are several processors.
const exchangeWeight = 256

// transition is the change of one Service from what it has wanted to what it wants, front end by front end. What has
// not changed yet is wanted as before: at any moment the State is one that Services could want, and a front end changes
// as a whole, with the entries that guard it.
type transition struct {
	now *Fragment
	// gone says that there is no such Service any more.
	gone bool
	// mixed says that what is in force was made at different times, which decides about conflicts.
	mixed bool
	// units are the front ends that change, those that go behind the others; done is how many have.
	units []unit
	done  int
	// comes and goes are the entries of no front end that do. Those that come do so ahead of the front ends, the others
	// go behind them.
	comes, goes EntryList
	// stays are those that are wanted already; the list is the transition's own where others come.
	stays EntryList
	// counts are how many entries the Service has in each of knownSets.
	counts []int
}

// unit is a front end: what the Service wants there, and what it wanted. A Service may want one for several reasons.
type unit struct {
	id       VirtualServerID
	old, now []*FrontEnd
}

// Weight is the number of objects of the kernel that a Fragment wants, those that take long counted as more.
func (f *Fragment) Weight() int {
	n := len(f.Entries)
	for i := range f.FrontEnds {
		n += f.FrontEnds[i].weight()
	}
	return n
}

func (f *FrontEnd) weight() int { return f.VirtualServer.Weight() + len(f.Entries) }

// Costly reports whether the kernel builds a large table for each change of the virtual server.
func (v VirtualServer) Costly() bool {
	s, _ := scheduler.OfKernel(v.Scheduler)
	return s.CostlyTable
}

func (u unit) weight() (n int) {
	if len(u.old) > 0 && len(u.now) > 0 && u.old[0].VirtualServer.Scheduler != u.now[0].VirtualServer.Scheduler {
		n = exchangeWeight
	}
	most := 0
	for _, list := range [][]*FrontEnd{u.old, u.now} {
		for _, f := range list {
			most = max(most, f.weight())
		}
	}
	return n + most
}

// same reports whether both want the same of the kernel. The place of the Service's port is shown by status alone.
func (f *FrontEnd) same(other *FrontEnd) bool {
	return f.ID == other.ID && f.Kind == other.Kind && f.NoLocal == other.NoLocal &&
		f.Bind == other.Bind && f.Route == other.Route &&
		f.DrainTimeout == other.DrainTimeout && f.SlowStart == other.SlowStart &&
		slices.Equal(f.Identities, other.Identities) && slices.Equal(f.Entries, other.Entries) &&
		f.VirtualServer.Equal(other.VirtualServer)
}

// Begin starts the transition of the Fragment's owner to it, by steps. What the owner wants so far stays wanted until
// its step comes.
func (w *Want) Begin(f Fragment) {
	now := &f
	is := w.inForce(f.Owner)
	mixed := is.mixed
	if before := w.fragments[f.Owner]; before == nil || !before.Created.Equal(f.Created) {
		mixed = true
	}
	t := &transition{now: now, mixed: mixed, counts: is.counts}
	news := make(map[VirtualServerID][]*FrontEnd, len(now.FrontEnds))
	for i := range now.FrontEnds {
		front := &now.FrontEnds[i]
		news[front.ID] = append(news[front.ID], front)
	}
	for i := range now.FrontEnds {
		id := now.FrontEnds[i].ID
		if news[id][0] != &now.FrontEnds[i] {
			continue // with the first one
		}
		u := unit{id, is.fronts[id], news[id]}
		if !mixed && slices.EqualFunc(u.old, u.now, (*FrontEnd).same) {
			w.stay(u, now)
			continue
		}
		t.units = append(t.units, u)
	}
	for _, id := range is.ids {
		if _, stays := news[id]; !stays {
			t.units = append(t.units, unit{id: id, old: is.fronts[id]})
		}
	}
	t.stays, t.comes, t.goes = divide(is.entries, now.Entries)
	w.fragments[f.Owner] = now
	w.transitions[f.Owner] = t
}

// BeginRemoval is Begin for a Service that is gone.
func (w *Want) BeginRemoval(owner cluster.Name) {
	w.Begin(Fragment{Owner: owner})
	w.transitions[owner].gone = true
}

// inForce is what of a Service is wanted now.
type inForce struct {
	// ids are the front ends in their order, fronts what is wanted there.
	ids    []VirtualServerID
	fronts map[VirtualServerID][]*FrontEnd
	// entries belong to no front end; counts are how many there are of each set, with those of the front ends.
	entries EntryList
	counts  []int
	mixed   bool
}

func (is *inForce) add(front *FrontEnd) {
	if is.fronts[front.ID] == nil {
		is.ids = append(is.ids, front.ID)
	}
	is.fronts[front.ID] = append(is.fronts[front.ID], front)
}

func (w *Want) inForce(owner cluster.Name) inForce {
	is := inForce{fronts: map[VirtualServerID][]*FrontEnd{}, counts: w.countsOf(owner)}
	f := w.fragments[owner]
	if f == nil {
		return is
	}
	is.entries = f.Entries
	waits := map[VirtualServerID]struct{}{}
	if t := w.transitions[owner]; t != nil {
		for _, u := range t.units[t.done:] {
			waits[u.id] = struct{}{}
			for _, front := range u.old {
				is.add(front)
			}
		}
		is.mixed, is.entries = t.mixed, append(slices.Clone(t.stays), t.goes...)
	}
	for i := range f.FrontEnds {
		if _, not := waits[f.FrontEnds[i].ID]; !not {
			is.add(&f.FrontEnds[i])
		}
	}
	return is
}

// stay makes the claims of a front end that does not change those of the new Fragment, which shares the lists of the
// old one.
func (w *Want) stay(u unit, now *Fragment) {
	for i, front := range u.now {
		old := u.old[i]
		front.VirtualServer.RealServers = old.VirtualServer.RealServers
		front.Entries, front.Identities = old.Entries, old.Identities
		if cs, wanted := w.claims[u.id]; wanted {
			cs.exchange(old, claim{now, front})
			w.claims[u.id] = cs
		}
	}
}

// divide returns which of old are in now, which of now are not in old, and which of old are not in now.
func divide(old, now EntryList) (stays, comes, goes EntryList) {
	if slices.Equal(old, now) {
		return now, nil, nil
	}
	had := make(map[entryKey]struct{}, len(old))
	for _, key := range old {
		had[key] = struct{}{}
	}
	for _, key := range now {
		if _, has := had[key]; has {
			stays = append(stays, key)
			delete(had, key)
		} else {
			comes = append(comes, key)
		}
	}
	for _, key := range old {
		if _, left := had[key]; left {
			goes = append(goes, key)
		}
	}
	return stays, comes, goes
}

// Changing reports whether a Service is on its way to what it wants.
func (w *Want) Changing(owner cluster.Name) bool {
	_, is := w.transitions[owner]
	return is
}

// Step continues what Begin has begun, by at most room objects of the kernel, or one front end where that has more.
// Otherwise it is as Set. over says that the transition is complete.
func (w *Want) Step(owner cluster.Name, room int, affected map[cluster.Name]struct{}) (touched Touched, over bool) {
	t := w.transitions[owner]
	w.touched.Clear()
	touched = w.touched
	if n := min(room, len(t.comes)); n > 0 {
		w.recountSome(t, touched, t.comes[:n], 1)
		t.stays, t.comes, room = append(t.stays, t.comes[:n]...), t.comes[n:], room-n
	}
	from := t.done
	for room > 0 && t.done < len(t.units) {
		u := t.units[t.done]
		if weight := u.weight(); weight <= room || t.done == from && len(touched.Entries) == 0 {
			room -= weight
		} else {
			room = 0
			break
		}
		t.done++
	}
	if units := t.units[from:t.done]; len(units) > 0 {
		w.exchange(t, units, &touched, affected)
	}
	if n := min(room, len(t.goes)); n > 0 {
		w.recountSome(t, touched, t.goes[:n], -1)
		t.goes = t.goes[n:]
	}
	if len(t.comes) > 0 || t.done < len(t.units) || len(t.goes) > 0 {
		return touched, false
	}
	delete(w.transitions, owner)
	if t.gone {
		delete(w.fragments, owner)
	}
	return touched, true
}

// recountSome counts entries of no front end.
func (w *Want) recountSome(t *transition, touched Touched, entries EntryList, by int) {
	for _, key := range entries {
		e := key.entry()
		w.count(e, by)
		t.counts[key.set] += by
		touched.Entries[e] = t.now.Owner
	}
}

// exchange puts front ends in the place of what they were.
func (w *Want) exchange(t *transition, units []unit, touched *Touched, affected map[cluster.Name]struct{}) {
	owner := t.now.Owner
	servers := NewTouched() // what applyWinners looks at
	for _, u := range units {
		servers.VirtualServers[u.id] = owner
	}
	before := w.winners(servers)
	for _, u := range units {
		w.removeClaim(u.id, owner)
		for _, front := range u.old {
			front.countEntries(t.counts, -1)
		}
		for _, front := range u.now {
			w.insertClaim(claim{t.now, front})
			front.countEntries(t.counts, 1)
		}
	}
	w.applyWinners(servers, before, touched, affected)
}
