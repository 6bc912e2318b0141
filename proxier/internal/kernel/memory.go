package kernel

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Memory is a kernel in memory that refuses what Linux refuses, with the same errnos. It passes the contract suite that
// Linux passes. Like Linux, it holds things that are not ours. Its fields are set while nobody reads beside it.
type Memory struct {
	mu    sync.Mutex // between operations and a Reader
	state *dataplane.State
	// Addresses are the node's addresses, as NodeAddresses returns them. SetAddresses changes them as Linux does.
	Addresses []netip.Addr
	// Broadcasts are the broadcast addresses of the node's networks. SetNetworks changes both as Linux does.
	Broadcasts []netip.Addr
	// KeepsSources says that an IPv6 route keeps its preferred source when the node loses that address, as up to Linux
	// 6.5. Else it has none from then on.
	KeepsSources bool
	// Listeners are the sockets that Observe shows.
	Listeners []dataplane.Listener
	// Captures and UnreadRules are what Observe shows of others' rules.
	Captures    dataplane.Captures
	UnreadRules []string
	// RulesChanged is what Glance returns as Rules.
	RulesChanged uint64
	// Busy holds the connections of real servers: what Connections returns. A real server that is not in it is idle.
	Busy map[dataplane.RealServerID]uint32
	// Flows are the entries of connection tracking: what Send makes, which is UDP, and Forget and CutOff delete.
	Flows []Flow
	// AfterEach, when set, is called after every operation that succeeded: tests check there what must hold at any
	// moment.
	AfterEach func(op dataplane.Op, now *dataplane.State)
	// Writes counts the operations that succeeded.
	Writes int
}

// NewMemory returns an empty kernel.
func NewMemory() *Memory {
	return &Memory{state: dataplane.NewState(), Busy: map[dataplane.RealServerID]uint32{}}
}

// State returns what the kernel holds, for tests to look at and to tamper with.
func (m *Memory) State() *dataplane.State { return m.state }

// Observe implements dataplane.Kernel.
func (m *Memory) Observe() (dataplane.Observation, error) {
	return m.observe(dataplane.AllParts, func(string) {}), nil
}

// observe reads these parts of the kernel, in the order in which Linux does. before is called before each.
func (m *Memory) observe(parts dataplane.Parts, before func(part string)) dataplane.Observation {
	seen := dataplane.Observation{
		State: dataplane.NewState(), Foreign: map[dataplane.VirtualServerID]dataplane.VirtualServer{},
	}
	s := seen.State
	for _, n := range m.Busy {
		seen.Connections += int(n)
	}
	var servers map[dataplane.VirtualServerID]dataplane.VirtualServer
	for _, part := range []struct {
		name string
		of   dataplane.Parts
		read func()
	}{
		{"sysctls", dataplane.PartSysctls, func() { s.Sysctls = maps.Clone(m.state.Sysctls) }},
		{"addresses", dataplane.PartAddresses, func() {
			s.Links, s.Addresses = maps.Clone(m.state.Links), maps.Clone(m.state.Addresses)
			seen.NodeAddresses = slices.Clone(m.Addresses)
			seen.Broadcasts = slices.Clone(m.Broadcasts)
			s.Routes = maps.Clone(m.state.Routes)
		}},
		{"sockets", dataplane.PartSockets, func() { seen.Listeners = slices.Clone(m.Listeners) }},
		{"sets", dataplane.PartSets, func() { s.Sets, s.Entries = maps.Clone(m.state.Sets), m.state.Entries.Clone() }},
		{"chains", dataplane.PartRules, func() {
			seen.Captures, seen.UnreadRules = m.Captures, slices.Clone(m.UnreadRules)
			s.Chains, s.Hooks, s.Closed = maps.Clone(m.state.Chains), maps.Clone(m.state.Hooks), maps.Clone(m.state.Closed)
		}},
		{"virtual servers", dataplane.PartServers, func() { servers = maps.Clone(m.state.VirtualServers) }},
	} {
		if !parts.Has(part.of) {
			continue
		}
		before(part.name)
		m.mu.Lock()
		part.read()
		m.mu.Unlock()
	}
	for id, v := range servers {
		if s.Owns(id) {
			s.SetVirtualServer(id, v)
		} else {
			seen.Foreign[id] = v
		}
	}
	return seen
}

// Reader returns a Reader of the kernel.
func (m *Memory) Reader() *MemoryReader { return &MemoryReader{memory: m} }

// MemoryReader reads a Memory in another goroutine.
type MemoryReader struct {
	memory *Memory
	// Before, when set, is called before each part of the kernel is read. A test changes the kernel in it, as other
	// programs do during a read.
	Before func(part string)
	// Overlooks, when set, says which virtual servers the kernel leaves out, as Linux does when others come and go.
	Overlooks func(dataplane.VirtualServerID) bool
}

// Summarize implements dataplane.Reader.
func (r *MemoryReader) Summarize(parts dataplane.Parts) (dataplane.Summary, error) {
	parts = parts.Complete()
	before := r.Before
	if before == nil {
		before = func(string) {}
	}
	seen := r.memory.observe(parts, before)
	sum := dataplane.Summary{Observation: seen, Parts: parts, Servers: map[dataplane.VirtualServerID]dataplane.Digest{}}
	for id, v := range seen.State.VirtualServers {
		if r.Overlooks == nil || !r.Overlooks(id) {
			sum.Servers[id] = v.Digest()
		}
		seen.State.DropVirtualServer(id)
	}
	return sum, nil
}

// Close implements dataplane.Reader.
func (r *MemoryReader) Close() error { return nil }

// VirtualServer implements dataplane.Kernel.
func (m *Memory) VirtualServer(id dataplane.VirtualServerID) (dataplane.VirtualServer, bool, error) {
	v, present := m.state.VirtualServers[id]
	return v, present, nil
}

// Glance implements dataplane.Kernel.
func (m *Memory) Glance(parts dataplane.Parts) (dataplane.Glance, error) {
	seen := dataplane.Glance{Entries: -1, Rules: m.RulesChanged}
	for id := range m.state.VirtualServers {
		if id.Addr.Is4() {
			seen.Servers++
		}
	}
	if parts.Has(dataplane.PartSets) {
		seen.Entries = m.state.Entries.Len()
	}
	return seen, nil
}

// NodeAddresses implements dataplane.Kernel.
func (m *Memory) NodeAddresses() (addresses, broadcasts []netip.Addr, err error) {
	return slices.Clone(m.Addresses), slices.Clone(m.Broadcasts), nil
}

// Connections implements dataplane.Kernel.
func (m *Memory) Connections(id dataplane.VirtualServerID) ([]dataplane.Connections, error) {
	var counts []dataplane.Connections
	for _, r := range m.state.VirtualServers[id].RealServers {
		busy := m.Busy[dataplane.RealServerID{VirtualServer: id, Endpoint: netip.AddrPortFrom(r.Addr, r.Port)}]
		counts = append(counts, dataplane.Connections{Addr: r.Addr, Port: r.Port, Active: busy})
	}
	return counts, nil
}

// Forget implements dataplane.Kernel.
func (m *Memory) Forget(flows map[dataplane.VirtualServerID][]netip.AddrPort) (deleted int, err error) {
	before := len(m.Flows)
	for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		frontEnds := udpFrontEnds(flows, family)
		m.Flows = slices.DeleteFunc(m.Flows, func(f Flow) bool { return f.stale(frontEnds) })
	}
	return before - len(m.Flows), nil
}

// CutOff implements dataplane.Kernel.
func (m *Memory) CutOff(allowed map[dataplane.VirtualServerID][]netip.Prefix) (deleted int, err error) {
	before := len(m.Flows)
	m.Flows = slices.DeleteFunc(m.Flows, func(f Flow) bool { return f.denied(allowed) })
	return before - len(m.Flows), nil
}

// Send sends a UDP datagram and returns who gets it, as Linux does with net.ipv4.vs.expire_nodest_conn=1. That is the
// real server of the flow: when the flow is new, the one with the lowest address. Where there is no virtual server, it
// is the address itself. Nobody gets the one datagram that finds the real server of its flow gone.
func (m *Memory) Send(client, to netip.AddrPort) (server netip.AddrPort, delivered bool) {
	v, served := m.state.VirtualServers[dataplane.VirtualServerID{Addr: to.Addr(), Port: to.Port(), Protocol: cluster.UDP}]
	has := func(server netip.AddrPort) bool {
		return slices.ContainsFunc(v.RealServers,
			func(r dataplane.RealServer) bool { return netip.AddrPortFrom(r.Addr, r.Port) == server })
	}
	at := slices.IndexFunc(m.Flows, func(f Flow) bool { return f.Client == client && f.FrontEnd == to })
	switch {
	case at >= 0 && m.Flows[at].Server != to && !has(m.Flows[at].Server):
		m.Flows = slices.Delete(m.Flows, at, at+1)
		return netip.AddrPort{}, false
	case at >= 0 && m.Flows[at].Server != to:
		return m.Flows[at].Server, true
	}
	server = to
	if served {
		ready := slices.DeleteFunc(slices.Clone(v.RealServers), func(r dataplane.RealServer) bool { return r.Weight == 0 })
		if len(ready) == 0 {
			return netip.AddrPort{}, false
		}
		first := slices.MinFunc(ready, dataplane.CompareEndpoint)
		server = netip.AddrPortFrom(first.Addr, first.Port)
	}
	if at < 0 {
		m.Flows = append(m.Flows, Flow{Protocol: cluster.UDP, Client: client, FrontEnd: to, Server: server, Answers: client})
	}
	return server, true
}

// Apply implements dataplane.Kernel.
func (m *Memory) Apply(ops []dataplane.Op) []error {
	errs := make([]error, len(ops))
	for i, op := range ops {
		if err := m.refuse(op); err != nil {
			errs[i] = fmt.Errorf("%s: %w", op, err)
			continue
		}
		m.mu.Lock()
		m.state.Apply(op)
		m.mu.Unlock()
		m.Writes++
		if m.AfterEach != nil {
			m.AfterEach(op, m.state)
		}
	}
	return errs
}

// refuse returns the errno with which Linux would refuse the operation.
func (m *Memory) refuse(op dataplane.Op) error {
	s := m.state
	switch o := op.Object.(type) {
	case dataplane.Link:
		return existence(op.Verb, s.Links, o.Name, syscall.ENODEV)
	case dataplane.Sysctl:
		return nil
	case dataplane.Set:
		return cmpErr(existence(op.Verb, s.Sets, o.Name, syscall.ENOENT), m.refuseSet(op.Verb, o))
	case dataplane.SetEntry:
		if _, found := s.Sets[o.Set]; !found {
			return syscall.ENOENT
		}
		return exists(op.Verb, s.Entries.Has(o), syscall.ENOENT)
	case dataplane.Chain:
		return cmpErr(existence(overwrite(op.Verb), s.Chains, o.ID, syscall.ENOENT), m.refuseChain(op.Verb, o))
	case dataplane.Hook:
		if _, found := s.Chains[o.Chain]; !found {
			return syscall.ENOENT
		}
		return existence(overwrite(op.Verb), s.Hooks, o, syscall.ENOENT)
	case dataplane.VirtualServerObject:
		return existence(op.Verb, s.VirtualServers, o.ID, syscall.ESRCH)
	case dataplane.RealServerObject:
		return m.refuseRealServer(op.Verb, o)
	case dataplane.Address:
		if len(s.Links) == 0 {
			return syscall.ENODEV
		}
		return existence(op.Verb, s.Addresses, o.Addr, syscall.EADDRNOTAVAIL)
	case dataplane.Route:
		return m.refuseRoute(op.Verb, o)
	}
	return fmt.Errorf("BUG: operation on unknown object %T", op.Object)
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// overwrite: chains and hooks are put in place, whether they are there or not.
func overwrite(verb dataplane.Verb) dataplane.Verb {
	if verb == dataplane.Delete {
		return verb
	}
	return verbPut
}

// verbPut is refused neither for what exists nor for what does not.
const verbPut dataplane.Verb = 255

// existence refuses to create what exists, and to change or delete what does not.
func existence[K comparable, V any](verb dataplane.Verb, m map[K]V, key K, missing error) error {
	_, found := m[key]
	return exists(verb, found, missing)
}

func exists(verb dataplane.Verb, found bool, missing error) error {
	switch {
	case verb == dataplane.Create && found:
		return syscall.EEXIST
	case verb != dataplane.Create && verb != verbPut && !found:
		return missing
	}
	return nil
}

func (m *Memory) refuseSet(verb dataplane.Verb, set dataplane.Set) error {
	switch verb {
	case dataplane.Create:
		return set.Validate()
	case dataplane.Update:
		n := uint32(0)
		for e := range m.state.Entries.All() {
			if e.Set == set.Name {
				n++
			}
		}
		if n > set.MaxElem {
			return syscall.ENOSPC
		}
		return nil
	}
	for _, chain := range m.state.Chains {
		if slices.Contains(chain.Sets, set.Name) {
			return syscall.EBUSY
		}
	}
	if verb == dataplane.Renew {
		return set.Validate()
	}
	return nil
}

func (m *Memory) refuseChain(verb dataplane.Verb, chain dataplane.Chain) error {
	if verb == dataplane.Delete {
		return m.refuseChainDelete(chain.ID)
	}
	for _, set := range chain.Sets {
		if _, found := m.state.Sets[set]; !found {
			return fmt.Errorf("set %s doesn't exist: %w", set, syscall.ENOENT)
		}
	}
	for _, name := range chain.Jumps {
		target := dataplane.ChainID{Family: chain.ID.Family, Table: chain.ID.Table, Name: name}
		if _, found := m.state.Chains[target]; !found {
			return fmt.Errorf("chain %s doesn't exist: %w", target, syscall.ENOENT)
		}
	}
	return nil
}

func (m *Memory) refuseChainDelete(id dataplane.ChainID) error {
	for hook := range m.state.Hooks {
		if hook.Chain == id {
			return syscall.EBUSY
		}
	}
	for other, chain := range m.state.Chains {
		if other.Family == id.Family && other.Table == id.Table && slices.Contains(chain.Jumps, id.Name) {
			return syscall.EBUSY
		}
	}
	return nil
}

func (m *Memory) refuseRealServer(verb dataplane.Verb, o dataplane.RealServerObject) error {
	v, found := m.state.VirtualServers[o.VirtualServer]
	if !found {
		return syscall.ESRCH
	}
	has := slices.ContainsFunc(v.RealServers,
		func(r dataplane.RealServer) bool { return r.Addr == o.Addr && r.Port == o.Port })
	switch {
	case verb == dataplane.Create && has:
		return syscall.EEXIST
	case verb != dataplane.Create && verb != dataplane.Renew && !has:
		return syscall.ENOENT
	case !has && verb != dataplane.Delete && !m.reaches(o.Addr):
		return syscall.EINVAL
	case (o.Lower > o.Upper || o.Weight > math.MaxInt32) && verb != dataplane.Delete: // ip_vs_ctl.c, ip_vs_add_dest
		return syscall.ERANGE
	}
	return nil
}

// reaches reports whether the address can be a real server's: it is a unicast one for the table of local routes. IPv6
// link-local ones are refused but where they are the node's own (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_new_dest, Linux
// 6.12).
func (m *Memory) reaches(addr netip.Addr) bool {
	if addr.Is6() && addr.IsLinkLocalUnicast() {
		return slices.Contains(m.Addresses, addr)
	}
	return !addr.IsUnspecified() && !addr.IsMulticast() && addr != limitedBroadcast && !slices.Contains(m.Broadcasts, addr)
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// SetNetworks gives the node these addresses, with the networks that they are in, and no others.
func (m *Memory) SetNetworks(networks ...netip.Prefix) {
	var addrs, broadcasts []netip.Addr
	for _, network := range networks {
		addrs = append(addrs, network.Addr())
		if network.Addr().Is4() && network.Bits() < 31 { // net/ipv4/fib_frontend.c, fib_add_ifaddr; RFC 3021
			last := network.Addr().As4()
			binary.BigEndian.PutUint32(last[:], binary.BigEndian.Uint32(last[:])|^uint32(0)>>network.Bits())
			broadcasts = append(broadcasts, netip.AddrFrom4(last))
		}
	}
	m.SetAddresses(addrs...)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Broadcasts = sortAddrs(broadcasts)
}

// SetAddresses gives the node these addresses and no others, without networks.
func (m *Memory) SetAddresses(addrs ...netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Addresses, m.Broadcasts = addrs, nil
	for vip, source := range m.state.Routes {
		if source.Is6() && !m.KeepsSources && !slices.Contains(addrs, source) {
			m.state.Routes[vip] = netip.Addr{}
		}
	}
}

// refuseRoute: a route is updated whether it is there or not, and may only prefer an address that the node has.
func (m *Memory) refuseRoute(verb dataplane.Verb, o dataplane.Route) error {
	if verb == dataplane.Update {
		verb = verbPut
	}
	if verb != dataplane.Delete && o.Source.IsValid() && !slices.Contains(m.Addresses, o.Source) {
		return syscall.EINVAL
	}
	return existence(verb, m.state.Routes, o.Addr, syscall.ESRCH)
}

// AddForeign puts a virtual server into the kernel that is not ours.
func (m *Memory) AddForeign(id dataplane.VirtualServerID, v dataplane.VirtualServer) {
	m.state.SetVirtualServer(id, v)
}
