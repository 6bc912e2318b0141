package engine

import (
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// sharedSettings are lists of settings that were seen of late. Most Services have the same, and need not have them each
// for itself.
type sharedSettings struct {
	lists [16][]cluster.Setting
	next  int
}

// share returns the list itself, or one that says the same.
func (u *sharedSettings) share(list []cluster.Setting) []cluster.Setting {
	for _, seen := range u.lists {
		if slices.Equal(seen, list) {
			return seen
		}
	}
	u.lists[u.next] = list
	u.next = (u.next + 1) % len(u.lists)
	return list
}
