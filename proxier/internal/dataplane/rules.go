package dataplane

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// maxElem is the largest number of entries of our sets. The kernel keeps no memory for entries that are not there, and the
// default of 65,536 is what leaves new Services dead in silence in other proxies (kubernetes#129389).
const maxElem = 1 << 20

// Foundation returns the part of the wanted State that no Service changes: link, sysctls, sets with the pods' networks,
// chains and their hooks. All variety of Services goes into the sets; the rules are few and stay.
func Foundation(c Config) *State {
	s := NewState()
	s.Links[c.Link] = struct{}{}
	for name, value := range sysctls(c) {
		s.Sysctls[name] = value
	}
	for _, family := range c.Families {
		for name, t := range setTypes {
			set := ipset.Set{Name: SetName(name, family), Type: t}
			if t.Hash() {
				set.Family, set.HashSize, set.MaxElem = setFamily(family), 1024, maxElem
			}
			s.Sets[set.Name] = set
		}
		for _, chain := range chains(c, family) {
			s.Chains[chain.ID] = chain
		}
		for _, hook := range hooks(family) {
			s.Hooks[hook] = struct{}{}
		}
	}
	for _, cidr := range c.Pods.CIDRs {
		for _, half := range splitZero(cidr) {
			s.Entries.Put(podNetEntry(half))
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
	// From 4.1, which brought the parameter, to 5.8 a reused source port of a client delayed its connection by a second or stuck to a dead real server
	// (kubernetes#81775, #93297); from 5.9 on the kernel's default does the right thing.
	if c.Facts.KernelAtLeast(4, 1) && !c.Facts.KernelAtLeast(5, 9) {
		s["net.ipv4.vs.conn_reuse_mode"] = "0"
	}
	if c.StrictARP {
		s["net.ipv4.conf.all.arp_ignore"] = "1"
		s["net.ipv4.conf.all.arp_announce"] = "2"
	}
	if c.Serves(cluster.IPv6) {
		// Without it nothing reaches a pod of another node. Links that live by router advertisements are prepared for it
		// before (kernel.KeepRouterAdvertisements).
		s["net.ipv6.conf.all.forwarding"] = "1"
	}
	for name, timeout := range map[string]time.Duration{SysctlTCPTimeout: c.TCPTimeout, SysctlTCPFinTimeout: c.TCPFinTimeout, SysctlUDPTimeout: c.UDPTimeout} {
		if timeout > 0 {
			s[name] = strconv.FormatInt(int64(timeout/time.Second), 10)
		}
	}
	return s
}

// ruler writes the rules of one family.
type ruler struct {
	config Config
	family cluster.Family
}

// chain makes a chain of rules, and finds out which sets and chains of ours they need.
func (r ruler) chain(table, name string, rules ...string) Chain {
	c := Chain{ID: ChainID{Family: r.family, Table: table, Name: name}, Rules: rules}
	c.References()
	return c
}

// match returns the match of packets in a set: "-m set --match-set NAME DIRECTIONS".
func (r ruler) match(set, directions string) string {
	return "-m set --match-set " + SetName(set, r.family) + " " + directions
}

func (r ruler) family4or6(v4, v6 string) string {
	if r.family == cluster.IPv6 {
		return v6
	}
	return v4
}

// chains returns our chains of one family, those that are jumped to before those that jump.
func chains(c Config, family cluster.Family) []Chain {
	r := ruler{c, family}
	return []Chain{
		r.chain("nat", ChainMarkMasq, "-j MARK --set-xmark "+r.mark()),
		r.chain("nat", ChainMasquerade, r.masquerade()...),
		r.chain("nat", ChainServices, r.services()...),
		r.chain("nat", ChainPostrouting,
			// A pod that reaches itself through a Service would answer itself directly.
			r.match(SetHairpin, "dst,dst,src")+" -j "+ChainMasquerade,
			"-m mark ! --mark "+r.mark()+" -j RETURN",
			// The mark is cleared, so that a packet that passes again (IPsec, tunnels) is not masqueraded twice.
			"-j MARK --set-xmark "+fmt.Sprintf("0x0/%#x", c.MasqueradeMark),
			"-j "+ChainMasquerade,
		),
		r.chain("filter", ChainClients, r.clients()...),
		r.chain("filter", ChainForward,
			"-m mark --mark "+r.mark()+" -j ACCEPT",
			// Replies of real servers pass FORWARD, requests do not: IPVS takes those at LOCAL_IN.
			"-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		),
		r.chain("filter", ChainInput, r.input()...),
		r.chain("filter", ChainAccept, r.accept()...),
		r.chain("mangle", ChainClients, r.clients()...),
		r.chain("mangle", ChainOutput, r.limits()...),
	}
}

func (r ruler) mark() string {
	return fmt.Sprintf("%#x/%#x", r.config.MasqueradeMark, r.config.MasqueradeMark)
}

// masquerade keeps the source ports out of the node ports, where the protocol has ports.
func (r ruler) masquerade() []string {
	random := ""
	if r.config.Facts.RandomFully {
		random = " --random-fully"
	}
	var rules []string
	if ports := r.config.MasqueradePorts; ports != [2]uint16{} {
		for _, protocol := range []string{"tcp", "udp", "sctp"} {
			rules = append(rules, fmt.Sprintf("-p %s -j MASQUERADE --to-ports %d-%d%s", protocol, ports[0], ports[1], random))
		}
	}
	return append(rules, "-j MASQUERADE"+random)
}

// services marks the clients that are to be masqueraded.
func (r ruler) services() []string {
	rules := []string{"-s " + r.family4or6("127.0.0.0/8", "::1/128") + " -j RETURN"}
	for _, match := range r.clusterIPMatches() {
		rules = append(rules, match+" -j "+ChainMarkMasq)
	}
	rules = append(rules,
		r.match(SetNodePort, "dst,dst")+" -j "+ChainMarkMasq,
		r.match(SetExternalIP, "dst,dst")+" -j "+ChainMarkMasq,
		// With the policy Local clients keep their address, but the node's own could not be answered by other nodes: a VIP,
		// which is their address, is local there too.
		r.match(SetLocal, "dst,dst")+" -m addrtype --src-type LOCAL -j "+ChainMarkMasq,
	)
	// Nobody else's DNAT may take what is for a virtual server.
	for _, set := range frontEndSets {
		rules = append(rules, r.match(set, "dst,dst")+" -j ACCEPT")
	}
	return rules
}

// clusterIPMatches returns the matches for clients of a ClusterIP that are to be masqueraded.
func (r ruler) clusterIPMatches() []string {
	all := r.match(SetClusterIP, "dst,dst")
	if r.config.MasqueradeAll {
		return []string{all}
	}
	var matches []string
	if others := r.notPods(); others != "" {
		matches = append(matches, all+others)
	}
	// The node's own clients have the VIP itself as their source, or with a route an address of the node, which may lie in the
	// pods' network. Their packets come in by no link, so that nothing is to be added where the link tells.
	if pods := r.config.Pods; pods.Bridge == "" && pods.InterfacePrefix == "" {
		matches = append(matches, all+" -m addrtype --src-type LOCAL")
	}
	return matches
}

// notPods returns the further match for clients that are no pods, with a blank before it; "" when pods cannot be told.
func (r ruler) notPods() string {
	pods := r.config.Pods
	switch {
	case pods.Bridge != "":
		return " ! -i " + pods.Bridge
	case pods.InterfacePrefix != "":
		return " ! -i " + pods.InterfacePrefix + "+"
	}
	for _, cidr := range pods.CIDRs {
		if cluster.FamilyOf(cidr.Addr()) == r.family {
			return " -m set ! --match-set " + SetName(SetPodNet, r.family) + " src"
		}
	}
	return ""
}

// clients lets the clients of a restricted front end through, packets of open connections included: who is taken off the
// list is cut off.
func (r ruler) clients() []string {
	return []string{r.match(SetClients, "dst,dst,src") + " -j RETURN", "-j DROP"}
}

// limits are the rules that say who may not reach a front end. They stand where packets have not been to IPVS yet: in the filter's
// INPUT, and for the node's own clients in mangle's OUTPUT (IPVS takes those ahead of the filter).
func (r ruler) limits() []string {
	return []string{
		// While its scheduler is exchanged a virtual server refuses new connections (diff.go); a client whose first packet is
		// lost tries again after a second.
		"-m conntrack --ctstate NEW " + r.match(SetHold, "dst,dst") + " -j DROP",
		r.match(SetRestricted, "dst,dst") + " -j " + ChainClients,
	}
}

func (r ruler) input() []string {
	rules := r.limits()
	rules = append(rules, "-m conntrack --ctstate NEW "+r.match(SetNoLocal, "dst,dst")+r.notPods()+" -j DROP")
	for _, set := range frontEndSets {
		rules = append(rules, r.match(set, "dst,dst")+" -j RETURN")
	}
	rules = append(rules, "-p tcp "+r.match(SetHealthChecks, "dst")+" -j RETURN")
	if r.config.AnswerPing {
		rules = append(rules, r.ping()+" -j RETURN")
	}
	// A VIP is a local address: what is no Service port must not reach the node's own sockets (kubernetes#72236).
	refuse := r.family4or6("icmp-port-unreachable", "icmp6-port-unreachable")
	return append(rules, "-m conntrack --ctstate NEW "+r.match(SetVIP, "dst")+" -j REJECT --reject-with "+refuse)
}

// accept opens front ends where INPUT's policy is to drop (kubernetes#98465). It stands behind the operator's rules.
func (r ruler) accept() []string {
	var rules []string
	for _, set := range frontEndSets {
		rules = append(rules, r.match(set, "dst,dst")+" -j ACCEPT")
	}
	rules = append(rules, "-p tcp "+r.match(SetHealthChecks, "dst")+" -j ACCEPT")
	if r.config.AnswerPing {
		rules = append(rules, r.ping()+" "+r.match(SetVIP, "dst")+" -j ACCEPT")
	}
	return rules
}

func (r ruler) ping() string {
	return r.family4or6("-p icmp -m icmp --icmp-type 8", "-p ipv6-icmp -m icmp6 --icmpv6-type 128")
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
		hook("filter", "INPUT", ChainAccept, "ipvs-proxier: service addresses are open"),
		hook("mangle", "OUTPUT", ChainOutput, "ipvs-proxier: who may not reach a service"),
	}
}
