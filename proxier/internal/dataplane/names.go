package dataplane

import (
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Prefix begins the name of every set and chain that is ours. Ownership of sets and chains is this prefix.
const Prefix = "IPVSP-"

// DefaultLink is the name of the dummy link unless a flag changes it: kube-proxy's, which other node agents know to
// leave alone.
const DefaultLink = "kube-ipvs0"

// The sets. IPv6 sets carry prefix6 in the place of Prefix. SetFrontEnd is the ledger of the virtual servers that are
// ours, kept where it cannot get lost: in the kernel. One look at it says what is no Service's.
const (
	SetFrontEnd   = Prefix + "FRONT-END"   // all front ends: address, protocol and port
	SetNodePort   = Prefix + "NODE-PORT"   // those of them that are node ports
	SetExternalIP = Prefix + "EXTERNAL-IP" // those of them on external and load balancers' addresses
	SetLocal      = Prefix + "LOCAL"       // those of the latter two kinds whose externalTrafficPolicy is Local

	SetHairpin      = Prefix + "HAIRPIN"       // endpoint address, protocol and port, and the same address as source
	SetVIP          = Prefix + "VIP"           // addresses on the dummy link, or with a route of ours
	SetPodNet       = Prefix + "POD-NET"       // the networks of the pods
	SetHold         = Prefix + "HOLD"          // front ends whose scheduler is being exchanged: new connections wait
	SetNoLocal      = Prefix + "NO-LOCAL"      // front ends of SetLocal whose endpoints are all on other nodes
	SetRestricted   = Prefix + "RESTRICTED"    // load balancer's front ends that only SetClients may reach
	SetClients      = Prefix + "CLIENTS"       // front end and network of clients
	SetHealthChecks = Prefix + "HEALTH-CHECKS" // healthCheckNodePorts

	prefix6        = Prefix + "6-"
	setHold6       = prefix6 + "HOLD"
	setRestricted6 = prefix6 + "RESTRICTED"
)

// setTypes are the types of the sets.
var setTypes = map[string]ipset.Type{
	SetFrontEnd:     ipset.HashIPPort,
	SetNodePort:     ipset.HashIPPort,
	SetExternalIP:   ipset.HashIPPort,
	SetLocal:        ipset.HashIPPort,
	SetHairpin:      ipset.HashIPPortIP,
	SetVIP:          ipset.HashIP,
	SetPodNet:       ipset.HashNet,
	SetHold:         ipset.HashIPPort,
	SetNoLocal:      ipset.HashIPPort,
	SetRestricted:   ipset.HashIPPort,
	SetClients:      ipset.HashIPPortNet,
	SetHealthChecks: ipset.BitmapPort,
}

// The chains; the same names in both families.
const (
	ChainServices    = Prefix + "SERVICES"    // nat: which clients are masqueraded
	ChainMarkMasq    = Prefix + "MARK-MASQ"   // nat: sets the mark
	ChainMasquerade  = Prefix + "MASQUERADE"  // nat: masquerades
	ChainPostrouting = Prefix + "POSTROUTING" // nat: masquerades what is marked, and hairpins
	ChainReplies     = Prefix + "REPLIES"     // filter: lets answers of endpoints through
	ChainNoComeback  = Prefix + "NO-COMEBACK" // nat: answers by which a client that was cut off would come back
	ChainInput       = Prefix + "INPUT"       // filter: new connections to front ends and to VIPs
	ChainFrontEnd    = Prefix + "FRONT-END"   // filter and mangle: which clients may not open a connection to a front end
	ChainClosed      = Prefix + "CLOSED"      // filter: a VIP has no other ports than its front ends'
	ChainAccept      = Prefix + "ACCEPT"      // filter: front ends are open where nothing before has closed them
	ChainOutput      = Prefix + "OUTPUT"      // mangle: as INPUT, for the node's own clients
	ChainClients     = Prefix + "CLIENTS"     // filter and mangle: only SetClients get through
)

// SetName returns the name of a set in a family. The longest is IPVSP-6-HEALTH-CHECKS with 21 of the 31 bytes allowed.
func SetName(name string, family cluster.Family) string {
	if family == cluster.IPv6 {
		return prefix6 + strings.TrimPrefix(name, Prefix)
	}
	return name
}

// frontEndEntry returns the entry of a front end in one of the front-end sets.
func frontEndEntry(set string, id VirtualServerID) SetEntry {
	return SetEntry{
		Set:   SetName(set, cluster.FamilyOf(id.Addr)),
		Type:  ipset.HashIPPort,
		Entry: ipset.Entry{Addr: id.Addr, Protocol: id.Protocol, Port: id.Port},
	}
}

// kindSets hold front ends of one kind. Until SetFrontEnd came they were the ledger of what is not on an address of
// ours.
var kindSets = [...]string{SetNodePort, SetExternalIP, SetLocal}

// Owns reports whether the virtual server is ours, seen from the kernel alone: its address is on our link or has a
// route of ours, or it is recorded, be it by a version that had no SetFrontEnd.
func (s *State) Owns(id VirtualServerID) bool {
	if s.Local(id.Addr) || s.Recorded(id) {
		return true
	}
	for _, set := range kindSets {
		if s.Entries.Has(frontEndEntry(set, id)) {
			return true
		}
	}
	return false
}

// Recorded reports whether the virtual server stands in the ledger, which is filled before a virtual server is made and
// emptied after it is gone.
func (s *State) Recorded(id VirtualServerID) bool {
	return s.Entries.Has(frontEndEntry(SetFrontEnd, id))
}
