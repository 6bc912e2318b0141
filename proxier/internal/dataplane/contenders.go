package dataplane

import (
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

// before tells whether the claim wins over the other one.
func (c claim) before(other claim) bool {
	if by := c.front.Kind.rank() - other.front.Kind.rank(); by != 0 {
		return by < 0
	}
	if by := c.of.Created.Compare(other.of.Created); by != 0 {
		return by < 0
	}
	return c.of.Owner.Compare(other.of.Owner) < 0
}

// contenders are the claims to one front end, of each Service one. Nearly always there is one in all, which takes no
// room of its own. Anybody may write a Service that wants an external address which thousands want, so nothing walks
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

// claimHeap is a binary heap of claims, the one that would win at its root: what is behind an element is at twice its
// place. It takes a number of comparisons that grows with the logarithm of the claims.
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
func (h *claimHeap) add(c claim) {
	h.list = append(h.list, c)
	h.up(len(h.list) - 1)
}

// remove takes out the claim of a Service that has one.
func (h *claimHeap) remove(owner cluster.Name) {
	i, has := h.at[owner]
	if !has {
		return
	}
	delete(h.at, owner)
	last := len(h.list) - 1
	c := h.list[last]
	h.list[last] = claim{}
	h.list = h.list[:last]
	if i < last {
		h.list[i] = c
		h.up(h.down(i))
	}
}

// up moves an element towards the root, to its place.
func (h *claimHeap) up(i int) {
	c := h.list[i]
	for i > 0 && h.before(c, h.list[(i-1)/2]) {
		h.put((i-1)/2, i)
		i = (i - 1) / 2
	}
	h.list[i] = c
	h.at[c.owner()] = i
}

// down moves an element away from the root as far as is right, and returns its place.
func (h *claimHeap) down(i int) int {
	c := h.list[i]
	for {
		child := 2*i + 1
		if child+1 < len(h.list) && h.before(h.list[child+1], h.list[child]) {
			child++
		}
		if child >= len(h.list) || !h.before(h.list[child], c) {
			h.list[i] = c
			return i
		}
		h.put(child, i)
		i = child
	}
}

// put puts the element at another place.
func (h *claimHeap) put(from, to int) {
	h.list[to] = h.list[from]
	h.at[h.list[to].owner()] = to
}

// TakeLosers adds Services to losers that want front ends which others have won since, or lost to others again. It
// looks at one front end after another until it has seen room claims, and returns how many front ends are left.
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
