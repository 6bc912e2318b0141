package dataplane

import "net/netip"

// Kernel is the boundary between deciding and doing. Linux, an in-memory kernel and a fault-injecting wrapper stand
// behind it and pass one contract suite (internal/kernel/kerneltest). It is used by one goroutine; another one may use
// a Reader meanwhile.
type Kernel interface {
	// Observe reads everything that is ours, and what is needed to distinguish it from the rest.
	Observe() (Observation, error)
	// NodeAddresses reads only what Observe returns as NodeAddresses and Broadcasts.
	NodeAddresses() (addresses, broadcasts []netip.Addr, err error)
	// Glance says what the kernel can report of these parts without reading them: those of the virtual servers, the
	// sets and the rules.
	Glance(Parts) (Glance, error)
	// VirtualServer reads one virtual server with its real servers, whoever made it. present is false when there is
	// none.
	VirtualServer(VirtualServerID) (v VirtualServer, present bool, err error)
	// Connections returns the connection counts of one virtual server's real servers; none when it does not exist.
	Connections(VirtualServerID) ([]Connections, error)
	// Apply carries out ops in their order and returns one error or nil for each, aligned with ops. A failed op does
	// not stop those behind it. An error wraps the errno where there is one.
	Apply(ops []Op) []error
	// Forget deletes the conntrack entries of UDP flows that go to one of these front ends, and not to one of the real
	// servers given for it; an empty list deletes all that the front end has. Front ends that are not UDP are left
	// alone, and so is what has another destination, the same port of a foreign host included. It returns how many
	// entries are gone; with an error some may stay, and calling it again is right.
	//
	// Call it after Apply: delete the real server (or the virtual server), then Forget, with the real servers that are
	// left, those of weight 0 included; for front ends that are new, too, because a flow that began before its virtual
	// server was made is not masqueraded, and never will be. IPVS has a table of its own, and with
	// net.ipv4.vs.expire_nodest_conn=1 it ends the flows of a real server that is gone, and their conntrack entries
	// with them, at their next datagram. What becomes of the datagrams until then depends on conntrack: with the old
	// entry they are dropped, without one they go to another real server at once (ip_vs_core.c, ip_vs_in_hook,
	// ip_vs_conn_uses_old_conntrack, Linux 6.1). Forgetting before the real server is deleted gains nothing: the next
	// datagram makes the same entry again.
	Forget(flows map[VirtualServerID][]netip.AddrPort) (deleted int, err error)
	// CutOff deletes the conntrack entries, of whatever protocol, between one of these front ends and clients outside
	// of the networks that are given for it. It returns how many are gone; with an error some may stay, and calling it
	// again is right.
	//
	// Call it after Apply has taken the clients out of the set: the next packet of such a connection counts as the
	// first one of a new connection then. The entry comes back neither by the client's packets, which are dropped, nor
	// by the answers of the real server, which the rules send from another port ([ChainNoComeback]).
	CutOff(allowed map[VirtualServerID][]netip.Prefix) (deleted int, err error)
}

// Reader reads the kernel in a goroutine of its own, beside a Kernel that is in use. It may see what is changed
// meanwhile as it was before or as it is after, and one object before and another after. A virtual server that nobody
// touches may be missing from what it sees when others come and go; sets, chains and addresses that nobody touches are
// right.
type Reader interface {
	// Summarize reads these parts of what Kernel's Observe reads, completed; a kernel in which they are one thing with
	// others reads those, too. EINTR says that too much changed meanwhile: another try may do better.
	Summarize(Parts) (Summary, error)
	Close() error
}
