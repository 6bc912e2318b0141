package dataplane

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// State is what a kernel holds for us, or should hold. A nil map reads as an empty one; [NewState] makes them all.
type State struct {
	Links   map[string]struct{}
	Sysctls map[string]string
	Sets    map[string]ipset.Set
	Entries Entries
	Chains  map[ChainID]Chain
	Hooks   map[Hook]struct{}
	// Closed are the families in which the node takes in nothing that no rule accepts: filter INPUT has another policy
	// than ACCEPT. It is the operator's, and reported by the kernel only.
	Closed         map[cluster.Family]struct{}
	VirtualServers map[VirtualServerID]VirtualServer
	Addresses      map[netip.Addr]struct{}
	// Routes are the local routes of VIPs, each with its preferred source.
	Routes map[netip.Addr]netip.Addr

	// serversAt counts the virtual servers of each address, so that order.go can determine at once whether an address
	// still has one. It is nil in a State that is wanted and that no kernel has, where nothing reads it.
	serversAt map[netip.Addr]int
}

// NewState returns an empty State.
func NewState() *State { return NewStateFor(0, 0, 0) }

// NewStateFor returns an empty State with room for so many virtual servers, entries and addresses.
func NewStateFor(servers, entries, addresses int) *State {
	return &State{
		Links:          map[string]struct{}{},
		Sysctls:        map[string]string{},
		Sets:           map[string]ipset.Set{},
		Entries:        NewEntries(entries),
		Chains:         map[ChainID]Chain{},
		Hooks:          map[Hook]struct{}{},
		Closed:         map[cluster.Family]struct{}{},
		VirtualServers: make(map[VirtualServerID]VirtualServer, servers),
		Addresses:      make(map[netip.Addr]struct{}, addresses),
		Routes:         map[netip.Addr]netip.Addr{},
		serversAt:      make(map[netip.Addr]int, min(servers, addresses)),
	}
}

// Reserve makes room for n virtual servers more, each with an address of its own: a map that grows as it is filled is
// copied again and again.
func (s *State) Reserve(n int) {
	s.VirtualServers = withRoom(s.VirtualServers, n)
	s.Addresses = withRoom(s.Addresses, n)
	if s.serversAt != nil {
		s.serversAt = withRoom(s.serversAt, n)
	}
	s.Entries.ours4 = withRoom(s.Entries.ours4, 2*n)
}

// withRoom returns the map with room for n keys more.
func withRoom[K comparable, V any](m map[K]V, n int) map[K]V {
	roomy := make(map[K]V, len(m)+n)
	maps.Copy(roomy, m)
	return roomy
}

// Observation is what a kernel adapter read from the kernel.
type Observation struct {
	// State is what is ours: our link with its addresses, our routes, the sets and chains with our prefix and their
	// hooks, the sysctls that we manage, and the virtual servers that are ours.
	State *State
	// Foreign are virtual servers that are not ours. They are reported and never touched.
	Foreign map[VirtualServerID]VirtualServer
	// NodeAddresses are the addresses of all links but ours, without loopback and IPv6 link-local ones, sorted: where
	// node ports are served.
	NodeAddresses []netip.Addr
	// Broadcasts are the IPv4 broadcast addresses of the node's networks, without loopback ones, sorted: none of them
	// can be an endpoint.
	Broadcasts []netip.Addr
	// Listeners are the sockets of the node that wait for clients; nil where the kernel cannot report them.
	Listeners []Listener
	// Captures are rules of others that take packets away before IPVS sees them; UnreadRules says why some could not be
	// read.
	Captures    Captures
	UnreadRules []string
	// Connections is how many connections all real servers have together, those of Foreign included.
	Connections int
}

// Listener is a socket that waits for clients.
type Listener struct {
	Protocol cluster.Protocol
	// Addr is unspecified for all addresses; the unspecified one of IPv6 stands for those of IPv4 as well.
	Addr netip.Addr
	Port uint16
}

// Hears reports whether the socket would get what comes for the front end if that were none.
func (l Listener) Hears(id VirtualServerID) bool {
	return l.Protocol == id.Protocol && l.Port == id.Port &&
		(l.Addr == id.Addr || l.Addr.IsUnspecified() && (l.Addr.Is6() || id.Addr.Is4()))
}

// Connections are what the kernel counts for one real server: Active are established TCP connections (for UDP always
// 0), Inactive all others that its connection table still knows, such as those in FIN_WAIT.
type Connections struct {
	Addr             netip.Addr
	Port             uint16
	Active, Inactive uint32
}

// Apply makes in s the change that the kernel made when it carried out op without an error.
func (s *State) Apply(op Op) {
	gone := op.Verb == Delete
	switch o := op.Object.(type) {
	case Link:
		put(s.Links, o.Name, struct{}{}, gone)
		if gone {
			clear(s.Addresses) // the kernel drops a link's addresses with it
		}
	case Sysctl:
		put(s.Sysctls, o.Name, o.Value, gone)
	case Set:
		s.applySets([]Op{op})
	case SetEntry:
		if gone {
			s.Entries.Drop(o)
		} else {
			s.Entries.Put(o)
		}
	case Chain:
		put(s.Chains, o.ID, o, gone)
	case Hook:
		put(s.Hooks, o, struct{}{}, gone)
	case VirtualServerObject:
		s.applyVirtualServer(o, gone)
	case RealServerObject:
		s.applyRealServer(o, op.Verb)
	case Address:
		put(s.Addresses, o.Addr, struct{}{}, gone)
	case Route:
		put(s.Routes, o.Addr, o.Source, gone)
	}
}

func put[K comparable, V any](m map[K]V, key K, value V, gone bool) {
	if gone {
		delete(m, key)
	} else {
		m[key] = value
	}
}

// SetVirtualServer puts a virtual server with its real servers into s.
func (s *State) SetVirtualServer(id VirtualServerID, v VirtualServer) {
	if _, present := s.VirtualServers[id]; !present && s.serversAt != nil {
		s.serversAt[id.Addr]++
	}
	s.VirtualServers[id] = v
}

// DropVirtualServer takes a virtual server with its real servers out of s.
func (s *State) DropVirtualServer(id VirtualServerID) {
	if _, present := s.VirtualServers[id]; !present {
		return
	}
	delete(s.VirtualServers, id)
	if s.serversAt == nil {
		return
	}
	if s.serversAt[id.Addr]--; s.serversAt[id.Addr] == 0 {
		delete(s.serversAt, id.Addr)
	}
}

func (s *State) applyVirtualServer(o VirtualServerObject, gone bool) {
	if gone {
		s.DropVirtualServer(o.ID)
		return
	}
	v := s.VirtualServers[o.ID]
	v.Scheduler, v.Flags, v.OnePacket, v.Timeout = o.Scheduler, o.Flags, o.OnePacket, o.Timeout
	s.SetVirtualServer(o.ID, v)
}

// applyRealServer puts a new or renewed real server at the head of the list, as the kernel does
// (net/netfilter/ipvs/ip_vs_ctl.c, __ip_vs_update_dest, Linux 6.12).
func (s *State) applyRealServer(o RealServerObject, verb Verb) {
	v, present := s.VirtualServers[o.VirtualServer]
	if !present {
		return // its virtual server went away: the kernel took the real servers along
	}
	at := index(v.RealServers, o.RealServer)
	if verb == Update && at >= 0 {
		v.RealServers = slices.Clone(v.RealServers)
		v.RealServers[at] = o.RealServer
		s.VirtualServers[o.VirtualServer] = v
		return
	}
	list := make([]RealServer, 0, len(v.RealServers)+1)
	if verb != Delete {
		list = append(list, o.RealServer)
	}
	for i, r := range v.RealServers {
		if i != at {
			list = append(list, r)
		}
	}
	v.RealServers = list
	s.VirtualServers[o.VirtualServer] = v
}

// CompareEndpoint orders real servers by address and port, whatever their weight.
func CompareEndpoint(a, b RealServer) int {
	if c := a.Addr.Compare(b.Addr); c != 0 {
		return c
	}
	return int(a.Port) - int(b.Port)
}

// Clone returns a State that shares nothing with s that is ever changed. It may stand for what a kernel has, whatever s
// is.
func (s *State) Clone() *State {
	clone := &State{
		Links:          maps.Clone(s.Links),
		Sysctls:        maps.Clone(s.Sysctls),
		Sets:           maps.Clone(s.Sets),
		Entries:        s.Entries.Clone(),
		Chains:         maps.Clone(s.Chains),
		Hooks:          maps.Clone(s.Hooks),
		Closed:         maps.Clone(s.Closed),
		VirtualServers: maps.Clone(s.VirtualServers),
		Addresses:      maps.Clone(s.Addresses),
		Routes:         maps.Clone(s.Routes),
		serversAt:      make(map[netip.Addr]int, len(s.Addresses)),
	}
	for id := range clone.VirtualServers {
		clone.serversAt[id.Addr]++
	}
	return clone
}

// SameFoundation reports whether both have the same links, sysctls, sets, chains and hooks, and are closed alike.
func (s *State) SameFoundation(other *State) bool {
	return maps.Equal(s.Closed, other.Closed) && maps.Equal(s.Links, other.Links) &&
		maps.Equal(s.Sysctls, other.Sysctls) && maps.Equal(s.Sets, other.Sets) && maps.Equal(s.Hooks, other.Hooks) &&
		maps.EqualFunc(s.Chains, other.Chains,
			func(a, b Chain) bool { return slices.EqualFunc(a.Rules, b.Rules, Rule.Equal) })
}
