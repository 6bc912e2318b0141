package dataplane

import (
	"container/heap"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// claim is a front end that a Fragment wants; front points into it.
type claim struct {
	of    *Fragment
	front *FrontEnd
}

func (c claim) owner() cluster.Name {
	if c.of == nil {
		return cluster.Name{}
	}
	return c.of.Owner
}

// before reports whether the claim wins over the other one.
func (c claim) before(other claim) bool {
	if by := c.front.Kind.rank() - other.front.Kind.rank(); by != 0 {
		return by < 0
	}
	if by := c.of.Created.Compare(other.of.Created); by != 0 {
		return by < 0
	}
	return c.of.Owner.Compare(other.of.Owner) < 0
}

// contenders are the claims to one front end, of each Service one. Nearly always there is a single one, which needs no
// memory of its own. Anybody may write a Service that wants an external address which thousands want, so nothing walks
// over them but [Want.TakeLosers].
type contenders struct {
	winner claim
	losers *claimHeap // nil where there are none
}

// add adds a claim. Within one Service the one counts that would win, of equal ones the first.
func (cs contenders) add(c claim) contenders {
	switch {
	case cs.winner.of == nil:
		cs.winner = c
		return cs
	case cs.winner.owner() == c.owner():
		if c.before(cs.winner) {
			cs.winner = c
		}
		return cs
	}
	if cs.losers == nil {
		cs.losers = &claimHeap{at: map[cluster.Name]int{}, before: claim.before}
	}
	if own, has := cs.losers.of(c.owner()); has {
		if !c.before(own) {
			return cs
		}
		cs.losers.remove(c.owner())
	}
	if c.before(cs.winner) {
		c, cs.winner = cs.winner, c
	}
	cs.losers.add(c)
	return cs
}

// remove takes out the Service's claim. The next one in order wins; wanted is false where there is none.
func (cs contenders) remove(owner cluster.Name) (left contenders, wanted bool) {
	if cs.winner.owner() != owner {
		if cs.losers != nil {
			cs.losers.remove(owner)
		}
	} else {
		if cs.losers == nil {
			return contenders{}, false
		}
		cs.winner = cs.losers.list[0]
		cs.losers.remove(cs.winner.owner())
	}
	if cs.losers != nil && len(cs.losers.list) == 0 {
		cs.losers = nil
	}
	return cs, true
}

// exchange puts a claim in the place of one of the same Service that would win over the same ones.
func (cs *contenders) exchange(old *FrontEnd, now claim) {
	if cs.winner.front == old {
		cs.winner = now
	} else if cs.losers != nil {
		if i, has := cs.losers.at[now.owner()]; has && cs.losers.list[i].front == old {
			cs.losers.list[i] = now
		}
	}
}

// claimHeap is a heap of claims, the one that would win at its root, which knows the place of each. A change takes a
// number of comparisons that grows with the logarithm of the claims. For container/heap it is a [heap.Interface].
type claimHeap struct {
	list   []claim
	at     map[cluster.Name]int
	before func(a, b claim) bool
}

// of returns the claim of the Service.
func (h *claimHeap) of(owner cluster.Name) (c claim, has bool) {
	i, has := h.at[owner]
	if has {
		c = h.list[i]
	}
	return c, has
}

// add adds the claim of a Service that has none.
func (h *claimHeap) add(c claim) { heap.Push(h, c) }

// remove takes out the claim of the Service, if there is one.
func (h *claimHeap) remove(owner cluster.Name) {
	if i, has := h.at[owner]; has {
		heap.Remove(h, i)
	}
}

// Len implements heap.Interface.
func (h *claimHeap) Len() int { return len(h.list) }

// Less implements heap.Interface.
func (h *claimHeap) Less(i, j int) bool { return h.before(h.list[i], h.list[j]) }

// Swap implements heap.Interface.
func (h *claimHeap) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.at[h.list[i].owner()], h.at[h.list[j].owner()] = i, j
}

// Push implements heap.Interface: it puts a claim behind the others.
func (h *claimHeap) Push(c any) {
	h.list = append(h.list, c.(claim))
	h.at[c.(claim).owner()] = len(h.list) - 1
}

// Pop implements heap.Interface: it takes out the claim behind the others.
func (h *claimHeap) Pop() any {
	last := len(h.list) - 1
	c := h.list[last]
	h.list[last] = claim{} // which keeps a Fragment in memory
	h.list = h.list[:last]
	delete(h.at, c.owner())
	return c
}

// TakeLosers adds Services to losers that want front ends which other Services have won or lost since the last call. It
// goes through one front end after another until it has seen room claims, and returns how many front ends are left.
func (w *Want) TakeLosers(room int, losers map[cluster.Name]struct{}) (left int) {
	for id := range w.won {
		if room <= 0 {
			break
		}
		delete(w.won, id)
		room--
		if cs := w.claims[id]; cs.losers != nil {
			room -= len(cs.losers.list)
			for _, c := range cs.losers.list {
				losers[c.owner()] = struct{}{}
			}
		}
	}
	return len(w.won)
}
