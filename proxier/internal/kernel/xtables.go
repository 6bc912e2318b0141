package kernel

import (
	"errors"
	"fmt"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/ipset/client"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// xtables holds sets by ipset, and rules by iptables.
type xtables struct {
	sets   *client.Client
	chains *chains
	// asker reads the generation of the rules; nil where the kernel reports none.
	asker *unchanged
}

func newXtables(families []cluster.Family) (netfilter, error) {
	chains, err := newChains(families)
	if err != nil {
		return nil, err
	}
	sets, err := client.New()
	if err != nil {
		return nil, err
	}
	return &xtables{sets, chains, newUnchanged(families)}, nil
}

func (*xtables) together(op dataplane.Op) string {
	switch o := op.Object.(type) {
	case dataplane.SetEntry:
		return op.Verb.String() + o.Set
	case dataplane.Chain:
		return "rules" + o.ID.Family.String()
	case dataplane.Hook:
		return "rules" + o.Chain.Family.String()
	}
	return op.String()
}

func (x *xtables) apply(run []dataplane.Op) []error {
	switch o := run[0].Object.(type) {
	case dataplane.SetEntry:
		return x.applyEntries(run[0].Verb, o.Set, o.Type, run)
	case dataplane.Chain, dataplane.Hook:
		return x.chains.apply(run)
	}
	// Sets are rare: one at a time, equal ones only by mistake.
	errs := make([]error, len(run))
	for i, op := range run {
		errs[i] = x.applySet(op.Verb, op.Object.(dataplane.Set).Set)
	}
	return errs
}

func (x *xtables) applyEntries(verb dataplane.Verb, set string, t ipset.Type, run []dataplane.Op) []error {
	entries := make([]ipset.Entry, len(run))
	for i, op := range run {
		entries[i] = op.Object.(dataplane.SetEntry).Entry
	}
	if verb == dataplane.Delete {
		return x.sets.Delete(set, t, entries)
	}
	return x.sets.Add(set, t, entries)
}

func (x *xtables) applySet(verb dataplane.Verb, set ipset.Set) error {
	switch verb {
	case dataplane.Delete:
		return x.sets.Destroy(set.Name)
	case dataplane.Update:
		return x.sets.Resize(set)
	case dataplane.Renew:
		if err := x.sets.Destroy(set.Name); err != nil {
			return err
		}
	}
	return x.sets.Create(set)
}

func (x *xtables) observe(seen *dataplane.Observation, parts dataplane.Parts) (dataplane.Parts, error) {
	if parts.Has(dataplane.PartSets) {
		if err := x.observeSets(seen.State); err != nil {
			return 0, err
		}
	}
	if parts.Has(dataplane.PartRules) {
		if err := x.chains.observe(seen); err != nil {
			return 0, err
		}
	}
	return parts & (dataplane.PartSets | dataplane.PartRules), nil
}

func (x *xtables) observeSets(s *dataplane.State) error {
	sets, err := x.sets.List(dataplane.Prefix)
	if err != nil {
		return fmt.Errorf("list sets: %w", err)
	}
	for _, set := range sets {
		s.Sets[set.Name] = set
		n := 0
		reset := func() {
			if n > 0 {
				s.Entries.DropSets(set.Name)
			}
		}
		err := x.sets.EachEntry(set, reset, func(e ipset.Entry) {
			n++
			s.Entries.Put(dataplane.SetEntry{Set: set.Name, Type: set.Type, Entry: e})
		})
		if err != nil {
			return fmt.Errorf("list entries of set %s: %w", set.Name, err)
		}
	}
	return nil
}

// share has the reader know how chains are spelled, and read rules only when they have changed.
func (x *xtables) share(reader netfilter) {
	if other, is := reader.(*xtables); is {
		other.chains.spelled = x.chains.spelled
		other.chains.unchanged = other.asker
	}
}

func (x *xtables) traffic() Traffic {
	messages, sends := x.sets.Traffic()
	asked := x.asker.traffic()
	return Traffic{Messages: messages + asked.Messages, Sends: sends + asked.Sends, Processes: x.chains.processes}
}

func (x *xtables) close() error { return errors.Join(x.sets.Close(), x.asker.close()) }
