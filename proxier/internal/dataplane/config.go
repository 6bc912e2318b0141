package dataplane

import (
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Config is what an operator chose, and what was found out about the kernel, as far as the dataplane depends on it.
type Config struct {
	// Link is the name of the dummy link.
	Link string
	// Families are the address families to serve: IPv4, IPv6 or both, in any order.
	Families []cluster.Family
	// ClusterCIDRs are the networks of the pods. A client of a ClusterIP outside of them is masqueraded. Where a family
	// has none, only clients that use a VIP as their own address are (the node itself).
	ClusterCIDRs []netip.Prefix
	// MasqueradeAll masquerades every client of a ClusterIP.
	MasqueradeAll bool
	// MasqueradeMark is the one bit of the packet mark that tells POSTROUTING to masquerade.
	MasqueradeMark uint32
	// NodePortAddresses limits node ports to the node's addresses in these networks; empty is no limit.
	NodePortAddresses []netip.Prefix
	// StrictARP keeps the node from answering ARP for VIPs on other links.
	StrictARP bool
	// Facts is what the kernel can do.
	Facts Facts
}

// Facts is what was found out about this node's kernel and tools at start.
type Facts struct {
	// KernelMajor and KernelMinor are the kernel's version: 6 and 12 for 6.12.3.
	KernelMajor, KernelMinor int
	// RandomFully tells that MASQUERADE knows --random-fully (iptables 1.6.2, Linux 3.13).
	RandomFully bool
	// Schedulers are the kernel names of the schedulers that could be loaded.
	Schedulers []string
}

// KernelAtLeast compares the kernel's version.
func (f Facts) KernelAtLeast(major, minor int) bool {
	return f.KernelMajor > major || f.KernelMajor == major && f.KernelMinor >= minor
}

// Serves tells whether the family is configured.
func (c Config) Serves(family cluster.Family) bool {
	for _, f := range c.Families {
		if f == family {
			return true
		}
	}
	return false
}
