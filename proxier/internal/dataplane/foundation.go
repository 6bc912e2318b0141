package dataplane

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// maxElem is the largest number of entries of our sets. The kernel keeps no memory for entries that are not there, and
// the default of 65,536 is what leaves new Services dead in silence in other proxies (kubernetes#129389).
const maxElem = budget.SetEntries

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
				set.Family, set.HashSize, set.MaxElem = family, 1024, maxElem
			}
			s.Sets[set.Name] = set
		}
		for _, chain := range chains(c, family) {
			s.Chains[chain.ID] = chain
		}
		for _, hook := range hooks(c, family) {
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
	// From 4.1, which brought the parameter, to 5.8 a reused source port of a client delayed its connection by a second
	// or stuck to a dead real server (kubernetes#81775, #93297); from 5.9 on the kernel's default does the right thing.
	if c.Facts.KernelAtLeast(4, 1) && !c.Facts.KernelAtLeast(5, 9) {
		s["net.ipv4.vs.conn_reuse_mode"] = "0"
	}
	if c.StrictARP {
		s["net.ipv4.conf.all.arp_ignore"] = "1"
		s["net.ipv4.conf.all.arp_announce"] = "2"
	}
	if c.Serves(cluster.IPv6) {
		// Without it nothing reaches a pod of another node. Links that live by router advertisements are prepared for
		// it before (kernel.KeepRouterAdvertisements).
		s["net.ipv6.conf.all.forwarding"] = "1"
	}
	for name, timeout := range map[string]time.Duration{
		SysctlTCPTimeout: c.TCPTimeout, SysctlTCPFinTimeout: c.TCPFinTimeout, SysctlUDPTimeout: c.UDPTimeout,
	} {
		if timeout > 0 {
			s[name] = strconv.FormatInt(int64(timeout/time.Second), 10)
		}
	}
	return s
}

// ruler makes the rules of one family.
type ruler struct {
	config Config
	family cluster.Family
}

// chain makes a chain of rules, and finds out which sets and chains of ours they need.
func (r ruler) chain(table, name string, rules ...Rule) Chain {
	c := Chain{ID: ChainID{Family: r.family, Table: table, Name: name}, Rules: rules}
	c.References()
	return c
}

// rule makes a rule.
func rule(verdict Verdict, matches ...Match) Rule { return Rule{Matches: matches, Verdict: verdict} }

func jump(chain string) Verdict { return Verdict{Action: Jump, Chain: chain} }
func goTo(chain string) Verdict { return Verdict{Action: Goto, Chain: chain} }

// The verdicts that need nothing more.
var (
	accept  = Verdict{Action: Accept}
	drop    = Verdict{Action: Drop}
	goBack  = Verdict{Action: Return}
	refusal = Verdict{Action: Reject}
)

// in returns the match of packets in a set of the family.
func (r ruler) in(set string, by Lookup) InSet { return InSet{Set: SetName(set, r.family), By: by} }

// notIn returns the match of packets that are not.
func (r ruler) notIn(set string, by Lookup) InSet {
	return InSet{Set: SetName(set, r.family), By: by, Not: true}
}

// chains returns our chains of one family, those that are jumped to before those that jump.
func chains(c Config, family cluster.Family) []Chain {
	r := ruler{c, family}
	all := []Chain{
		r.chain("nat", ChainMarkMasq, rule(Verdict{Action: SetMark, Bits: c.MasqueradeMark})),
		r.chain("nat", ChainMasquerade, r.masquerade()...),
		r.chain("nat", ChainServices, r.services()...),
		r.chain("nat", ChainNoComeback, r.noComeback()...),
		r.chain("nat", ChainPostrouting, r.postrouting()...),
		r.chain("filter", ChainClients, r.clients()...),
		// Answers of real servers pass FORWARD, requests do not: IPVS takes those at LOCAL_IN. The hook says which
		// packets are answers. Up to now a chain IPVSP-FORWARD said it; a chain of that name without a match would let
		// everything through while the hook of that time is there.
		r.chain("filter", ChainReplies, rule(accept)),
		r.chain("filter", ChainFrontEnd, append(r.limits(),
			rule(drop, append([]Match{Connection{State: New}, r.in(SetNoLocal, ByDestinationPort)}, r.notPods()...)...))...),
		r.chain("filter", ChainClosed, r.closed()...),
		r.chain("filter", ChainInput,
			rule(goTo(ChainFrontEnd), r.in(SetFrontEnd, ByDestinationPort)),
			rule(goTo(ChainClosed), r.in(SetVIP, ByDestination)),
		),
		r.chain("filter", ChainAccept, r.accept()...),
		r.chain("mangle", ChainClients, r.clients()...),
		r.chain("mangle", ChainFrontEnd, r.limits()...),
		r.chain("mangle", ChainOutput, rule(jump(ChainFrontEnd), r.in(SetFrontEnd, ByDestinationPort))),
	}
	return slices.DeleteFunc(all, func(chain Chain) bool { return c.Facts.OwnTables && opens(chain.ID) })
}

// opens reports whether the chain does nothing but accept, which has no effect in tables of our own.
func opens(id ChainID) bool { return id.Name == ChainReplies || id.Name == ChainAccept }

// The matches that hooks carry, so that a packet that is nobody's business costs one of them and no jump. They read
// fields of the packet's connection, where a match of a set computes a hash and walks a bucket.
var (
	established   = Connection{State: Related | Established}
	unestablished = Connection{State: Related | Established, Not: true}
	// opening matches packets of no connection, and the first ones of connections that nothing has let through yet. A
	// connection is confirmed when its first packet leaves the last hook (net/netfilter/nf_conntrack_core.c,
	// __nf_conntrack_confirm); a packet that was dropped before, by a rule or by IPVS, leaves the next one unconfirmed.
	// By the state alone, each packet of a flow without answers would count as a new one: VXLAN, syslog, statsd. A
	// packet without a connection passes the first condition, and the second is not evaluated
	// (net/netfilter/xt_conntrack.c).
	opening = Connection{State: Related | Established, Not: true, Unconfirmed: true}
	// What the node sends itself was confirmed when it left, and comes in by this link.
	fromItself, fromOthers = Via{Link: "lo"}, Via{Link: "lo", Not: true}
)

// masquerade keeps the source ports within MasqueradePorts, where the protocol has ports.
func (r ruler) masquerade() []Rule {
	rest := Verdict{Action: Masquerade, Random: r.config.randomPorts()}
	var rules []Rule
	for _, protocol := range []cluster.Protocol{cluster.TCP, cluster.UDP, cluster.SCTP} {
		own := rest
		own.Ports, own.Random = r.config.MasqueradePorts, rest.Random || protocol == cluster.UDP && r.config.Facts.RandomFully
		if own != rest {
			rules = append(rules, rule(own, Protocol{protocol}))
		}
	}
	return append(rules, rule(rest))
}

// randomPorts reports whether masquerading is to give each connection a random port, also those of TCP and SCTP. UDP
// always has one: clients that keep their ports fill those of local clients (32768 to 60999) without a gap. Where one
// is taken, the kernel tries 128, 64, 32, 16 and 8 others, each time in a row from a random one on, and then gives up
// and drops the packet (net/netfilter/nf_nat_core.c, nf_nat_l4proto_unique_tuple, Linux 6.1). Scattered ports leave
// gaps everywhere. UDP has no timestamps that a port could be younger by.
//
// Without it the client's port is kept where it is within MasqueradePorts and free, and a random one taken where it is
// not (net/netfilter/nf_nat_core.c, get_unique_tuple, from Linux 5.1 on; before, two processors could search from the
// same port on, and one of the connections was lost: kubernetes#56903). A kept port is what makes short connections
// live: an endpoint drops the first packet of a connection whose port it has in TIME_WAIT with a younger timestamp, and
// from Linux 6.12 on timestamps differ from port to port, so that they only grow for one client on one port.
func (c Config) randomPorts() bool {
	return c.Facts.RandomFully && !c.Facts.KernelAtLeast(5, 1)
}

// services marks the clients that are to be masqueraded.
func (r ruler) services() []Rule {
	marked := jump(ChainMarkMasq)
	rules := []Rule{
		// All that is no Service's leaves here.
		rule(goBack, r.notIn(SetFrontEnd, ByDestinationPort)),
		rule(goBack, FromLoopback{}),
		// With the policy Local clients keep their address, but the node's own could not be answered by other nodes: a
		// VIP, which is their address, is local there too.
		rule(accept, r.in(SetLocal, ByDestinationPort), FromLocal{Not: true}),
		rule(marked, r.in(SetNodePort, ByDestinationPort)),
		rule(marked, r.in(SetExternalIP, ByDestinationPort)),
	}
	for _, matches := range r.clientMatches() {
		rules = append(rules, rule(marked, matches...))
	}
	// Nobody else's DNAT may take what is for a virtual server.
	return append(rules, rule(accept))
}

// clientMatches returns the matches for clients of a ClusterIP that are to be masqueraded, a list for each rule.
func (r ruler) clientMatches() [][]Match {
	if r.config.MasqueradeAll {
		return [][]Match{nil}
	}
	var matches [][]Match
	if others := r.notPods(); others != nil {
		matches = append(matches, others)
	}
	// The node's own clients have the VIP itself as their source, or with a route an address of the node, which may lie
	// in the pods' network. Their packets come in by no link, so that nothing is to be added where the link decides.
	if pods := r.config.Pods; pods.Bridge == "" && pods.InterfacePrefix == "" {
		matches = append(matches, []Match{FromLocal{}})
	}
	return matches
}

// notPods returns the match for clients that are no pods; none when pods cannot be distinguished.
func (r ruler) notPods() []Match {
	pods := r.config.Pods
	switch {
	case pods.Bridge != "":
		return []Match{Via{Link: pods.Bridge, Not: true}}
	case pods.InterfacePrefix != "":
		return []Match{Via{Link: pods.InterfacePrefix, Prefix: true, Not: true}}
	}
	for _, cidr := range pods.CIDRs {
		if cluster.FamilyOf(cidr.Addr()) == r.family {
			return []Match{r.notIn(SetPodNet, BySource)}
		}
	}
	return nil
}

// postrouting masquerades what IPVS has sent on, and nothing else: a client that sends to an endpoint straight keeps
// its address and port. IPVS sets the bit that the match reads on each packet that it changes (include/linux/skbuff.h,
// ipvs_property).
func (r ruler) postrouting() []Rule {
	var rules []Rule
	if r.config.Facts.IPVSMatch {
		rules = append(rules, rule(goBack, SentByIPVS{Not: true}))
	}
	return append(rules,
		// A pod that reaches itself through a Service would answer itself directly.
		rule(jump(ChainMasquerade), r.in(SetHairpin, ByDestinationPortSource)),
		rule(goTo(ChainNoComeback), r.in(SetRestricted, BySourcePort)),
		rule(goBack, Marked{Bits: r.config.MasqueradeMark, Not: true}),
		// The mark is cleared, so that a packet that passes again (IPsec, tunnels) is not masqueraded twice.
		rule(Verdict{Action: ClearMark, Bits: r.config.MasqueradeMark}),
		rule(jump(ChainMasquerade)),
	)
}

// noComeback is for an answer of a restricted front end that begins a conntrack entry, because the one of its
// connection was forgotten ([Cutoff]). The entry would let the client's packets through as replies of an open
// connection. With another source port than the front end's they are none, and count as what they are, the first ones
// of a new connection.
func (r ruler) noComeback() []Rule {
	return []Rule{rule(goBack, r.in(SetClients, BySourcePortDestination)), rule(jump(ChainMasquerade))}
}

// clients lets the clients of a restricted front end through.
func (r ruler) clients() []Rule {
	return []Rule{rule(goBack, r.in(SetClients, ByDestinationPortSource)), rule(drop)}
}

// limits are the rules that drop connections from clients outside of the source ranges of a front end. They stand where
// packets have not been to IPVS yet: in the filter's INPUT, and for the node's own clients in mangle's OUTPUT (IPVS
// takes those ahead of the filter).
func (r ruler) limits() []Rule {
	return []Rule{
		// While its scheduler is exchanged a virtual server refuses new connections (diff.go); a client whose first
		// packet is lost tries again after a second.
		rule(drop, Connection{State: New}, r.in(SetHold, ByDestinationPort)),
		rule(jump(ChainClients), r.in(SetRestricted, ByDestinationPort)),
	}
}

// closed is for what is no Service port of a VIP. It is a local address, whose other ports must not reach the node's
// own sockets (kubernetes#72236). Packets that are not tracked, such as those by which IPv6 finds neighbours, are let
// through.
func (r ruler) closed() []Rule {
	rules := []Rule{rule(goBack, Protocol{cluster.TCP}, r.in(SetHealthChecks, ByDestination))}
	if r.config.AnswerPing {
		rules = append(rules, rule(goBack, Ping{}))
	}
	return append(rules, rule(refusal, Connection{State: New}))
}

// accept opens front ends where INPUT's policy is to drop (kubernetes#98465), and lets in what routers say of their
// connections. It stands behind the operator's rules.
//
// What routers say of answers to connections that clients have opened to this node, such as that a packet is too big
// for the path, comes in for the node, because VIPs are local. IPVS sends it on to the endpoint behind INPUT
// (net/netfilter/ipvs/ip_vs_core.c, ip_vs_in_icmp), and an endpoint that does not get it sends the same packet for ever
// (kube-router#685). A match on a set of front ends would take its type and code for the port
// (net/netfilter/ipset/ip_set_getport.c). INPUT has let the connection in, whatever serves it. A redirect would change
// the node's own routes.
func (r ruler) accept() []Rule {
	rules := []Rule{
		rule(accept, r.in(SetFrontEnd, ByDestinationPort)),
		rule(accept, Protocol{cluster.TCP}, r.in(SetHealthChecks, ByDestination)),
	}
	if r.config.AnswerPing {
		rules = append(rules, rule(accept, Ping{}, r.in(SetVIP, ByDestination)))
	}
	return append(rules, rule(accept, RouterError{}, Connection{State: Related, Original: true}))
}

// hooks returns the jumps from the built-in chains of one family.
func hooks(c Config, family cluster.Family) []Hook {
	hook := func(table, builtin string, match HookMatch, chain, comment string) Hook {
		return Hook{
			Chain: ChainID{Family: family, Table: table, Name: chain}, Builtin: builtin, Match: match, Comment: comment,
		}
	}
	all := HookMatch{}
	hooks := []Hook{
		hook("nat", "PREROUTING", all, ChainServices, "ipvs-proxier: clients to masquerade"),
		hook("nat", "OUTPUT", all, ChainServices, "ipvs-proxier: clients to masquerade"),
		hook("nat", "POSTROUTING", all, ChainPostrouting, "ipvs-proxier: masquerade"),
		hook("filter", "FORWARD", HookMatch{Connection: established}, ChainReplies, "ipvs-proxier: replies"),
		hook("filter", "INPUT", HookMatch{Via: fromItself, Connection: unestablished}, ChainInput,
			"ipvs-proxier: no other ports on service addresses"),
		hook("filter", "INPUT", HookMatch{Via: fromOthers, Connection: opening}, ChainInput,
			"ipvs-proxier: no other ports on service addresses"),
		hook("filter", "INPUT", HookMatch{Connection: opening}, ChainAccept, "ipvs-proxier: service addresses are open"),
		hook("mangle", "OUTPUT", HookMatch{Connection: opening}, ChainOutput, "ipvs-proxier: who may not reach a service"),
	}
	return slices.DeleteFunc(hooks, func(h Hook) bool { return c.Facts.OwnTables && opens(h.Chain) })
}
