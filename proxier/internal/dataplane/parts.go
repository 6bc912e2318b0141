package dataplane

// Parts are parts of the kernel that can be read for themselves.
type Parts uint8

// The parts. Virtual servers are ours by their addresses and entries, and are therefore read with all else.
const (
	// PartSysctls are those that we manage.
	PartSysctls Parts = 1 << iota
	// PartAddresses are our link with its addresses, our routes, and the node's own and broadcast addresses.
	PartAddresses
	// PartSockets are the node's sockets that wait for clients.
	PartSockets
	// PartSets are our sets with their entries.
	PartSets
	// PartRules are our chains and hooks, whether the node is closed, and the rules of others that come before IPVS.
	PartRules
	// PartServers are virtual servers with their real servers, whoever made them.
	PartServers

	AllParts = PartServers<<1 - 1
)

// Has reports whether all of these are among them.
func (p Parts) Has(parts Parts) bool { return p&parts == parts }

// Complete returns them with what they cannot be read without.
func (p Parts) Complete() Parts {
	if p.Has(PartServers) {
		return AllParts
	}
	return p
}
