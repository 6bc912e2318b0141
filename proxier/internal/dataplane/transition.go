package dataplane

import (
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// tableWeight is what a table weighs that the kernel builds anew: as many other objects take as long.
const tableWeight = 64

// transition is the way of one Service from what it has wanted to what it wants, front end by front end. What is not done yet is wanted as before:
// at any moment the State is one that Services could have asked for, and a front end changes as a whole, with the entries that guard it.
type transition struct {
	now *Fragment
	// gone tells that there is no such Service any more.
	gone bool
	// mixed tells that what is in force was made at different times, which decides about conflicts.
	mixed bool
	// units are the front ends that change, those that go behind the others; done is how many have.
	units []unit
	done  int
	// comes and goes are the entries of no front end that do. Those that come do so ahead of the front ends, the others go behind them.
	comes, goes EntryList
	stays       EntryList
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

func (f *FrontEnd) weight() int {
	n := 1 + len(f.VirtualServer.RealServers) + len(f.Entries)
	if f.VirtualServer.costly() {
		n += tableWeight
	}
	return n
}

// costly tells whether the kernel builds a large table for each change of the virtual server.
func (v VirtualServer) costly() bool {
	s, _ := scheduler.OfKernel(v.Scheduler)
	return s.CostlyTable
}

func (u unit) weight() (n int) {
	for _, list := range [][]*FrontEnd{u.old, u.now} {
		for _, f := range list {
			n = max(n, f.weight())
		}
	}
	return n
}

// same tells whether both want the same of the kernel. The place of the Service's port is told by status alone.
func (f *FrontEnd) same(other *FrontEnd) bool {
	return f.ID == other.ID && f.Kind == other.Kind && f.Bind == other.Bind && f.Route == other.Route && f.NoLocal == other.NoLocal &&
		f.DrainTimeout == other.DrainTimeout && f.SlowStart == other.SlowStart && slices.Equal(f.Identities, other.Identities) &&
		slices.Equal(f.Entries, other.Entries) && f.VirtualServer.Equal(other.VirtualServer)
}

// Begin has the owner of the Fragment go over to it by steps. What it wanted before, or had come to on its way there, is wanted until its step comes.
func (w *Want) Begin(f Fragment) {
	now := &f
	ids, olds, entries, mixed, counts := w.inForce(f.Owner)
	if before := w.fragments[f.Owner]; before == nil || !before.Created.Equal(f.Created) {
		mixed = true
	}
	t := &transition{now: now, mixed: mixed, counts: counts}
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
		u := unit{id, olds[id], news[id]}
		if !mixed && slices.EqualFunc(u.old, u.now, (*FrontEnd).same) {
			w.stay(u, now)
			continue
		}
		t.units = append(t.units, u)
	}
	for _, id := range ids {
		if _, stays := news[id]; !stays {
			t.units = append(t.units, unit{id: id, old: olds[id]})
		}
	}
	t.stays, t.comes, t.goes = divide(entries, now.Entries)
	w.fragments[f.Owner] = now
	w.transitions[f.Owner] = t
}

// BeginRemoval is Begin for a Service that is gone.
func (w *Want) BeginRemoval(owner cluster.Name) {
	w.Begin(Fragment{Owner: owner})
	w.transitions[owner].gone = true
}

// inForce returns what of a Service is wanted now: its front ends in order, its entries that belong to none, and how many entries it has of each set.
func (w *Want) inForce(owner cluster.Name) (ids []VirtualServerID, fronts map[VirtualServerID][]*FrontEnd, entries EntryList, mixed bool, counts []int) {
	fronts, counts = map[VirtualServerID][]*FrontEnd{}, make([]int, len(knownSets))
	add := func(front *FrontEnd) {
		if fronts[front.ID] == nil {
			ids = append(ids, front.ID)
		}
		fronts[front.ID] = append(fronts[front.ID], front)
	}
	f, t := w.fragments[owner], w.transitions[owner]
	if f == nil {
		return ids, fronts, nil, false, counts
	}
	waits := map[VirtualServerID]struct{}{}
	if t != nil {
		for _, u := range t.units[t.done:] {
			waits[u.id] = struct{}{}
			for _, front := range u.old {
				add(front)
			}
		}
		mixed, counts, entries = t.mixed, t.counts, append(slices.Clone(t.stays), t.goes...)
	} else {
		f.countEntries(counts)
		entries = f.Entries
	}
	for i := range f.FrontEnds {
		if _, not := waits[f.FrontEnds[i].ID]; !not {
			add(&f.FrontEnds[i])
		}
	}
	return ids, fronts, entries, mixed, counts
}

// stay makes the claims of a front end that does not change those of the new Fragment, which shares the lists of the old one.
func (w *Want) stay(u unit, now *Fragment) {
	for i, front := range u.now {
		old := u.old[i]
		front.VirtualServer.RealServers, front.Entries, front.Identities = old.VirtualServer.RealServers, old.Entries, old.Identities
		for at, c := range w.claims[u.id] {
			if c.front == old {
				w.claims[u.id][at] = claim{now, front}
			}
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

// Changing tells whether a Service is on its way to what it wants.
func (w *Want) Changing(owner cluster.Name) bool {
	_, is := w.transitions[owner]
	return is
}

// Step goes on with what Begin has begun, by as many objects of the kernel as there is room for, or one front end where that has more. Otherwise it is as
// Set. over tells that the Service wants now what it was to want.
func (w *Want) Step(owner cluster.Name, room int, affected map[cluster.Name]struct{}) (touched Touched, over bool) {
	t := w.transitions[owner]
	w.touched.Clear()
	touched = w.touched
	if n := min(room, len(t.comes)); n > 0 {
		w.recountSome(t, touched, t.comes[:n], 1)
		t.stays, t.comes, room = append(slices.Clip(t.stays), t.comes[:n]...), t.comes[n:], room-n
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
	servers := NewTouched() // what settle looks at
	for _, u := range units {
		servers.VirtualServers[u.id] = owner
		touched.VirtualServers[u.id] = owner
		for _, list := range [][]*FrontEnd{u.old, u.now} {
			for _, front := range list {
				touched.frontEnd(front, owner)
			}
		}
		for _, c := range w.claims[u.id] {
			touched.frontEnd(c.front, owner)
		}
	}
	before := w.winners(servers)
	for _, u := range units {
		left := slices.DeleteFunc(slices.Clone(w.claims[u.id]), func(c claim) bool { return c.owner() == owner })
		if len(left) == 0 {
			delete(w.claims, u.id)
		} else {
			w.claims[u.id] = left
		}
		for _, front := range u.old {
			front.countEntries(t.counts, -1)
		}
		for _, front := range u.now {
			w.insertClaim(claim{t.now, front})
			front.countEntries(t.counts, 1)
		}
	}
	w.settle(servers, before, affected)
}
