package dataplane

import (
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// clients are the clients that may reach the restricted front ends of a Service in one family: the networks, each once,
// and the node itself where one of its addresses is in them. A client on the node itself may if the node's address may.
// Its source is that address when the front end has a route, else the front end's own. The latter is let in by both
// modes, so that connections live when the mode changes; nobody else can have it, because the kernel drops packets that
// come in with a local address.
type clients struct {
	networks []netip.Prefix
	nodeMay  bool
	// node are the node's addresses, where its clients may have any of them as their source.
	node []netip.Prefix
}

// restrictions returns the clients of each family in which not everybody may come.
func restrictions(s *cluster.Service, node *Node, c *Config) (may [cluster.IPv6 + 1]*clients) {
	if len(s.SourceRanges) == 0 || len(s.LoadBalancerIPs) == 0 {
		return may
	}
	for _, family := range c.Families {
		if s.Restricted(family) {
			may[family] = clientsOf(s, family, node, c)
		}
	}
	return may
}

func clientsOf(s *cluster.Service, family cluster.Family, node *Node, c *Config) *clients {
	of, met := &clients{}, map[netip.Prefix]struct{}{}
	add := func(to *[]netip.Prefix, network netip.Prefix) {
		for _, half := range splitZero(network) {
			half = half.Masked()
			if _, again := met[half]; !again {
				met[half] = struct{}{}
				*to = append(*to, half)
			}
		}
	}
	for _, network := range s.SourceRanges {
		if network.IsValid() && cluster.FamilyOf(network.Addr()) == family {
			add(&of.networks, network)
			of.nodeMay = of.nodeMay || slices.ContainsFunc(node.identity(), network.Contains)
		}
	}
	if of.nodeMay {
		for _, addr := range kernelChoice(family, node, c) {
			add(&of.node, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return of
}

// of returns the entries of the clients of a front end.
func (c *clients) of(id VirtualServerID) []SetEntry {
	entries := make([]SetEntry, 0, len(c.networks)+1+len(c.node))
	entry := func(network netip.Prefix) {
		e := frontEndEntry(SetClients, id)
		e.Type, e.Entry.Peer, e.Entry.Bits = ipset.HashIPPortNet, network.Addr(), uint8(network.Bits())
		entries = append(entries, e)
	}
	for _, network := range c.networks {
		entry(network)
	}
	own := netip.PrefixFrom(id.Addr, id.Addr.BitLen())
	if c.nodeMay && !slices.Contains(c.networks, own) {
		entry(own)
	}
	for _, addr := range c.node {
		if addr != own {
			entry(addr)
		}
	}
	return entries
}

// kernelChoice returns the addresses among which the kernel chooses the source of the node's own clients: none where it
// is known.
func kernelChoice(family cluster.Family, node *Node, c *Config) (addrs []netip.Addr) {
	if c.VIPs != ByRoute || family != cluster.IPv6 || node.Sources().IPv6.IsValid() {
		return nil
	}
	for _, addr := range node.Addresses {
		if addr.Is6() {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
