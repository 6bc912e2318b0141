package dataplane

import (
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Capture is a rule of somebody else's that sends packets elsewhere before IPVS, which acts behind the filter's INPUT,
// sees them.
type Capture struct {
	Family cluster.Family
	// Hook is the built-in chain of the nat table by which packets come to the rule.
	Hook string
	// Rule is what the program prints of it; Program is empty where that is the one by which ours are written.
	Program, Rule string
	// To is what a packet's destination must be like.
	To Destination
	// But are destinations that earlier rules have let go.
	But []Destination
}

// Destination is what rules match in a packet's destination; all conditions must hold.
type Destination []Condition

// Condition is one match of a packet's destination: by protocol where Protocol is not 0, by address where Network is
// valid, else by port.
type Condition struct {
	Not      bool
	Protocol cluster.Protocol
	Network  netip.Prefix
	Ports    [][2]uint16 // from and to
}

func (c Condition) holds(id VirtualServerID) bool {
	is := false
	switch {
	case c.Protocol != 0:
		is = c.Protocol == id.Protocol
	case c.Network.IsValid():
		is = c.Network.Contains(id.Addr)
	default:
		is = slices.ContainsFunc(c.Ports, func(r [2]uint16) bool { return r[0] <= id.Port && id.Port <= r[1] })
	}
	return is != c.Not
}

func (d Destination) holds(id VirtualServerID) bool {
	return !slices.ContainsFunc(d, func(c Condition) bool { return !c.holds(id) })
}

// Takes reports whether packets for the front end can come to the rule.
func (c Capture) Takes(id VirtualServerID) bool {
	return c.Family == cluster.FamilyOf(id.Addr) && c.To.holds(id) &&
		!slices.ContainsFunc(c.But, func(d Destination) bool { return d.holds(id) })
}

// Captures are the rules of others that may take packets away.
type Captures struct {
	all []Capture
	// at are the rules by the one address and port that they name; the zero value stands for any, or several.
	at map[netip.AddrPort][]Capture
}

// capturesAt is how many rules for one address and port are looked at: packets go to the first one that takes them.
const capturesAt = 64

// NewCaptures sorts the rules by what they name, so that a node may have many.
func NewCaptures(all []Capture) Captures {
	c := Captures{all: all}
	for _, rule := range all {
		if c.at == nil {
			c.at = map[netip.AddrPort][]Capture{}
		}
		for _, key := range rule.To.keys() {
			if len(c.at[key]) < capturesAt {
				c.at[key] = append(c.at[key], rule)
			}
		}
	}
	return c
}

// keys returns under which addresses and ports the destination is to be found.
func (d Destination) keys() (keys []netip.AddrPort) {
	addr, ports := netip.Addr{}, []uint16{0}
	for _, c := range d {
		if c.Not {
			continue
		}
		if c.Network.IsSingleIP() {
			addr = c.Network.Addr()
		}
		if len(c.Ports) > 0 && !slices.ContainsFunc(c.Ports, func(r [2]uint16) bool { return r[0] != r[1] }) {
			ports = ports[:0]
			for _, r := range c.Ports {
				ports = append(ports, r[0])
			}
		}
	}
	for _, port := range ports {
		keys = append(keys, netip.AddrPortFrom(addr, port))
	}
	return keys
}

// All returns the rules, as they were given.
func (c Captures) All() []Capture { return slices.Clone(c.all) }

// Same reports whether both are the same rules in the same order.
func (c Captures) Same(other Captures) bool {
	return slices.EqualFunc(c.all, other.all, func(a, b Capture) bool {
		return a.Family == b.Family && a.Hook == b.Hook && a.Program == b.Program && a.Rule == b.Rule && a.To.same(b.To) &&
			slices.EqualFunc(a.But, b.But, Destination.same)
	})
}

func (d Destination) same(other Destination) bool {
	return slices.EqualFunc(d, other, func(a, b Condition) bool {
		return a.Not == b.Not && a.Protocol == b.Protocol && a.Network == b.Network && slices.Equal(a.Ports, b.Ports)
	})
}

// Of returns a rule for each built-in chain that takes packets for the front end.
func (c Captures) Of(id VirtualServerID) (taken []Capture) {
	for _, key := range []netip.AddrPort{
		netip.AddrPortFrom(id.Addr, id.Port), netip.AddrPortFrom(id.Addr, 0), netip.AddrPortFrom(netip.Addr{}, id.Port), {},
	} {
		for _, rule := range c.at[key] {
			known := func(t Capture) bool { return t.Hook == rule.Hook && t.Program == rule.Program }
			if rule.Takes(id) && !slices.ContainsFunc(taken, known) {
				taken = append(taken, rule)
			}
		}
	}
	return taken
}
