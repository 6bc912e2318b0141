package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/ipset/client"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/nftables"
)

// AutoNetfilter stands for iptables where this node has it and ipset, else for nftables.
const AutoNetfilter = "auto"

// NetfilterChoice is what ChooseNetfilter has chosen.
type NetfilterChoice struct {
	Netfilter Netfilter
	// Variant is that of iptables, empty with nftables.
	Variant Variant
	Why     string
}

// ChooseNetfilter decides what is to hold our sets and rules. asked is auto, iptables or nftables. Where iptables is
// chosen, variant is passed to ChooseIptables. foundation is what nftables would have to hold. It changes nothing but
// PATH; the error names what is missing.
func ChooseNetfilter(ctx context.Context, asked, variant string, foundation *dataplane.State) (NetfilterChoice, error) {
	if asked == string(NFTables) {
		if err := CheckNFTables(foundation); err != nil {
			return NetfilterChoice{}, fmt.Errorf("netfilter: nftables is asked for: %w", err)
		}
		return NetfilterChoice{Netfilter: NFTables, Why: "asked for"}, nil
	}
	chosen, why, err := ChooseIptables(ctx, variant)
	if err != nil || asked != AutoNetfilter {
		return NetfilterChoice{Iptables, chosen, why}, err
	}
	missing := programsMissing()
	if missing == nil {
		missing = ipsetMissing()
	}
	if missing == nil || errors.Is(missing, unix.EPERM) { // the checks at the start report a missing permission
		return NetfilterChoice{Iptables, chosen, why}, nil
	}
	if err := CheckNFTables(foundation); err != nil {
		return NetfilterChoice{}, fmt.Errorf("netfilter: %w; and %w", missing, err)
	}
	return NetfilterChoice{Netfilter: NFTables, Why: missing.Error()}, nil
}

func ipsetMissing() error {
	sets, err := client.New()
	if err == nil {
		err = errors.Join(sets.Available(), sets.Close())
	}
	if err != nil {
		return fmt.Errorf("ipset cannot be used: %w", err)
	}
	return nil
}

// CheckNFTables reports whether nftables can hold the sets, chains and hooks of a State, without changing anything.
func CheckNFTables(s *dataplane.State) error { return nftables.Check(rulesOf(dataplane.NewState(), s)) }

// rulesOf returns what leads from one State to the other, of what netfilter holds.
func rulesOf(have, want *dataplane.State) (ops []dataplane.Op) {
	for _, op := range dataplane.Diff(have, want, dataplane.All(nil, have, want)) {
		if isNetfilter(op) {
			ops = append(ops, op)
		}
	}
	return ops
}

// RemoveRules removes the sets and rules of ours that another backend than the one in use has left. It returns kind and
// name of each object that is gone, or would go with dryRun. Entries go with their sets and are not named. A backend
// that this node does not have has left none.
func RemoveRules(in Netfilter, families []cluster.Family, dryRun bool) (removed []string, err error) {
	if in == Iptables && programsMissing() != nil || !in.loaded() {
		return nil, nil
	}
	left, err := newNetfilter(in, families)
	if err != nil {
		return nil, err
	}
	defer left.close()
	seen := newObservation(0, 0, 0)
	if _, err := left.observe(&seen, dataplane.PartSets|dataplane.PartRules); err != nil {
		return nil, err
	}
	var errs []error
	for _, op := range rulesOf(seen.State, dataplane.NewState()) {
		if _, is := op.Object.(dataplane.SetEntry); is {
			continue // it goes with its set
		}
		if !dryRun {
			if err := left.apply([]dataplane.Op{op})[0]; err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", op, err))
				continue
			}
		}
		removed = append(removed, fmt.Sprintf("%s %s (of %s)", op.Object.Kind(), op.Object, in))
	}
	return removed, errors.Join(errs...)
}

// loaded reports whether the kernel has loaded what the backend needs, or may have. A request to the module itself
// would load it.
func (n Netfilter) loaded() bool {
	module := "ip_set"
	if n == NFTables {
		module = "nf_tables"
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	known := readModules("", strings.TrimSpace(string(release)))
	return known.loaded(module) || known.builtIn(module) || len(known.present) == 0
}

// HasTables reports whether there are tables of ours in nftables.
func HasTables() bool {
	if !NFTables.loaded() {
		return false
	}
	backend, err := nftables.New()
	if err != nil {
		return false
	}
	defer backend.Close()
	return backend.Present()
}

// Other returns the backend that is not this one.
func (n Netfilter) Other() Netfilter {
	if n == NFTables {
		return Iptables
	}
	return NFTables
}
