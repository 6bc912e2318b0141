package dataplane

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Verb is what an operation does with its object.
type Verb uint8

// The verbs. Update changes in place: the kernel keeps the connections of a virtual or real server that is updated.
// Renew is for real servers: it deletes and adds one at a stroke, so that it is the first of the kernel's list and its
// connections go on; and for sets, which lose their entries by it.
const (
	Create Verb = iota + 1
	Update
	Delete
	Renew
)

// String returns the verb's name, which is also its metric label.
func (v Verb) String() string {
	switch v {
	case Create:
		return "create"
	case Update:
		return "update"
	case Delete:
		return "delete"
	case Renew:
		return "renew"
	}
	return fmt.Sprintf("verb(%d)", uint8(v))
}

// Kind names the sorts of objects, in the order in which a dataplane is built up.
type Kind uint8

// The kinds.
const (
	KindLink Kind = iota + 1
	KindSysctl
	KindSet
	KindEntry
	KindChain
	KindHook
	KindVirtualServer
	KindRealServer
	KindAddress
	KindRoute
)

var kindNames = [...]string{
	KindLink: "link", KindSysctl: "sysctl", KindSet: "set", KindEntry: "entry", KindChain: "chain", KindHook: "hook",
	KindVirtualServer: "virtual-server", KindRealServer: "real-server", KindAddress: "address", KindRoute: "route",
}

// String returns the kind's name, which is also its metric label.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Object is one thing in the kernel: exactly the types of this file.
type Object interface {
	Kind() Kind
	// String names the object for people: key and value in the words of the tool that shows it (ipvsadm, ipset,
	// iptables).
	String() string
}

// Op is a verb and its object, nothing more. A Delete needs only the identifying fields of the object.
type Op struct {
	Verb   Verb
	Object Object
}

// String returns for example "create virtual-server tcp 10.96.0.10:53 rr".
func (o Op) String() string { return fmt.Sprintf("%s %s %s", o.Verb, o.Object.Kind(), o.Object) }

// Link is the dummy link, which carries the VIPs that are addresses. There is one; it is created without being set up,
// as kube-proxy does.
type Link struct{ Name string }

// Sysctl is a kernel parameter with its value, both as text; the name is written with dots ("net.ipv4.vs.conntrack").
// The timeouts of IPVS, which are no files of /proc/sys but are read and written over netlink, count as parameters too.
type Sysctl struct{ Name, Value string }

// SysctlChange is a parameter that was changed. Old is empty when it was not there, or not known.
type SysctlChange struct{ Name, Old, New string }

// The names of IPVS's timeouts (ipvsadm --set); their values are whole seconds above 0.
const (
	SysctlTCPTimeout    = "ipvs.timeout.tcp"
	SysctlTCPFinTimeout = "ipvs.timeout.tcpfin"
	SysctlUDPTimeout    = "ipvs.timeout.udp"
)

// Set is a set of our own.
type Set struct{ ipset.Set }

// SetEntry is one entry of one of our sets. Type is the set's type, by which the entry is encoded; one set name never
// stands for two types, so that comparing SetEntries with == is sound.
type SetEntry struct {
	Set   string
	Type  ipset.Type
	Entry ipset.Entry
}

// ChainID names a chain: family, table ("nat" or "filter") and name.
type ChainID struct {
	Family cluster.Family
	Table  string
	Name   string
}

// Chain is a chain of our own with its whole content. It is created and updated as a whole, atomically.
type Chain struct {
	ID    ChainID
	Rules []Rule
	// Sets are the names of the sets that the rules refer to: they must exist before the chain does.
	Sets []string
	// Jumps are the own chains that the rules jump to: they must exist before, too.
	Jumps []string
}

// Hook is the jump from a built-in chain to one of ours. It is inserted at the top of the built-in chain, unless it is
// [Hook.Last].
type Hook struct {
	Chain   ChainID // the target
	Builtin string  // "PREROUTING", ...
	Match   HookMatch
	Comment string
}

// HookMatch is what packets must be like to be led to a chain of ours. The zero value is all of them.
type HookMatch struct {
	Via        Via
	Connection Connection
	// Unknown, where set, is instead what a backend has read and does not write.
	Unknown string
}

// Last says that the hook belongs at the end of the built-in chain, behind the operator's own rules.
func (h Hook) Last() bool { return h.Chain.Name == ChainAccept }

// VirtualServerID identifies a virtual server in the kernel: address, port and protocol.
type VirtualServerID struct {
	Addr     netip.Addr
	Port     uint16
	Protocol cluster.Protocol
}

// VirtualServer is what is configured for a virtual server. Comparing two of them is the business of diff.go. There are
// three of each in memory, in what a Service wants, what all want and the mirror: the order of the fields leaves no
// gaps.
type VirtualServer struct {
	// Scheduler is the kernel's name of the scheduler.
	Scheduler string
	// RealServers are in the order of the kernel's list, without duplicates, and never changed in place: States share
	// them.
	RealServers []RealServer
	// Flags are scheduler flags only; Timeout says whether there is persistence.
	Flags scheduler.Flags
	// Timeout is the persistence timeout (session affinity) in seconds, 0 for none.
	Timeout uint32
	// OnePacket schedules every datagram by itself, and keeps no connections.
	OnePacket bool
	// List says how they are to be arranged, for a virtual server that is wanted.
	List List
}

// RealServer is one destination of a virtual server; forwarding is always masquerading (NAT).
type RealServer struct {
	Addr netip.Addr
	Port uint16
	// Foreign says that the kernel's real server has something which we never set: another forwarding method. A wanted
	// one is never Foreign, so that it is updated to what is wanted.
	Foreign bool
	Weight  uint32
	// Upper is the number of connections from which on it gets no new ones, Lower that at which it does again; 0 is no
	// limit.
	Upper, Lower uint32
}

func (r RealServer) endpoint() netip.AddrPort { return netip.AddrPortFrom(r.Addr, r.Port) }

// VirtualServerObject is a virtual server as the object of an operation, without its real servers.
type VirtualServerObject struct {
	ID        VirtualServerID
	Scheduler string
	Flags     scheduler.Flags
	OnePacket bool
	Timeout   uint32
}

// RealServerObject is a real server as the object of an operation.
type RealServerObject struct {
	VirtualServer VirtualServerID
	RealServer
}

// Address is an address on the dummy link, with the full prefix length and, for IPv6, without duplicate address
// detection.
type Address struct{ netip.Addr }

// Route is a local route of one VIP, in the table of local routes and distinguished from others' by its protocol. It
// lies on the loopback link, because on a dummy link that is down IPv6 routes are refused (ENETDOWN) and because the
// kernel flushes all IPv4 routes of a link with the link's last address (net/ipv4/fib_frontend.c, fib_inetaddr_event,
// Linux 6.1), which is what a change from addresses to routes deletes.
type Route struct {
	netip.Addr
	// Source is the preferred source of the node's own clients; invalid is none.
	Source netip.Addr
}

// Kind returns KindLink.
func (Link) Kind() Kind { return KindLink }

// Kind returns KindSysctl.
func (Sysctl) Kind() Kind { return KindSysctl }

// Kind returns KindSet.
func (Set) Kind() Kind { return KindSet }

// Kind returns KindEntry.
func (SetEntry) Kind() Kind { return KindEntry }

// Kind returns KindChain.
func (Chain) Kind() Kind { return KindChain }

// Kind returns KindHook.
func (Hook) Kind() Kind { return KindHook }

// Kind returns KindVirtualServer.
func (VirtualServerObject) Kind() Kind { return KindVirtualServer }

// Kind returns KindRealServer.
func (RealServerObject) Kind() Kind { return KindRealServer }

// Kind returns KindAddress.
func (Address) Kind() Kind { return KindAddress }

// Kind returns KindRoute.
func (Route) Kind() Kind { return KindRoute }

func (l Link) String() string     { return l.Name }
func (s Sysctl) String() string   { return s.Name + "=" + s.Value }
func (e SetEntry) String() string { return e.Set + " " + e.Entry.Text(e.Type) }
func (c ChainID) String() string  { return fmt.Sprintf("%s %s %s", c.Family, c.Table, c.Name) }
func (c Chain) String() string    { return c.ID.String() }

// String returns for example "10.96.0.1 source 192.168.50.1".
func (r Route) String() string {
	if !r.Source.IsValid() {
		return r.Addr.String()
	}
	return r.Addr.String() + " source " + r.Source.String()
}

// String returns for example "ipv4 nat OUTPUT -> IPVSP-SERVICES", or "ipv4 filter FORWARD (related or established) ->
// IPVSP-REPLIES".
func (h Hook) String() string {
	if h.Match != (HookMatch{}) {
		return fmt.Sprintf("%s %s %s (%s) -> %s", h.Chain.Family, h.Chain.Table, h.Builtin, h.Match, h.Chain.Name)
	}
	return fmt.Sprintf("%s %s %s -> %s", h.Chain.Family, h.Chain.Table, h.Builtin, h.Chain.Name)
}

// String returns for example "tcp 10.96.0.1:443".
func (id VirtualServerID) String() string {
	return id.Protocol.String() + " " + netip.AddrPortFrom(id.Addr, id.Port).String()
}

func (v VirtualServerObject) String() string {
	return v.ID.String() + " " + configText(v.Scheduler, v.Flags, v.OnePacket, v.Timeout)
}

func configText(name string, flags scheduler.Flags, onePacket bool, timeout uint32) string {
	parts := []string{name}
	if flags != 0 {
		parts = append(parts, "flags "+flags.String())
	}
	if onePacket {
		parts = append(parts, "one-packet")
	}
	if timeout != 0 {
		parts = append(parts, fmt.Sprintf("persistent %d", timeout))
	}
	return strings.Join(parts, " ")
}

func (r RealServerObject) String() string {
	return r.VirtualServer.String() + " -> " + r.RealServer.String()
}

// String returns for example "10.244.1.7:8080 weight 1".
func (r RealServer) String() string {
	text := fmt.Sprintf("%s weight %d", netip.AddrPortFrom(r.Addr, r.Port), r.Weight)
	if r.Upper != 0 || r.Lower != 0 {
		text += fmt.Sprintf(" connections %d/%d", r.Upper, r.Lower)
	}
	if r.Foreign {
		text += " (changed by others)"
	}
	return text
}
