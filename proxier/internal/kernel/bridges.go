package kernel

import (
	"net/netip"

	vnl "github.com/vishvananda/netlink"
)

// FoundBridge is a bridge of the network namespace with its addresses, and whether what passes between its ports goes
// through iptables and ip6tables.
type FoundBridge struct {
	Name           string
	Addresses      []netip.Prefix
	Calls4, Calls6 bool
}

// Bridges returns the bridges that have ports.
func Bridges() (found []FoundBridge, err error) {
	links, err := vnl.LinkList()
	if err != nil {
		return nil, err
	}
	ports := map[int]bool{}
	for _, l := range links {
		ports[l.Attrs().MasterIndex] = true
	}
	for _, l := range links {
		if l.Type() != "bridge" || !ports[l.Attrs().Index] {
			continue
		}
		name := l.Attrs().Name
		b := FoundBridge{Name: name, Calls4: bridgeCalls(name, "iptables"), Calls6: bridgeCalls(name, "ip6tables")}
		addresses, err := vnl.AddrList(l, vnl.FAMILY_ALL)
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			if prefix, err := netip.ParsePrefix(a.IPNet.String()); err == nil {
				b.Addresses = append(b.Addresses, prefix)
			}
		}
		found = append(found, b)
	}
	return found, nil
}

// bridgeCalls reports whether the switch of all bridges is on, or that of this one. Without br_netfilter there is none.
func bridgeCalls(bridge, program string) bool {
	all, _ := readSysctl("net.bridge.bridge-nf-call-" + program)
	one, _ := readFile("/sys/class/net/" + bridge + "/bridge/nf_call_" + program)
	return all == "1" || one == "1"
}
