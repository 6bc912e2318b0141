package dataplane

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
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

// notIn returns the match of packets that are not in a set, as iptables prints it.
func (r ruler) notIn(set, directions string) string {
	return "-m set ! --match-set " + SetName(set, r.family) + " " + directions
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
		r.chain("nat", ChainNoComeback, r.noComeback()...),
		r.chain("nat", ChainPostrouting, r.postrouting()...),
		r.chain("filter", ChainClients, r.clients()...),
		// Answers of real servers pass FORWARD, requests do not: IPVS takes those at LOCAL_IN. The hook says which packets
		// are answers. Up to now a chain IPVSP-FORWARD said it; a chain of that name without a match would let everything
		// through while the hook of that time is there.
		r.chain("filter", ChainReplies, "-j ACCEPT"),
		r.chain("filter", ChainFrontEnd, append(r.limits(), "-m conntrack --ctstate NEW "+r.match(SetNoLocal, "dst,dst")+r.notPods()+" -j DROP")...),
		r.chain("filter", ChainClosed, r.closed()...),
		r.chain("filter", ChainInput,
			r.match(SetFrontEnd, "dst,dst")+" -g "+ChainFrontEnd,
			r.match(SetVIP, "dst")+" -g "+ChainClosed,
		),
		r.chain("filter", ChainAccept, r.accept()...),
		r.chain("mangle", ChainClients, r.clients()...),
		r.chain("mangle", ChainFrontEnd, r.limits()...),
		r.chain("mangle", ChainOutput, r.match(SetFrontEnd, "dst,dst")+" -j "+ChainFrontEnd),
	}
}

// The matches that hooks carry, so that a packet that is nobody's business costs one of them and no jump. They read
// fields of the packet's connection, where a match of a set computes a hash and walks a bucket.
const (
	established   = "-m conntrack --ctstate RELATED,ESTABLISHED"
	unestablished = "-m conntrack ! --ctstate RELATED,ESTABLISHED"
	// opening matches packets of no connection, and the first ones of connections that nothing has let through yet. A
	// connection is confirmed when its first packet leaves the last hook (net/netfilter/nf_conntrack_core.c,
	// __nf_conntrack_confirm); a packet that was dropped before, by a rule or by IPVS, leaves the next one unconfirmed.
	// The state alone would take each packet of a flow that nobody answers for a new one: VXLAN, syslog, statsd. A packet
	// without a connection passes the first condition, and the second is not asked (net/netfilter/xt_conntrack.c).
	opening = unestablished + " ! --ctstatus CONFIRMED"
	// What the node sends itself was confirmed when it left, and comes in by this link.
	fromItself, fromOthers = "-i lo ", "! -i lo "
)

func (r ruler) mark() string {
	return fmt.Sprintf("%#x/%#x", r.config.MasqueradeMark, r.config.MasqueradeMark)
}

// masquerade keeps the source ports out of the node ports, where the protocol has ports.
func (r ruler) masquerade() []string {
	random := ""
	if r.config.randomPorts() {
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

// randomPorts tells whether masquerading is to give each connection a random port. Without it the client's port is kept
// where it is within MasqueradePorts and free, and a random one taken where it is not (net/netfilter/nf_nat_core.c,
// get_unique_tuple, from Linux 5.1 on; before, two processors could search from the same port on, and one of the
// connections was lost: kubernetes#56903). A kept port is what makes short connections live: an endpoint drops the
// first packet of a connection whose port it has in TIME_WAIT with a younger timestamp, and from Linux 6.12 on
// timestamps differ from port to port, so that they only grow for one client on one port.
func (c Config) randomPorts() bool {
	return c.Facts.RandomFully && !c.Facts.KernelAtLeast(5, 1)
}

// services marks the clients that are to be masqueraded.
func (r ruler) services() []string {
	rules := []string{
		// All that is no Service's leaves here.
		r.notIn(SetFrontEnd, "dst,dst") + " -j RETURN",
		"-s " + r.family4or6("127.0.0.0/8", "::1/128") + " -j RETURN",
		// With the policy Local clients keep their address, but the node's own could not be answered by other nodes: a
		// VIP, which is their address, is local there too.
		r.match(SetLocal, "dst,dst") + " -m addrtype ! --src-type LOCAL -j ACCEPT",
		r.match(SetNodePort, "dst,dst") + " -j " + ChainMarkMasq,
		r.match(SetExternalIP, "dst,dst") + " -j " + ChainMarkMasq,
	}
	for _, match := range r.clientMatches() {
		rules = append(rules, match+"-j "+ChainMarkMasq)
	}
	// Nobody else's DNAT may take what is for a virtual server.
	return append(rules, "-j ACCEPT")
}

// clientMatches returns the matches for clients of a ClusterIP that are to be masqueraded, each with a blank behind it
// unless it is empty.
func (r ruler) clientMatches() []string {
	if r.config.MasqueradeAll {
		return []string{""}
	}
	var matches []string
	if others := r.notPods(); others != "" {
		matches = append(matches, strings.TrimPrefix(others, " ")+" ")
	}
	// The node's own clients have the VIP itself as their source, or with a route an address of the node, which may lie
	// in the pods' network. Their packets come in by no link, so that nothing is to be added where the link tells.
	if pods := r.config.Pods; pods.Bridge == "" && pods.InterfacePrefix == "" {
		matches = append(matches, "-m addrtype --src-type LOCAL ")
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
			return " " + r.notIn(SetPodNet, "src")
		}
	}
	return ""
}

// postrouting masquerades what IPVS has sent on, and nothing else: whoever asks an endpoint straight keeps address and
// port. IPVS sets the bit that the match reads on each packet that it changes (include/linux/skbuff.h, ipvs_property).
func (r ruler) postrouting() []string {
	var rules []string
	if r.config.Facts.IPVSMatch {
		rules = append(rules, "-m ipvs ! --ipvs -j RETURN")
	}
	return append(rules,
		// A pod that reaches itself through a Service would answer itself directly.
		r.match(SetHairpin, "dst,dst,src")+" -j "+ChainMasquerade,
		r.match(SetRestricted, "src,src")+" -g "+ChainNoComeback,
		"-m mark ! --mark "+r.mark()+" -j RETURN",
		// The mark is cleared, so that a packet that passes again (IPsec, tunnels) is not masqueraded twice.
		"-j MARK --set-xmark "+fmt.Sprintf("0x0/%#x", r.config.MasqueradeMark),
		"-j "+ChainMasquerade,
	)
}

// noComeback is for an answer of a restricted front end that begins a conntrack entry, because the one of its
// connection was forgotten ([Cutoff]). The entry would let the client's packets through as replies of an open
// connection. With another source port than the front end's they are none, and are judged as what they are, the first
// ones of a new connection.
func (r ruler) noComeback() []string {
	return []string{r.match(SetClients, "src,src,dst") + " -j RETURN", "-j " + ChainMasquerade}
}

// clients lets the clients of a restricted front end through.
func (r ruler) clients() []string {
	return []string{r.match(SetClients, "dst,dst,src") + " -j RETURN", "-j DROP"}
}

// limits are the rules that say who may not open a connection to a front end. They stand where packets have not been to
// IPVS yet: in the filter's INPUT, and for the node's own clients in mangle's OUTPUT (IPVS takes those ahead of the
// filter).
func (r ruler) limits() []string {
	return []string{
		// While its scheduler is exchanged a virtual server refuses new connections (diff.go); a client whose first
		// packet is lost tries again after a second.
		"-m conntrack --ctstate NEW " + r.match(SetHold, "dst,dst") + " -j DROP",
		r.match(SetRestricted, "dst,dst") + " -j " + ChainClients,
	}
}

// closed is for what is no Service port of a VIP. It is a local address, whose other ports must not reach the node's
// own sockets (kubernetes#72236). Packets that are not tracked, such as those by which IPv6 finds neighbours, are let
// through.
func (r ruler) closed() []string {
	rules := []string{"-p tcp " + r.match(SetHealthChecks, "dst") + " -j RETURN"}
	if r.config.AnswerPing {
		rules = append(rules, r.ping()+" -j RETURN")
	}
	return append(rules, "-m conntrack --ctstate NEW -j REJECT --reject-with "+r.family4or6("icmp-port-unreachable", "icmp6-port-unreachable"))
}

// accept opens front ends where INPUT's policy is to drop (kubernetes#98465), and lets in what routers say of their
// connections. It stands behind the operator's rules.
func (r ruler) accept() []string {
	rules := []string{
		r.match(SetFrontEnd, "dst,dst") + " -j ACCEPT",
		"-p tcp " + r.match(SetHealthChecks, "dst") + " -j ACCEPT",
	}
	if r.config.AnswerPing {
		rules = append(rules, r.ping()+" "+r.match(SetVIP, "dst")+" -j ACCEPT")
	}
	return append(rules, r.errors()+" -j ACCEPT")
}

// errors matches what routers say of answers to connections that clients have opened to this node, such as that a packet
// is too big for the path. It comes in for the node, because VIPs are local; IPVS sends it on to the endpoint behind
// INPUT (net/netfilter/ipvs/ip_vs_core.c, ip_vs_in_icmp), and an endpoint that does not hear of it sends the same packet
// for ever (kube-router#685). A set of front ends cannot be asked about it: it would take type and code for the port
// (net/netfilter/ipset/ip_set_getport.c). INPUT has let the connection in, whoever serves it. A redirect would change
// the node's own routes; conntrack calls it RELATED in IPv4 only.
func (r ruler) errors() string {
	return r.family4or6("-p icmp -m icmp ! --icmp-type 5", "-p ipv6-icmp") + " -m conntrack --ctstate RELATED --ctdir ORIGINAL"
}

func (r ruler) ping() string {
	return r.family4or6("-p icmp -m icmp --icmp-type 8", "-p ipv6-icmp -m icmp6 --icmpv6-type 128")
}

// hooks returns the jumps from the built-in chains of one family.
func hooks(family cluster.Family) []Hook {
	hook := func(table, builtin, match, chain, comment string) Hook {
		return Hook{Chain: ChainID{Family: family, Table: table, Name: chain}, Builtin: builtin, Match: match, Comment: comment}
	}
	return []Hook{
		hook("nat", "PREROUTING", "", ChainServices, "ipvs-proxier: clients to masquerade"),
		hook("nat", "OUTPUT", "", ChainServices, "ipvs-proxier: clients to masquerade"),
		hook("nat", "POSTROUTING", "", ChainPostrouting, "ipvs-proxier: masquerade"),
		hook("filter", "FORWARD", established, ChainReplies, "ipvs-proxier: replies"),
		hook("filter", "INPUT", fromItself+unestablished, ChainInput, "ipvs-proxier: no other ports on service addresses"),
		hook("filter", "INPUT", fromOthers+opening, ChainInput, "ipvs-proxier: no other ports on service addresses"),
		hook("filter", "INPUT", opening, ChainAccept, "ipvs-proxier: service addresses are open"),
		hook("mangle", "OUTPUT", opening, ChainOutput, "ipvs-proxier: who may not reach a service"),
	}
}
