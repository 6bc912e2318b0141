package kernel

import (
	"os/exec"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/nftables"
)

// unchanged spares a reader the programs that list rules. Rules of iptables-nft are in the tables of nftables, whose
// generation is another one after each change of anybody's: as long as it is the same, what was listed before is what
// would be listed now. The rules of iptables-legacy have no such number, and are listed each time. A nil one knows
// nothing.
type unchanged struct {
	asker *nftables.Backend
	rules map[cluster.Family]rulesAt
}

// rulesAt is what was listed after the ruleset had that generation.
type rulesAt struct {
	generation uint32
	listedRules
}

// listedRules is what is of interest of what iptables-save prints.
type listedRules struct {
	listing  listing
	captures []dataplane.Capture
}

// newUnchanged returns nil where a family's iptables is another kind than nft, or where the kernel reports no
// generation.
func newUnchanged(families []cluster.Family) *unchanged {
	for _, family := range families {
		path, err := exec.LookPath(commands[family] + "-save")
		if err != nil || variantOf(path) != NFT {
			return nil
		}
	}
	asker, err := nftables.New()
	if err != nil {
		return nil
	}
	return &unchanged{asker: asker, rules: map[cluster.Family]rulesAt{}}
}

// generation returns the present generation; known is false where it cannot be read.
func (u *unchanged) generation() (generation uint32, known bool) {
	if u == nil {
		return 0, false
	}
	generation, err := u.asker.Generation()
	return generation, err == nil
}

// at returns what was listed of the family at that generation, if it was.
func (u *unchanged) at(family cluster.Family, generation uint32, known bool) (rules listedRules, found bool) {
	if u == nil || !known {
		return rules, false
	}
	last, is := u.rules[family]
	return last.listedRules, is && last.generation == generation
}

// put records what was listed after the ruleset had that generation. What changes while it is listed has another one.
func (u *unchanged) put(family cluster.Family, generation uint32, known bool, rules listedRules) {
	if u == nil {
		return
	}
	delete(u.rules, family)
	if known {
		u.rules[family] = rulesAt{generation, rules}
	}
}

// traffic counts the requests.
func (u *unchanged) traffic() Traffic {
	if u == nil {
		return Traffic{}
	}
	messages, sends := u.asker.Traffic()
	return Traffic{Messages: messages, Sends: sends}
}

func (u *unchanged) close() error {
	if u == nil {
		return nil
	}
	return u.asker.Close()
}
