package dataplane

import (
	"net/netip"
	"slices"
)

// fewServers is up to how many operations on the real servers of one virtual server are made one by one: each copies
// the list.
const fewServers = 8

// ApplyAll is Apply of each operation in turn. Operations on one virtual server that follow one another, as they do
// where it has thousands of endpoints, copy its list once and not once for each; and sets that go are looked for among
// the entries once.
func (s *State) ApplyAll(ops []Op) {
	for len(ops) > 0 {
		n, sets := sameVirtualServer(ops), onlySets(ops)
		switch {
		case n > fewServers:
			s.applyRealServers(ops[:n])
		case sets > 0:
			n = sets
			s.applySets(ops[:n])
		default:
			n = max(n, 1)
			for _, op := range ops[:n] {
				s.Apply(op)
			}
		}
		ops = ops[n:]
	}
}

// onlySets returns how many operations from the first are on sets.
func onlySets(ops []Op) (n int) {
	for n < len(ops) && ops[n].Object.Kind() == KindSet {
		n++
	}
	return n
}

// applySets makes the changes of sets, which lose their entries when they go or are made anew.
func (s *State) applySets(ops []Op) {
	var emptied []string
	for _, op := range ops {
		o := op.Object.(Set)
		put(s.Sets, o.Name, o.Set, op.Verb == Delete)
		if op.Verb == Delete || op.Verb == Renew {
			emptied = append(emptied, o.Name)
		}
	}
	if len(emptied) > 0 {
		s.Entries.DropSets(emptied...)
	}
}

// sameVirtualServer returns how many operations from the first are on real servers of the same virtual server.
func sameVirtualServer(ops []Op) (n int) {
	first, is := ops[0].Object.(RealServerObject)
	for is && n < len(ops) {
		if o, also := ops[n].Object.(RealServerObject); !also || o.VirtualServer != first.VirtualServer {
			break
		}
		n++
	}
	return n
}

// applyRealServers is applyRealServer of each of them.
func (s *State) applyRealServers(ops []Op) {
	id := ops[0].Object.(RealServerObject).VirtualServer
	v, present := s.VirtualServers[id]
	if !present {
		return
	}
	// What comes to the head stands behind what there was, the last one last; at are the places, gone what is left out
	// in the end.
	all, gone := slices.Grow(slices.Clone(v.RealServers), len(ops)), map[int]struct{}{}
	at := make(map[netip.AddrPort]int, len(all)+len(ops))
	for i, r := range all {
		at[r.endpoint()] = i
	}
	for _, op := range ops {
		r := op.Object.(RealServerObject).RealServer
		i, known := at[r.endpoint()]
		if known && op.Verb == Update {
			all[i] = r
			continue
		}
		if known {
			gone[i] = struct{}{}
			delete(at, r.endpoint())
		}
		if op.Verb != Delete {
			at[r.endpoint()] = len(all)
			all = append(all, r)
		}
	}
	list, before := make([]RealServer, 0, len(at)), len(v.RealServers)
	put := func(i int) {
		if _, left := gone[i]; !left {
			list = append(list, all[i])
		}
	}
	for i := len(all) - 1; i >= before; i-- {
		put(i)
	}
	for i := range before {
		put(i)
	}
	v.RealServers = list
	s.VirtualServers[id] = v
}
