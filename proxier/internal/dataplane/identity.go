package dataplane

import (
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Identity is which object of the kernel something is, whatever that is like now. It is comparable. All chains and
// hooks of one family and table are one object, because a table is exchanged as a whole.
type Identity struct {
	// Kind is KindChain for hooks, too.
	Kind Kind
	// of names the object within its Kind; nil is many of them at once.
	of any
}

// tableID names the rules of one table.
type tableID struct {
	family cluster.Family
	table  string
}

// realServerID names a real server.
type realServerID struct {
	of VirtualServerID
	at netip.AddrPort
}

// Many returns what stands for many objects of one Kind that are looked at together.
func Many(kind Kind) Identity { return Identity{Kind: kind} }

// IdentityOf returns which object it is. What holds a front end while its scheduler is exchanged belongs to the virtual
// server.
func IdentityOf(object Object) Identity {
	switch o := object.(type) {
	case Link:
		return Identity{KindLink, o.Name}
	case Sysctl:
		return Identity{KindSysctl, o.Name}
	case Set:
		return Identity{KindSet, o.Name}
	case SetEntry:
		if o.holds() {
			return Identity{KindVirtualServer, o.FrontEnd()}
		}
		return Identity{KindEntry, o}
	case Chain:
		return Identity{KindChain, tableID{o.ID.Family, o.ID.Table}}
	case Hook:
		return Identity{KindChain, tableID{o.Chain.Family, o.Chain.Table}}
	case VirtualServerObject:
		return Identity{KindVirtualServer, o.ID}
	case RealServerObject:
		return Identity{KindRealServer, realServerID{o.VirtualServer, o.endpoint()}}
	case Address:
		return Identity{KindAddress, o.Addr}
	case Route:
		return Identity{KindRoute, o.Addr}
	}
	return Identity{}
}

// String returns for example "virtual-server tcp 10.96.0.1:443", "rules ipv4 nat", or "many objects of kind address at
// once".
func (i Identity) String() string {
	switch of := i.of.(type) {
	case nil:
		return "many objects of kind " + i.Kind.String() + " at once"
	case string:
		return i.Kind.String() + " " + of
	case SetEntry:
		return i.Kind.String() + " " + of.String()
	case tableID:
		return "rules " + of.family.String() + " " + of.table
	case VirtualServerID:
		return i.Kind.String() + " " + of.String()
	case realServerID:
		return i.Kind.String() + " " + of.of.String() + " -> " + of.at.String()
	case netip.Addr:
		return i.Kind.String() + " " + of.String()
	}
	return i.Kind.String()
}

// IsIn reports whether the State has the object. Of what stands for many it says so always.
func (i Identity) IsIn(s *State) (is bool) {
	switch of := i.of.(type) {
	case string:
		switch i.Kind {
		case KindLink:
			_, is = s.Links[of]
		case KindSysctl:
			_, is = s.Sysctls[of]
		case KindSet:
			_, is = s.Sets[of]
		}
	case SetEntry:
		is = s.Entries.Has(of)
	case tableID:
		for id := range s.Chains {
			is = is || id.Family == of.family && id.Table == of.table
		}
	case VirtualServerID:
		_, is = s.VirtualServers[of]
	case realServerID:
		is = slices.ContainsFunc(s.VirtualServers[of.of].RealServers,
			func(r RealServer) bool { return r.endpoint() == of.at })
	case netip.Addr:
		if i.Kind == KindAddress {
			_, is = s.Addresses[of]
		} else {
			_, is = s.Routes[of]
		}
	default:
		is = true
	}
	return is
}

// GoesWith returns the object that takes this one along when it is deleted: where both are created, only the other one
// may have been taken away. Many links stand for any link.
func (o Op) GoesWith() (other Identity, is bool) {
	if o.Verb == Delete {
		return other, false
	}
	switch object := o.Object.(type) {
	case RealServerObject:
		return Identity{KindVirtualServer, object.VirtualServer}, true
	case SetEntry:
		return Identity{KindSet, object.Set}, !object.holds()
	case Address:
		return Many(KindLink), true
	}
	return other, false
}
