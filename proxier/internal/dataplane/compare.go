package dataplane

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

func compareString(a, b string) int   { return strings.Compare(a, b) }
func compareAddr(a, b netip.Addr) int { return a.Compare(b) }

// Compare orders virtual servers by address, port and protocol.
func (id VirtualServerID) Compare(other VirtualServerID) int {
	return cmp.Or(id.Addr.Compare(other.Addr), cmp.Compare(id.Port, other.Port), cmp.Compare(id.Protocol, other.Protocol))
}

func (e SetEntry) compare(other SetEntry) int {
	a, b := e.Entry, other.Entry
	return cmp.Or(strings.Compare(e.Set, other.Set), a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port),
		cmp.Compare(a.Protocol, b.Protocol), a.Peer.Compare(b.Peer), cmp.Compare(a.Bits, b.Bits))
}

// compare orders chains by family, table and name. A chain of ours that is jumped to sorts before the one that jumps
// (rules_test.go), so that this is also the order of creation, and its reverse the order of deletion.
func (c ChainID) compare(other ChainID) int {
	return cmp.Or(cmp.Compare(c.Family, other.Family), strings.Compare(c.Table, other.Table),
		strings.Compare(c.Name, other.Name))
}

func (h Hook) compare(other Hook) int {
	return cmp.Or(h.Chain.compare(other.Chain), strings.Compare(h.Builtin, other.Builtin), h.Match.compare(other.Match),
		strings.Compare(h.Comment, other.Comment))
}

// index returns the place of a real server in the list, -1 when it is not there.
func index(list []RealServer, r RealServer) int {
	return slices.IndexFunc(list, func(o RealServer) bool { return o.Addr == r.Addr && o.Port == r.Port })
}

// positions returns the places in the list.
func positions(list []RealServer) map[netip.AddrPort]int {
	at := make(map[netip.AddrPort]int, len(list))
	for i, r := range list {
		at[r.endpoint()] = i
	}
	return at
}

// Weights returns the weights of the real servers.
func (v VirtualServer) Weights() map[netip.AddrPort]uint32 {
	weights := make(map[netip.AddrPort]uint32, len(v.RealServers))
	for _, r := range v.RealServers {
		weights[r.endpoint()] = r.Weight
	}
	return weights
}

// Equal reports whether both say the same.
func (v VirtualServer) Equal(other VirtualServer) bool {
	return v.List == other.List && v.Same(other)
}

// Share gives the touched virtual servers of s the lists of other where they are equal, so that each list is in memory
// once.
func (s *State) Share(other *State, touched Touched) {
	for id := range touched.VirtualServers {
		mine, present := s.VirtualServers[id]
		theirs := other.VirtualServers[id]
		if present && len(mine.RealServers) > 0 && slices.Equal(mine.RealServers, theirs.RealServers) {
			mine.RealServers = theirs.RealServers
			s.VirtualServers[id] = mine
		}
	}
}

// Same reports whether the kernel has the same of both: the configuration, and the list of real servers.
func (v VirtualServer) Same(other VirtualServer) bool {
	return v.Scheduler == other.Scheduler && v.Flags == other.Flags && v.OnePacket == other.OnePacket &&
		v.Timeout == other.Timeout &&
		slices.Equal(v.RealServers, other.RealServers)
}
