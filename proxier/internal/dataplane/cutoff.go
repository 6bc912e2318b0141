package dataplane

import (
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// CutsOff returns the front end some of whose clients lose it by the operation: it becomes a restricted one, or fewer
// networks may reach it. The rules look at the first packet of a connection only, so connections that are open have to
// be forgotten by connection tracking: their next packet is a first one then.
func CutsOff(op Op) (VirtualServerID, bool) {
	e, is := op.Object.(SetEntry)
	if !is {
		return VirtualServerID{}, false
	}
	id := e.FrontEnd()
	switch family := cluster.FamilyOf(e.Entry.Addr); e.Set {
	case SetName(SetRestricted, family):
		return id, op.Verb == Create
	case SetName(SetClients, family):
		return id, op.Verb == Delete
	}
	return VirtualServerID{}, false
}

// Clients returns the networks whose clients may reach the front end; restricted reports whether not all may.
func (f FrontEnd) Clients() (networks []netip.Prefix, restricted bool) {
	family := cluster.FamilyOf(f.ID.Addr)
	for e := range f.Entries.All() {
		switch e.Set {
		case SetName(SetRestricted, family):
			restricted = true
		case SetName(SetClients, family):
			networks = append(networks, netip.PrefixFrom(e.Entry.Peer, int(e.Entry.Bits)))
		}
	}
	return networks, restricted
}
