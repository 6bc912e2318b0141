package nftables

import (
	"maps"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// remembered is what was observed at a generation. The kernel gives each change of tables, sets, entries, chains and
// rules another one (net/netfilter/nf_tables_api.c, nf_tables_commit, Linux 6.12), whoever makes it.
type remembered struct {
	generation uint32
	seen       *dataplane.State
}

// Generation returns the number of the ruleset, which is another one after each change of anybody's. It costs one
// message.
func (b *Backend) Generation() (uint32, error) { return b.generation() }

// Transactions returns how many transactions this Backend has made, each of which has made the generation grow by one.
func (b *Backend) Transactions() uint32 { return b.transactions }

// ObserveChanged is Observe for a caller that observes again and again, and does not change the result. As long as the
// generation is the same, it reads nothing and returns what was read before, with the same Entries.
func (b *Backend) ObserveChanged(s *dataplane.State) error {
	before, err := b.generation()
	if err != nil {
		return err
	}
	if b.before == nil || b.before.generation != before {
		b.before = nil
		seen := dataplane.NewStateFor(0, s.Entries.Len(), 0)
		if err := b.Observe(seen); err != nil {
			return err
		}
		// What changes while it is read has another generation than before: it is read again the next time.
		b.before = &remembered{before, seen}
	}
	seen := b.before.seen
	maps.Copy(s.Sets, seen.Sets)
	maps.Copy(s.Chains, seen.Chains)
	maps.Copy(s.Hooks, seen.Hooks)
	s.Entries = seen.Entries
	return nil
}
