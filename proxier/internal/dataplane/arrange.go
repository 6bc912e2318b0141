package dataplane

import (
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// List is how a virtual server's list of real servers is to be arranged.
type List struct {
	Order scheduler.Order
	Idle  scheduler.Idle
	// Place is the place that [scheduler.IdleAside] takes.
	Place uint8
}

// seededLead is how many real servers at the head of a list are kept in their seeded order: those that the first
// connections of a node go to. The kernel puts a new real server at the head, on every node alike; it takes at most
// this many renewals to put that right, however long the list is.
const seededLead = 4

// Arrange returns the real servers of want in the order in which the kernel that has them as in have shall have them,
// and how many of them, from the first, have a place at all. The rest, of weight 0, may be anywhere.
//
// want is as compiled, with what drains behind it (see [Drain]).
func Arrange(want VirtualServer, have []RealServer) (list []RealServer, placed int) {
	ready := make([]RealServer, 0, len(want.RealServers))
	var idle []RealServer
	for _, r := range want.RealServers {
		if r.Weight == 0 {
			idle = append(idle, r)
		} else {
			ready = append(ready, r)
		}
	}
	switch want.List.Idle {
	case scheduler.IdleLast:
		slices.SortFunc(idle, CompareEndpoint)
		return append(ready, idle...), len(want.RealServers)
	case scheduler.IdleAside:
		list = aside(ready, idle, int(want.List.Place))
		return list, len(list)
	}
	if want.List.Order == scheduler.Seeded && len(ready) > seededLead {
		ready = lead(ready, have)
	}
	return append(ready, idle...), len(ready)
}

// lead keeps the first ones in their order. Of the others those that are new come next, then the rest as the kernel has
// it.
func lead(ready, have []RealServer) []RealServer {
	if len(have) == 0 {
		return ready
	}
	at := positions(have)
	rest := slices.Clone(ready[seededLead:])
	slices.SortStableFunc(rest, func(a, b RealServer) int {
		i, knownA := at[a.endpoint()]
		j, knownB := at[b.endpoint()]
		switch {
		case knownA && knownB:
			return i - j
		case knownA:
			return 1
		case knownB:
			return -1
		}
		return 0
	})
	return slices.Concat(ready[:seededLead], rest)
}

// aside puts a ready real server where the scheduler looks: the one whose turn it would be if there were no others.
func aside(ready, idle []RealServer, place int) []RealServer {
	if len(ready) == 0 {
		return idle
	}
	chosen := place % len(ready)
	others := slices.Concat(ready[:chosen], ready[chosen+1:], idle)
	slices.SortFunc(others, CompareEndpoint)
	return slices.Insert(others, place%(len(others)+1), ready[chosen])
}

// renewals returns which real servers of list have to be added or renewed, from the last to the first, so that a kernel
// that has them as in have, and puts each at the head of its list, has the first ones in order. must are those that
// have to be renewed whatever their place.
func renewals(list []RealServer, placed int, have []RealServer, must func(RealServer) bool) []RealServer {
	at := positions(have)
	stays := placed // list[stays:placed] are where they belong
	for limit := len(have); stays > 0; stays-- {
		r := list[stays-1]
		i, present := at[r.endpoint()]
		if !present || i >= limit || must(r) {
			break
		}
		limit = i
	}
	var renew []RealServer
	for _, r := range slices.Backward(list[placed:]) {
		if _, present := at[r.endpoint()]; !present || must(r) {
			renew = append(renew, r)
		}
	}
	for _, r := range slices.Backward(list[:stays]) {
		renew = append(renew, r)
	}
	return renew
}
