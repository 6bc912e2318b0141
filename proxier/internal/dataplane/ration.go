package dataplane

import (
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Ration removes from a Fragment the entries for which the sets that all Services share are too full, and notes them in
// Fragment.Beyond. While a set has more than its reserve left, every Service gets what it wants. Then a Service that
// wants more than a small share of the set gets no more of it. So the reserve is left to those that want little, as
// nearly all do.
func (w *Want) Ration(f *Fragment) { w.ration(f, budget.SetEntries-budget.SetReserve, budget.SetShare) }

// HasRoom reports whether a set can take the entries by now that were lacking.
func (w *Want) HasRoom(set string, lacking int) bool {
	return w.sizes[knownSetAt[set]]+lacking <= budget.SetEntries-budget.SetReserve
}

func (w *Want) ration(f *Fragment, limit, share int) {
	wants := len(f.Entries)
	for i := range f.FrontEnds {
		wants += len(f.FrontEnds[i].Entries)
	}
	if wants <= share || w.State.Entries.Len()+wants <= limit {
		return
	}
	room := make([]int, len(knownSets))
	before := w.countsOf(f.Owner)
	for set := range room {
		room[set] = max(share, limit-(w.sizes[set]-before[set]))
	}
	wanted := make([]int, len(knownSets))
	f.countEntries(wanted)
	full := -1
	for set, n := range wanted {
		if n > room[set] {
			full = set
		}
	}
	if full < 0 {
		return
	}
	had := room[full]
	served := 0
	for served < len(f.FrontEnds) && takeOut(room, f.FrontEnds[served].Entries) {
		served++
	}
	if left := f.FrontEnds[served:]; len(left) > 0 {
		f.Beyond.FrontEnds, f.Beyond.First = f.Beyond.FrontEnds+len(left), left[0].ID
		f.FrontEnds = f.FrontEnds[:served:served]
	}
	var entries EntryList
	for _, key := range f.Entries {
		if room[key.set] > 0 {
			room[key.set]--
			entries = append(entries, key)
		} else {
			f.Beyond.Hairpins++
		}
	}
	f.Entries = entries
	f.Beyond.Full, f.Beyond.Lacking = knownSets[full].name, wanted[full]-(had-room[full])
}

// takeOut subtracts the entries from the space that is left; false where there is too little.
func takeOut(room []int, entries EntryList) bool {
	for i, key := range entries {
		if room[key.set]--; room[key.set] < 0 {
			for _, taken := range entries[:i+1] {
				room[taken.set]++
			}
			return false
		}
	}
	return true
}

// countsOf returns how many entries the Service has now in each of knownSets.
func (w *Want) countsOf(owner cluster.Name) []int {
	if t := w.transitions[owner]; t != nil {
		return t.counts
	}
	counts := make([]int, len(knownSets))
	if f := w.fragments[owner]; f != nil {
		f.countEntries(counts)
	}
	return counts
}

func (f *FrontEnd) countEntries(of []int, by int) {
	for _, key := range f.Entries {
		of[key.set] += by
	}
}

func (f *Fragment) countEntries(of []int) {
	for i := range f.FrontEnds {
		f.FrontEnds[i].countEntries(of, 1)
	}
	for _, key := range f.Entries {
		of[key.set]++
	}
}
