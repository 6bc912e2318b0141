package nftables

import (
	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Observe puts our sets with their entries, chains and hooks into the State.
func (b *Backend) Observe(s *dataplane.State) error {
	known, err := b.load()
	if err != nil {
		return err
	}
	for _, family := range families {
		table := known.of[family]
		held := map[string]lengths{}
		for name, set := range table.sets {
			s.Sets[name] = set
			if set.Type == "unknown" {
				continue
			}
			n := 0
			reset := func() {
				if n > 0 {
					s.Entries.DropSets(name)
				}
				held[name] = make(lengths, lengthsSize)
			}
			net := hasNet(set.Type)
			err := b.entries(family, set, reset, func(e ipset.Entry) bool {
				n++
				if net {
					held[name] = held[name].with(e.Bits)
				}
				before := s.Entries.Len()
				s.Entries.Put(dataplane.SetEntry{Set: name, Type: set.Type, Entry: e})
				return s.Entries.Len() > before
			})
			if err != nil {
				return err
			}
		}
		table.understand(family, func(set string) lengths { return held[set] })
		for id, chain := range table.chains {
			s.Chains[id] = chain
		}
		for _, hooks := range table.bases {
			for h := range hooks {
				s.Hooks[h] = struct{}{}
			}
		}
		b.lame(s, table)
	}
	return nil
}

// lame takes out hooks that lead nowhere: those of a table that somebody has switched off, or of a base chain at
// another place.
func (b *Backend) lame(s *dataplane.State, t *table) {
	for at, hooks := range t.bases {
		for h := range hooks {
			if t.dormant || t.odd[at] {
				delete(s.Hooks, h)
			}
		}
	}
}
