package nftables

import (
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Table is the name of our tables, one of family ip and one of ip6. Ownership is this name.
const Table = "ipvs-proxier"

// families are those of our tables.
var families = []cluster.Family{cluster.IPv4, cluster.IPv6}

// familyOfSet returns the family of the table in which a set is: a set of ports has its family in its name only.
func familyOfSet(set ipset.Set) cluster.Family {
	six := dataplane.SetName(dataplane.Prefix, cluster.IPv6)
	if set.Family == ipset.IPv6 || set.Family == 0 && strings.HasPrefix(set.Name, six) {
		return cluster.IPv6
	}
	return cluster.IPv4
}

func familyOfEntry(e dataplane.SetEntry) cluster.Family {
	if e.Entry.Addr.IsValid() {
		return cluster.FamilyOf(e.Entry.Addr)
	}
	return familyOfSet(ipset.Set{Name: e.Set})
}

// chainName returns the kernel's name of a chain of ours: "nat-IPVSP-SERVICES".
func chainName(table, chain string) string { return table + "-" + chain }

// besideName returns the name of the chain to which a rule of a chain of ours leads.
func besideName(id dataplane.ChainID, rule int) string {
	return fmt.Sprintf("%s.%d", chainName(id.Table, id.Name), rule)
}

// parseChainName is the inverse of chainName.
func parseChainName(family cluster.Family, name string) (dataplane.ChainID, bool) {
	table, chain, found := strings.Cut(name, "-")
	return dataplane.ChainID{Family: family, Table: table, Name: chain}, found &&
		strings.HasPrefix(chain, dataplane.Prefix)
}

// base names a base chain: where in netfilter a hook of ours is.
type base struct {
	table, builtin string
	last           bool
}

func baseOf(h dataplane.Hook) base { return base{h.Chain.Table, h.Builtin, h.Last()} }

// String returns the kernel's name of the chain: "filter-INPUT", and "filter-INPUT-last".
func (b base) String() string {
	if b.last {
		return b.table + "-" + b.builtin + "-last"
	}
	return b.table + "-" + b.builtin
}

// place is what the kernel has to know of a base chain.
type place struct {
	kind     string // filter or nat
	hook     uint32
	priority int32
}

// The places are right before those of iptables, and behind them for the last one, so that the order is that of the
// hooks there. They are odd, so that none is anybody else's: of two chains with one priority, the one that came last
// goes first. IPVS takes packets at input 98 and 99, forward 99 and 100, output -99 and -98 (ip_vs_core.c, ip_vs_ops4,
// Linux 6.12), and nat acts at its own priorities of -100 and 100, whatever its chains say of their order.
var places = map[base]place{
	{"nat", "PREROUTING", false}:  {"nat", hookPrerouting, -101},
	{"nat", "OUTPUT", false}:      {"nat", hookOutput, -101},
	{"nat", "POSTROUTING", false}: {"nat", hookPostrouting, 99},
	{"filter", "FORWARD", false}:  {"filter", hookForward, -1},
	{"filter", "INPUT", false}:    {"filter", hookInput, -1},
	{"filter", "INPUT", true}:     {"filter", hookInput, 1},
	{"mangle", "OUTPUT", false}:   {"filter", hookOutput, -151},
}

// The hooks of a table of IP (include/uapi/linux/netfilter.h).
const (
	hookPrerouting = iota
	hookInput
	hookForward
	hookOutput
	hookPostrouting
)

// baseNamed is the inverse of [base.String].
func baseNamed(name string) (base, bool) {
	for b := range places {
		if b.String() == name {
			return b, true
		}
	}
	return base{}, false
}
