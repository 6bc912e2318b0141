package kernel

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/nftables"
)

// Netfilter names what holds our sets and rules.
type Netfilter string

// The backends: iptables with ipset, and tables of our own in nftables.
const (
	Iptables Netfilter = "iptables"
	NFTables Netfilter = "nftables"
)

// netfilter holds our sets with their entries, our chains and their hooks.
type netfilter interface {
	// together returns the same text for neighbouring operations that go out together.
	together(dataplane.Op) string
	// apply carries out such operations, and returns one error or nil for each.
	apply([]dataplane.Op) []error
	// observe puts what there is of sets and rules into what is seen, and the rules of others that concern Services, as
	// far as they are among the parts. It returns which of the parts it has read.
	observe(*dataplane.Observation, dataplane.Parts) (dataplane.Parts, error)
	// glance sets what is known of sets and rules without reading them.
	glance(*dataplane.Glance, dataplane.Parts) error
	// share gives a Reader's backend what only the writing one knows. From then on the reader returns again what it has
	// read before, as long as the kernel says that nothing has changed.
	share(reader netfilter)
	traffic() Traffic
	close() error
}

func newNetfilter(which Netfilter, families []cluster.Family) (netfilter, error) {
	switch which {
	case Iptables, "":
		return newXtables(families)
	case NFTables:
		backend, err := nftables.New()
		if err != nil {
			return nil, err
		}
		return &ownTables{backend: backend, families: families}, nil
	}
	return nil, fmt.Errorf("BUG: unknown netfilter backend %q", which)
}

// isNetfilter reports whether netfilter carries out the operation.
func isNetfilter(op dataplane.Op) bool {
	switch op.Object.(type) {
	case dataplane.Set, dataplane.SetEntry, dataplane.Chain, dataplane.Hook:
		return true
	}
	return false
}

// ownTables are our tables in nftables, where everything goes out together. Rules of others are not looked for: none
// takes away what is for a front end, once ours have come first.
type ownTables struct {
	backend  *nftables.Backend
	families []cluster.Family
	// again says that it is a reader, which need not read what has not changed.
	again bool
}

func (*ownTables) together(dataplane.Op) string { return "netfilter" }

func (o *ownTables) apply(ops []dataplane.Op) []error {
	errs := make([]error, len(ops))
	var served []dataplane.Op
	var at []int
	for i, op := range ops {
		family := cluster.Family(0)
		switch object := op.Object.(type) {
		case dataplane.Chain:
			family = object.ID.Family
		case dataplane.Hook:
			family = object.Chain.Family
		}
		if family != 0 && !slices.Contains(o.families, family) {
			errs[i] = fmt.Errorf("%s is not served: %w", family, unix.EAFNOSUPPORT)
			continue
		}
		served, at = append(served, op), append(at, i)
	}
	for i, err := range o.backend.Apply(served) {
		errs[at[i]] = err
	}
	return errs
}

// observe reads sets and rules together: one generation stands for both.
func (o *ownTables) observe(seen *dataplane.Observation, parts dataplane.Parts) (dataplane.Parts, error) {
	const both = dataplane.PartSets | dataplane.PartRules
	if parts&both == 0 {
		return 0, nil
	}
	observe := o.backend.Observe
	if o.again {
		observe = o.backend.ObserveChanged
	}
	if err := observe(seen.State); err != nil {
		return 0, fmt.Errorf("read nftables: %w", err)
	}
	return both, nil
}

func (*ownTables) share(reader netfilter) {
	if other, is := reader.(*ownTables); is {
		other.again = true
	}
}

func (o *ownTables) traffic() Traffic {
	messages, sends := o.backend.Traffic()
	return Traffic{Messages: messages, Sends: sends}
}

func (o *ownTables) close() error { return o.backend.Close() }
