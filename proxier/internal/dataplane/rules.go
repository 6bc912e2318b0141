package dataplane

import (
	"fmt"
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// maxElem is the largest number of entries of our sets. The kernel keeps no memory for entries that are not there, and the
// default of 65,536 is what leaves new Services dead in silence in other proxies (kubernetes#129389).
const maxElem = 1 << 20

// Foundation returns the part of the wanted State that no Service changes: link, sysctls, sets with the cluster CIDRs,
// chains and their hooks. All variety of Services goes into the sets; the rules are few and stay.
func Foundation(c Config) *State {
	s := NewState()
	s.Links[c.Link] = struct{}{}
	for name, value := range sysctls(c) {
		s.Sysctls[name] = value
	}
	for _, family := range c.Families {
		for name, t := range setTypes {
			set := ipset.Set{Name: SetName(name, family), Type: t, Family: setFamily(family), HashSize: 1024, MaxElem: maxElem}
			s.Sets[set.Name] = set
		}
		for _, chain := range chains(c, family) {
			s.Chains[chain.ID] = chain
		}
		for _, hook := range hooks(family) {
			s.Hooks[hook] = struct{}{}
		}
	}
	for _, cidr := range c.ClusterCIDRs {
		for _, half := range splitZero(cidr) {
			s.Entries[podNetEntry(half)] = struct{}{}
		}
	}
	return s
}

func setFamily(f cluster.Family) ipset.Family {
	if f == cluster.IPv6 {
		return ipset.Inet6
	}
	return ipset.Inet
}

func podNetEntry(p netip.Prefix) SetEntry {
	return SetEntry{
		Set:   SetName(SetPodNet, cluster.FamilyOf(p.Addr())),
		Type:  ipset.HashNet,
		Entry: ipset.Entry{Addr: p.Masked().Addr(), Bits: uint8(p.Bits())},
	}
}

// splitZero returns the two halves of a network of length 0, which a set cannot hold, and any other network alone.
func splitZero(p netip.Prefix) []netip.Prefix {
	if p.Bits() != 0 {
		return []netip.Prefix{p}
	}
	high := p.Addr().AsSlice()
	for i := range high {
		high[i] = 0
	}
	high[0] = 0x80
	addr, _ := netip.AddrFromSlice(high)
	return []netip.Prefix{netip.PrefixFrom(p.Masked().Addr(), 1), netip.PrefixFrom(addr, 1)}
}

// sysctls returns the kernel parameters that IPVS needs as a service proxy. They are never set back.
func sysctls(c Config) map[string]string {
	s := map[string]string{
		// Without it IPVS keeps no conntrack entry, and POSTROUTING cannot masquerade its packets.
		"net.ipv4.vs.conntrack": "1",
		// Connections of a real server that is gone end with their next packet instead of vanishing.
		"net.ipv4.vs.expire_nodest_conn": "1",
		// A persistence template does not hold clients at a real server that drains.
		"net.ipv4.vs.expire_quiescent_template": "1",
		"net.ipv4.ip_forward":                   "1",
	}
	// Up to 5.8 a reused source port of a client delayed its connection by a second or stuck to a dead real server
	// (kubernetes#81775, #93297); from 5.9 on the kernel's default does the right thing.
	if !c.Facts.KernelAtLeast(5, 9) {
		s["net.ipv4.vs.conn_reuse_mode"] = "0"
	}
	if c.StrictARP {
		s["net.ipv4.conf.all.arp_ignore"] = "1"
		s["net.ipv4.conf.all.arp_announce"] = "2"
	}
	return s
}

// chains returns our chains of one family, those that are jumped to before those that jump.
func chains(c Config, family cluster.Family) []Chain {
	id := func(table, name string) ChainID { return ChainID{Family: family, Table: table, Name: name} }
	set := func(name string) string { return SetName(name, family) }
	loopback, refuse := "127.0.0.0/8", "icmp-port-unreachable"
	if family == cluster.IPv6 {
		loopback, refuse = "::1/128", "icmp6-port-unreachable"
	}
	mark := fmt.Sprintf("%#x/%#x", c.MasqueradeMark, c.MasqueradeMark)
	random := ""
	if c.Facts.RandomFully {
		random = " --random-fully"
	}
	clusterMatch, clusterSet := masqueradeMatch(c, family)
	return []Chain{
		{
			ID:    id("nat", ChainMarkMasq),
			Rules: []string{"-j MARK --set-xmark " + mark},
		},
		{
			ID: id("nat", ChainServices),
			Rules: []string{
				"-s " + loopback + " -j RETURN",
				clusterMatch + " -j " + ChainMarkMasq,
				"-m set --match-set " + set(SetNodePort) + " dst,dst -j " + ChainMarkMasq,
				// Nobody else's DNAT may take what is for a virtual server.
				"-m set --match-set " + set(SetClusterIP) + " dst,dst -j ACCEPT",
				"-m set --match-set " + set(SetNodePort) + " dst,dst -j ACCEPT",
			},
			Sets:  append([]string{set(SetClusterIP), set(SetNodePort)}, clusterSet...),
			Jumps: []string{ChainMarkMasq},
		},
		{
			ID: id("nat", ChainPostrouting),
			Rules: []string{
				// A pod that reaches itself through a Service would answer itself directly.
				"-m set --match-set " + set(SetHairpin) + " dst,dst,src -j MASQUERADE" + random,
				"-m mark ! --mark " + mark + " -j RETURN",
				// The mark is cleared, so that a packet that passes again (IPsec, tunnels) is not masqueraded twice.
				"-j MARK --set-xmark " + fmt.Sprintf("0x0/%#x", c.MasqueradeMark),
				"-j MASQUERADE" + random,
			},
			Sets: []string{set(SetHairpin)},
		},
		{
			ID: id("filter", ChainForward),
			Rules: []string{
				"-m mark --mark " + mark + " -j ACCEPT",
				// Replies of real servers pass FORWARD, requests do not: IPVS takes those at LOCAL_IN.
				"-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
			},
		},
		{
			ID: id("filter", ChainInput),
			Rules: []string{
				// While its scheduler is exchanged a virtual server refuses new connections (diff.go); a client whose first
				// packet is lost tries again after a second.
				"-m conntrack --ctstate NEW -m set --match-set " + set(SetHold) + " dst,dst -j DROP",
				"-m set --match-set " + set(SetClusterIP) + " dst,dst -j RETURN",
				"-m set --match-set " + set(SetNodePort) + " dst,dst -j RETURN",
				// A VIP is a local address: what is no Service port must not reach the node's own sockets
				// (kubernetes#72236).
				"-m conntrack --ctstate NEW -m set --match-set " + set(SetVIP) + " dst -j REJECT --reject-with " + refuse,
			},
			Sets: []string{set(SetHold), set(SetClusterIP), set(SetNodePort), set(SetVIP)},
		},
	}
}

// masqueradeMatch returns the match for clients of a ClusterIP that are to be masqueraded, and the further sets it needs.
func masqueradeMatch(c Config, family cluster.Family) (match string, sets []string) {
	clusterIP := SetName(SetClusterIP, family)
	if c.MasqueradeAll {
		return "-m set --match-set " + clusterIP + " dst,dst", nil
	}
	for _, cidr := range c.ClusterCIDRs {
		if cluster.FamilyOf(cidr.Addr()) == family {
			podNet := SetName(SetPodNet, family)
			return "-m set --match-set " + clusterIP + " dst,dst -m set ! --match-set " + podNet + " src", []string{podNet}
		}
	}
	// The node's own clients take the VIP itself as their source, since it is a local address.
	return "-m set --match-set " + clusterIP + " src,dst", nil
}

// hooks returns the jumps from the built-in chains of one family.
func hooks(family cluster.Family) []Hook {
	hook := func(table, builtin, chain, comment string) Hook {
		return Hook{Chain: ChainID{Family: family, Table: table, Name: chain}, Builtin: builtin, Comment: comment}
	}
	return []Hook{
		hook("nat", "PREROUTING", ChainServices, "ipvs-proxier: clients to masquerade"),
		hook("nat", "OUTPUT", ChainServices, "ipvs-proxier: clients to masquerade"),
		hook("nat", "POSTROUTING", ChainPostrouting, "ipvs-proxier: masquerade"),
		hook("filter", "FORWARD", ChainForward, "ipvs-proxier: replies"),
		hook("filter", "INPUT", ChainInput, "ipvs-proxier: no other ports on service addresses"),
	}
}
