package dataplane

import (
	"net/netip"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Config is the part of the configuration, and of what was found out about the kernel, on which the dataplane depends.
type Config struct {
	// Link is the name of the dummy link.
	Link string
	// VIPs says what makes VIPs local to the node.
	VIPs VIPMode
	// Families are the address families to serve: IPv4, IPv6 or both, in any order.
	Families []cluster.Family
	// Pods distinguishes clients that are pods from others. A client of a ClusterIP that is none is masqueraded.
	Pods Pods
	// MasqueradeAll masquerades every client of a ClusterIP.
	MasqueradeAll bool
	// MasqueradeMark is the one bit of the packet mark on which POSTROUTING masquerades.
	MasqueradeMark uint32
	// MasqueradePorts are the source ports that masquerading may take, first and last. A reply to a node port is taken
	// for a request to it where connection tracking has forgotten the connection, but each port less is a connection
	// less to one endpoint. Zero is no limit: 1024 to 65535, or below 1024 where the client's own port is.
	MasqueradePorts [2]uint16
	// NodePortAddresses limits node ports to the node's addresses in these networks, and NodePortsOnPrimary to
	// Node.Primary, or to both; neither is no limit.
	NodePortAddresses  []netip.Prefix
	NodePortsOnPrimary bool
	// AnswerPing lets the node answer echo requests to its service addresses.
	AnswerPing bool
	// StrictARP keeps the node from answering ARP for VIPs on other links.
	StrictARP bool
	// TCPTimeout, TCPFinTimeout and UDPTimeout are how long IPVS keeps idle connections, in whole seconds; 0 leaves the
	// kernel's.
	TCPTimeout, TCPFinTimeout, UDPTimeout time.Duration
	// Facts is what the kernel can do.
	Facts Facts
}

// Pods distinguishes pods by their network or by the link their packets come in by; the first field that is set counts.
// Without any only clients that use a VIP as their own address (those on the node itself) are masqueraded.
type Pods struct {
	// InterfacePrefix begins the names of the pods' links; Bridge is the link of all of them.
	InterfacePrefix, Bridge string
	// CIDRs are the networks of the pods. A family that has none is as without any field.
	CIDRs []netip.Prefix
}

// Facts is what was found out about this node's kernel and tools at start.
type Facts struct {
	// KernelMajor and KernelMinor are the kernel's version: 6 and 12 for 6.12.3.
	KernelMajor, KernelMinor int
	// RandomFully says that MASQUERADE knows --random-fully (iptables 1.6.2, Linux 3.13).
	RandomFully bool
	// IPVSMatch says that rules can match what IPVS has changed (with iptables by the module xt_ipvs, Linux 2.6.37).
	IPVSMatch bool
	// OwnTables says that rules are in tables of our own. To accept a packet there saves it from no rule of others.
	OwnTables bool
	// Schedulers are the kernel names of the schedulers that could be loaded.
	Schedulers []string
}

// KernelAtLeast compares the kernel's version.
func (f Facts) KernelAtLeast(major, minor int) bool {
	return f.KernelMajor > major || f.KernelMajor == major && f.KernelMinor >= minor
}

// Serves reports whether the family is configured.
func (c Config) Serves(family cluster.Family) bool {
	for _, f := range c.Families {
		if f == family {
			return true
		}
	}
	return false
}
